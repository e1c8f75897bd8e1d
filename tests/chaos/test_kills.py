"""An experiment of which parts are killed again and again ends as one that nobody touched."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from harness import FAILPOINTS, KINDS, NUM_TRIALS, Chaos, kill_again_and_again, kill_at
from verdict import judge, outcome, untouched

from tuner.failpoints import Failpoint

NUM_KILLS = 3


@pytest.mark.parametrize("policy", ["asha", "fifo"])
@pytest.mark.parametrize("kind", KINDS)
def test_kills_at_random_moments(kind: str, policy: str, tmp_path: Path) -> None:
    expected = untouched(policy)
    with Chaos(tmp_path / policy, policy) as chaos:
        kill_again_and_again(chaos, kind, NUM_KILLS, random.Random(f"{kind} {policy}"))
        assert chaos.kills[kind]
        verdict = judge(chaos)
        assert verdict.is_clean, verdict
        assert verdict.finished == NUM_TRIALS
        assert outcome(chaos) == expected


@pytest.mark.parametrize("place", FAILPOINTS)
def test_a_kill_at_each_failpoint(place: Failpoint, tmp_path: Path) -> None:
    with Chaos(tmp_path / "asha", "asha") as chaos:
        kill_at(chaos, place, FAILPOINTS[place])
        verdict = judge(chaos)
        assert verdict.is_clean, verdict
        assert outcome(chaos) == untouched("asha")
