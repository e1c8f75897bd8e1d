"""The same on remote storage, restored on the same machine or on another one; few of the kinds,
as `make chaos` tries more."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from harness import MACHINE, UPLOAD_FAILPOINTS, Chaos, kill_again_and_again, kill_at_upload
from servers import Bucket
from verdict import judge, outcome, untouched

from tuner.failpoints import Failpoint

NUM_KILLS = 2


@pytest.mark.parametrize(("kind", "policy"), [("everything", "fifo"), (MACHINE, "asha")])
def test_kills_at_random_moments(kind: str, policy: str, s3_server: Bucket, tmp_path: Path) -> None:
    with Chaos(tmp_path / policy, policy, bucket=s3_server.url) as chaos:
        kill_again_and_again(chaos, kind, NUM_KILLS, random.Random(f"{kind} {policy}"))
        assert chaos.kills[kind]
        verdict = judge(chaos)
        assert verdict.is_clean, verdict
        assert outcome(chaos) == untouched(policy)


@pytest.mark.parametrize(
    ("place", "then"),
    [(Failpoint.UPLOAD, "everything"), (Failpoint.CHECKPOINT_UPLOAD, MACHINE)],
)
def test_a_kill_in_an_upload(
    place: Failpoint, then: str, s3_server: Bucket, tmp_path: Path
) -> None:
    with Chaos(tmp_path / "asha", "asha", bucket=s3_server.url) as chaos:
        kill_at_upload(chaos, place, UPLOAD_FAILPOINTS[place], then)
        verdict = judge(chaos)
        assert verdict.is_clean, verdict
        assert outcome(chaos) == untouched("asha")
