"""What a machine that was lost had not uploaded of an experiment on remote storage."""

from __future__ import annotations

import json

import pytest
from servers import Bucket
from test_damage import train

import tuner as tune
from tuner.experiment import snapshots


@pytest.mark.parametrize("has_journal", [True, False])
def test_an_end_that_was_not_uploaded_is_run_again(
    has_journal: bool, s3_server: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the last snapshot was uploaded, which knows of it."""
    monkeypatch.setattr(snapshots, "MIN_GROWTH_BYTES", 1)
    tune.Tuner(
        train,
        param_space={"x": tune.uniform(0, 1)},
        tune_config=tune.TuneConfig(num_samples=2, seed=1),
        run_config=tune.RunConfig(
            name="run", storage_path=s3_server.url, verbose=0, executor="inline"
        ),
    ).fit()
    run = f"{s3_server.url}/run"
    tune.Tuner.restore(run, num_samples=3).fit()
    files = s3_server.filesystem()
    segments = sorted(files.glob(f"{s3_server.name}/run/journal/*.jsonl"))
    assert len(segments) >= 2
    assert files.glob(f"{s3_server.name}/run/snapshots/*.pkl")
    for path in segments[1 if has_journal else 0 :]:
        files.rm(path)
    grid = tune.Tuner.restore(run).get_results()
    assert len(grid) == (2 if has_journal else 0)
    grid = tune.Tuner.restore(run, num_samples=4).fit()
    assert [result.metrics["n"] for result in grid] == [6] * 4
    files.invalidate_cache()
    lines = b"".join(map(files.cat_file, files.glob(f"{s3_server.name}/run/journal/*.jsonl")))
    facts = [json.loads(line)["seq"] for line in lines.splitlines()]
    assert facts == list(range(1, len(facts) + 1)), "what was lost there is sent again"
    for result in grid:
        assert len(result.metrics_dataframe) == 6
        assert files.exists(f"{result.path}/progress.csv")
