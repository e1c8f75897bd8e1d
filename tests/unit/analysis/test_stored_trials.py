"""The trials of a folder of ours, from its journal."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path

import pytest
from analysis_helpers import losses, trial, write_experiment

from tuner.analysis import ExperimentAnalysis
from tuner.analysis.stored_trials import read_stored
from tuner.config import CheckpointConfig, TuneConfig
from tuner.errors import JournalError, StorageError
from tuner.experiment.events import TrialLaunched, TrialRequeued


def contents(path: str) -> dict[str, bytes]:
    return {str(each): each.read_bytes() for each in Path(path).rglob("*") if each.is_file()}


def test_trials_are_as_the_journal_says_and_nothing_is_changed(tmp_path: Path) -> None:
    facts = [
        *trial("a", [{"loss": 2.0, "eval": {"acc": 0.5}}, {"loss": 1.0}], lr=0.1),
        *trial("b", [{"loss": 3.0}], "ERROR", "Traceback\nValueError: boom", lr=0.2),
        *trial("c", status=None, lr=0.3),
        *trial("d", [{"loss": 4.0}], status=None, lr=0.4),
    ]
    path = write_experiment(tmp_path / "exp", facts)
    before = contents(path)
    opened = read_stored(None, path)
    assert contents(path) == before
    assert (opened.path, opened.filesystem) == (path, None)
    assert [each.status for each in opened.trials] == ["TERMINATED", "ERROR", "PENDING", "RUNNING"]
    assert [each.config["lr"] for each in opened.trials] == [0.1, 0.2, 0.3, 0.4]
    assert [each.last_result.get("loss") for each in opened.trials] == [1.0, 3.0, None, 4.0]
    done = [each.last_result.get("done") for each in opened.trials]
    assert done == [True, False, None, False]
    assert opened.trials[0].path == os.path.join(path, "dir_a")
    assert opened.trials[0].metric_analysis["eval/acc"]["max"] == 0.5
    assert [each.status for each in opened.results] == [each.status for each in opened.trials]
    assert "boom" in str(opened.results[1].error)
    assert opened.stats == {"start_time": 100.0, "timestamp": 103.0}
    assert (opened.description["seed"], opened.description["name"]) == (5, "exp")


def test_an_experiment_without_trials(tmp_path: Path) -> None:
    opened = read_stored(None, write_experiment(tmp_path / "exp", []))
    assert (opened.trials, opened.results) == ([], [])
    assert opened.stats == {"start_time": 100.0, "timestamp": 100.0}


@pytest.mark.parametrize(
    ("config", "objectives"),
    [
        (TuneConfig(), {}),
        (TuneConfig(metric="loss", mode="min"), {"loss": "min"}),
        (TuneConfig(mode="max"), {"_metric": "max"}),
        (
            TuneConfig(metric=["loss", "size"], mode=["min", "max"], search_alg="optuna"),
            {"loss": "min", "size": "max"},
        ),
    ],
)
def test_objectives_are_those_of_the_tune_config(
    tmp_path: Path, config: TuneConfig, objectives: dict[str, str]
) -> None:
    assert read_stored(None, write_experiment(tmp_path / "e", [], config)).objectives == objectives


def test_a_torn_last_line_is_dropped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = losses(tmp_path / "exp", [3.0, 2.0], [1.0])
    (segment,) = Path(path, "journal").glob("*.jsonl")
    segment.write_bytes(segment.read_bytes()[:-5])
    assert [each.status for each in read_stored(None, path).trials] == ["TERMINATED", "RUNNING"]
    assert "dropped a torn last line" in caplog.text


def test_objects_that_cannot_be_loaded_here_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone_tomorrow.py").write_text("class Model: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    import gone_tomorrow  # type: ignore[import-not-found]

    facts = trial("a", [{"loss": 1.0}], net={"model": gone_tomorrow.Model(), "depth": 3})
    path = write_experiment(tmp_path / "exp", facts)
    with caplog.at_level(logging.WARNING):
        loaded = ExperimentAnalysis(path).get_best_config("loss")["net"]["model"]
    assert isinstance(loaded, gone_tomorrow.Model)
    assert not caplog.records
    monkeypatch.delitem(sys.modules, "gone_tomorrow")
    (tmp_path / "gone_tomorrow.py").unlink()
    config = ExperimentAnalysis(path).get_best_config("loss")
    assert config["net"]["depth"] == 3
    assert "gone_tomorrow.Model" in config["net"]["model"]
    assert "cannot be loaded here, of which there is only the text: ['net/model']" in caplog.text


def test_checkpoints_are_ranked_as_the_experiment_asked(tmp_path: Path) -> None:
    names = ["checkpoint_000000", "checkpoint_000001", "checkpoint_000002"]
    reports = [
        {"loss": loss, "checkpoint": name}
        for name, loss in zip(names, (1.0, 3.0, 2.0), strict=True)
    ]
    config = CheckpointConfig(
        num_to_keep=2, checkpoint_score_attribute="loss", checkpoint_score_order="min"
    )
    path = write_experiment(tmp_path / "exp", trial("a", reports), checkpoint_config=config)
    analysis = ExperimentAnalysis(path, default_metric="loss")
    assert [
        (os.path.basename(each), loss) for each, loss in analysis.get_trial_checkpoints_paths("a")
    ] == [(names[2], 2.0), (names[0], 1.0)]


def test_the_latest_checkpoint_counts_if_it_is_not_among_the_best(tmp_path: Path) -> None:
    reports = [
        {"loss": loss, "acc": acc, "checkpoint": f"checkpoint_00000{i}"}
        for i, (loss, acc) in enumerate([(1.0, 0.1), (3.0, 0.2), (2.0, 0.3)])
    ]
    config = CheckpointConfig(
        num_to_keep=1, checkpoint_score_attribute="loss", checkpoint_score_order="min"
    )
    path = write_experiment(tmp_path / "exp", trial("a", reports), checkpoint_config=config)
    analysis = ExperimentAnalysis(path)
    assert [loss for _, loss in analysis.get_trial_checkpoints_paths("a", "loss")] == [2.0, 1.0]
    assert analysis.get_best_checkpoint("a", "acc", "max") == analysis.get_last_checkpoint("a")


def test_checkpoints_that_were_not_put_into_place_do_not_count(tmp_path: Path) -> None:
    reports = [{"loss": 3.0, "checkpoint": f"checkpoint_00000{i}"} for i in range(2)]
    path = write_experiment(tmp_path / "exp", trial("a", reports, status=None))
    os.makedirs(os.path.join(path, "dir_a", "checkpoint_000000"))
    os.makedirs(os.path.join(path, "dir_a", ".checkpoint_000001.attempt1"))
    analysis = ExperimentAnalysis(path)
    assert analysis.trials[0].checkpoint == analysis.get_last_checkpoint("a")
    assert str(analysis.get_last_checkpoint("a")).endswith("checkpoint_000000)")
    assert len(analysis.get_trial_checkpoints_paths("a")) == 1


def test_results_after_the_checkpoint_that_an_attempt_resumed_from_are_void(
    tmp_path: Path,
) -> None:
    reports = [{"loss": 3.0, "checkpoint": "checkpoint_000000"}, {"loss": 1.0}]
    facts = [
        *trial("a", reports, status=None),
        TrialRequeued(104.0, "a", anew=False),
        TrialLaunched(105.0, "a", 2, "checkpoint_000000", 1),
    ]
    assert read_stored(None, write_experiment(tmp_path / "e", facts)).trials[0].num_results == 1


def test_damage_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    path = losses(tmp_path / "exp", [3.0])
    description = Path(path, "experiment.json")
    for text in ("{", json.dumps([1])):
        description.write_text(text)
        with pytest.raises(StorageError, match=r"experiment\.json is damaged"):
            read_stored(None, path)
    description.write_text("{}")
    assert read_stored(None, path).objectives == {}
    (segment,) = Path(path, "journal").glob("*.jsonl")
    segment.write_bytes(b"damage\n" + segment.read_bytes())
    with pytest.raises(JournalError, match=r"00000001\.jsonl"):
        read_stored(None, path)
