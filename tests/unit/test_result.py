import json
import logging
import math
import pickle
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow.fs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.checkpoint import Checkpoint
from tuner.errors import ConfigError, ResultError, StorageError, TrialError, TunerError
from tuner.experiment.metric_summary import MetricSummary
from tuner.result import Result
from tuner.trial_folder import without_superseded


def report(iteration: int, since: int | None = None, **metrics: Any) -> dict[str, Any]:
    return {
        "training_iteration": iteration,
        "iterations_since_restore": iteration if since is None else since,
        "trial_id": "3f2a1_00000",
        "done": False,
        "checkpoint_dir_name": None,
        **metrics,
    }


def write_results(folder: Path, rows: list[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def write_ray_trial(folder: Path) -> Path:
    """A folder as `ray.tune` leaves it behind for a trial that failed in its third iteration."""
    config = {"lr": 0.5, "opt": {"betas": [0.9, 0.99]}}
    rows = [
        {
            "loss": loss,
            "eval": {"acc": 0.1 * index, "top": {"k": 1.5}},
            "drift": float("nan"),
            "timestamp": 1795224776,
            "checkpoint_dir_name": f"checkpoint_00000{index}",
            "should_checkpoint": True,
            "done": False,
            "training_iteration": index + 1,
            "trial_id": "793f0_00001",
            "date": "2026-11-21_01-32-56",
            "time_this_iter_s": 0.001,
            "time_total_s": 0.001 * (index + 1),
            "pid": 7516,
            "hostname": "node",
            "node_ip": "192.0.2.2",
            "config": config,
            "time_since_restore": 0.001 * (index + 1),
            "iterations_since_restore": index + 1,
        }
        for index, loss in enumerate([0.75, 0.25, 0.5])
    ]
    write_results(folder, rows)
    (folder / "params.json").write_text(json.dumps(config, indent=2, sort_keys=True))
    (folder / "params.pkl").write_bytes(pickle.dumps(config))
    (folder / "error.pkl").write_bytes(b"needs another library")
    (folder / "error.txt").write_text(
        "Failure # 1 (occurred at 2026-11-21_01-32-56)\nTraceback ...\nValueError: too large\n"
    )
    (folder / "events.out.tfevents.1795224776.node").write_bytes(b"")
    for index in range(3):
        (folder / f"checkpoint_00000{index}").mkdir()
        (folder / f"checkpoint_00000{index}/model").write_text(str(index))
    return folder


def write_csv(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "progress.csv").write_text(
        "loss,eval/acc,training_iteration,trial_id,checkpoint_dir_name,done\n"
        "0.5,0.1,1,00001,checkpoint_000000,False\n"
        "0.25,,2,00001,,True\n"
    )
    return folder


# What the builder gives


def test_holds_what_it_was_given() -> None:
    error = TrialError("t", "boom")
    last = report(3, loss=0.5)
    result = Result(
        metrics=last,
        config={"lr": 0.1},
        path="/exp/t",
        checkpoint=Checkpoint("/exp/t/checkpoint_000002"),
        error=error,
        status="ERROR",
    )
    assert result.metrics == {**last, "config": {"lr": 0.1}}
    assert "config" not in last
    assert result.config == {"lr": 0.1}
    assert result.path == "/exp/t"
    assert result.checkpoint == Checkpoint("/exp/t/checkpoint_000002")
    assert result.error is error
    assert result.status == "ERROR"
    assert result.filesystem.protocol == ("file", "local")


def test_a_trial_without_a_report_has_empty_metrics(tmp_path: Path) -> None:
    result = Result(metrics={}, config={"lr": 0.1}, path=str(tmp_path / "none"))
    assert result.metrics == {}
    assert result.metrics_dataframe.empty
    assert result.best_checkpoints == []
    assert result.score("loss", mode="min") is None


def test_is_frozen() -> None:
    result = Result(metrics={}, config={}, path="/exp/t")
    with pytest.raises(AttributeError, match="Result is frozen: 'error' cannot be set"):
        result.error = None
    with pytest.raises(AttributeError, match="Result is frozen: 'path' cannot be deleted"):
        del result.path


def test_can_be_pickled(tmp_path: Path) -> None:
    result = Result.from_path(write_ray_trial(tmp_path))
    copy = pickle.loads(pickle.dumps(result))
    assert repr(copy) == repr(result)
    assert copy.checkpoint == result.checkpoint
    assert copy.metrics_dataframe.equals(result.metrics_dataframe)
    with pytest.raises(AttributeError):
        copy.path = ""


def test_repr_is_one_short_line() -> None:
    result = Result(
        metrics=report(3, loss=0.5, pid=12, eval={"acc": 0.5}),
        config={"weights": list(range(1000))},
        path="/exp/t",
        checkpoint=Checkpoint("/exp/t/checkpoint_000002"),
        error=TrialError("t", "Traceback ...\n  File ...\nValueError: too large\n"),
    )
    shown = repr(result)
    assert "\n" not in shown
    assert len(shown) < 500
    assert shown.startswith(
        "Result(metrics={'training_iteration': 3, 'loss': 0.5, 'eval': {'acc': 0.5}}, config={"
    )
    assert shown.endswith(
        "path='/exp/t', checkpoint='checkpoint_000002', error='ValueError: too large')"
    )


# All results of a trial


def test_metrics_dataframe_has_a_row_per_report_with_flat_columns(tmp_path: Path) -> None:
    rows = [report(1, loss=0.5, eval={"acc": 0.1}), report(2, loss=None, eval={"acc": 0.2}, x="a")]
    write_results(tmp_path, rows)
    frame = Result(metrics=rows[-1], config={}, path=str(tmp_path)).metrics_dataframe
    assert frame["training_iteration"].tolist() == [1, 2]
    assert frame["eval/acc"].tolist() == [0.1, 0.2]
    assert frame["loss"].isna().tolist() == [False, True]
    assert frame["x"].isna().tolist() == [True, False]
    assert frame["trial_id"].tolist() == ["3f2a1_00000"] * 2


def test_nan_and_infinity_are_read(tmp_path: Path) -> None:
    write_results(tmp_path, [report(1, loss=math.nan), report(2, loss=-math.inf)])
    losses = Result(metrics={}, config={}, path=str(tmp_path)).metrics_dataframe["loss"].tolist()
    assert math.isnan(losses[0])
    assert losses[1] == -math.inf


def test_metrics_dataframe_is_read_when_it_is_asked_for(tmp_path: Path) -> None:
    result = Result(metrics={}, config={}, path=str(tmp_path))
    write_results(tmp_path, [report(1)])
    frame = result.metrics_dataframe
    write_results(tmp_path, [report(1), report(2)])
    assert result.metrics_dataframe is frame
    assert len(frame) == 1


def test_superseded_rows_are_left_out(tmp_path: Path) -> None:
    rows = [
        *(report(i, loss=i) for i in range(1, 6)),
        *(report(i, since=i - 3, loss=10 + i) for i in range(4, 7)),  # from the checkpoint of 3
        *(report(i, since=i - 4, loss=20 + i) for i in range(5, 6)),  # from the checkpoint of 4
    ]
    write_results(tmp_path, rows)
    frame = Result(metrics=rows[-1], config={}, path=str(tmp_path)).metrics_dataframe
    assert frame["training_iteration"].tolist() == [1, 2, 3, 4, 5]
    assert frame["loss"].tolist() == [1, 2, 3, 14, 25]


def test_a_restart_from_nothing_leaves_only_the_last_attempt() -> None:
    rows = [report(1, loss=1), report(2, loss=2), report(1, loss=3)]
    assert [row["loss"] for row in without_superseded(rows)] == [3]


def test_an_iteration_that_the_user_reports_several_times_is_kept() -> None:
    rows = [report(epoch, since=step) for step, epoch in enumerate([1, 1, 2, 2], start=1)]
    assert without_superseded(rows) == rows


def test_rows_without_an_iteration_are_kept() -> None:
    rows = [{"loss": 1}, {"loss": 2}, {"loss": 3, "training_iteration": 1}]
    assert without_superseded(rows) == rows


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(1, 8)), max_size=8))
def test_of_each_iteration_the_latest_valid_attempt_wins(attempts: list[tuple[int, int]]) -> None:
    """Each attempt goes on after an iteration that is valid and reports some more."""
    rows: list[dict[str, Any]] = []
    valid: dict[int, int] = {}
    for number, (start, length) in enumerate(attempts):
        first = min(start, len(valid)) + 1
        valid = {i: n for i, n in valid.items() if i < first}
        for since in range(1, length + 1):
            rows.append(report(first + since - 1, since=since, attempt=number))
            valid[first + since - 1] = number
    kept = without_superseded(rows)
    assert {row["training_iteration"]: row["attempt"] for row in kept} == valid
    assert len(kept) == len(valid)


def test_progress_csv_serves_where_there_is_no_result_json(tmp_path: Path) -> None:
    write_csv(tmp_path)
    frame = Result(metrics={}, config={}, path=str(tmp_path)).metrics_dataframe
    assert frame["loss"].tolist() == [0.5, 0.25]
    assert frame["trial_id"].tolist() == ["00001", "00001"]
    assert frame["eval/acc"].isna().tolist() == [False, True]


def test_the_given_history_serves_where_there_are_no_files(tmp_path: Path) -> None:
    rows = [report(1, loss=1), report(2, loss=2), report(2, since=1, eval={"acc": 3})]
    result = Result(metrics=rows[-1], config={}, path=str(tmp_path), history=lambda: rows)
    assert result.metrics_dataframe["training_iteration"].tolist() == [1, 2]
    assert result.metrics_dataframe["eval/acc"].tolist()[1] == 3
    write_results(tmp_path, [report(7)])
    assert result.history() == [report(7)]


def test_the_last_result_serves_where_there_is_nothing_else(tmp_path: Path) -> None:
    result = Result(metrics=report(4, loss=1.5), config={"lr": 0.1}, path=str(tmp_path))
    assert result.metrics_dataframe[["loss", "config/lr"]].values.tolist() == [[1.5, 0.1]]


def test_a_torn_last_line_is_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_results(tmp_path, [report(1), report(2)])
    with open(tmp_path / "result.json", "a") as file:
        file.write('{"loss": 0.1, "training_it')
    with caplog.at_level(logging.WARNING):
        result = Result.from_path(tmp_path)
    assert result.metrics["training_iteration"] == 2
    assert "result.json: left out a torn last line of 26 bytes" in caplog.text
    assert len(result.metrics_dataframe) == 2


def test_a_last_line_without_a_line_break_counts_when_it_is_whole(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text('{"training_iteration": 1}\n{"training_iteration": 2}')
    assert Result.from_path(tmp_path).metrics["training_iteration"] == 2


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text('{"a": 1}\nrubbish\n{"a": 2}\n')
    result = Result.from_path(tmp_path)
    with pytest.raises(StorageError, match=r"/result.json, line 2: not a JSON object: b'rubbish'$"):
        _ = result.metrics_dataframe


# From a folder


def test_reads_a_folder_of_ray_tune(tmp_path: Path) -> None:
    folder = write_ray_trial(tmp_path / "train_793f0_00001_1_lr=0.5")
    result = Result.from_path(folder)
    assert result.path == str(folder)
    assert result.config == {"lr": 0.5, "opt": {"betas": [0.9, 0.99]}}
    assert result.metrics["loss"] == 0.5
    assert result.metrics["eval"] == {"acc": 0.2, "top": {"k": 1.5}}
    assert result.metrics["config"] == result.config
    assert result.metrics_dataframe["loss"].tolist() == [0.75, 0.25, 0.5]
    assert result.metrics_dataframe["config/lr"].tolist() == [0.5] * 3
    assert result.checkpoint == Checkpoint(folder / "checkpoint_000002")
    kept = result.best_checkpoints
    assert [c.path.rpartition("/")[2] for c, _ in kept] == [
        f"checkpoint_00000{i}" for i in (0, 1, 2)
    ]
    assert [row["loss"] for _, row in kept] == [0.75, 0.25, 0.5]
    assert result.status == "ERROR"
    assert isinstance(result.error, TrialError)
    assert result.error.trial_id == "793f0_00001"
    assert "ValueError: too large" in str(result.error)


@pytest.mark.parametrize("kind", ["url", "fsspec", "arrow"])
def test_reads_a_remote_folder(tmp_path: Path, kind: str) -> None:
    write_ray_trial(tmp_path / "store/exp/t1")
    memory = fsspec.filesystem("memory")
    memory.put(f"{tmp_path}/store/", f"/{tmp_path.name}/", recursive=True)
    if kind == "url":
        result = Result.from_path(f"memory://{tmp_path.name}/exp/t1")
        assert result.filesystem is memory
    elif kind == "fsspec":
        result = Result.from_path(f"/{tmp_path.name}/exp/t1", storage_filesystem=memory)
        assert result.filesystem is memory
    else:
        arrow = pyarrow.fs.SubTreeFileSystem(str(tmp_path / "store"), pyarrow.fs.LocalFileSystem())
        result = Result.from_path("exp/t1", storage_filesystem=arrow)
        assert result.filesystem is arrow
    assert result.path.endswith("exp/t1")
    assert result.metrics_dataframe["loss"].tolist() == [0.75, 0.25, 0.5]
    assert result.error is not None
    best = result.get_best_checkpoint("loss", "min")
    assert best.path == f"{result.path}/checkpoint_000001"
    with best.as_directory() as directory:
        assert Path(directory, "model").read_text() == "1"
    memory.rm(f"/{tmp_path.name}", recursive=True)


def test_reads_a_folder_that_has_only_progress_csv(tmp_path: Path) -> None:
    write_csv(tmp_path)
    (tmp_path / "checkpoint_000000").mkdir()
    result = Result.from_path(tmp_path)
    assert result.metrics["loss"] == 0.25
    assert result.metrics["trial_id"] == "00001"
    assert result.best_checkpoints[0][1]["eval/acc"] == 0.1
    assert result.get_best_checkpoint("eval/acc", "max") == result.checkpoint


def test_reads_a_trial_that_never_reported(tmp_path: Path) -> None:
    (tmp_path / "params.json").write_text('{"lr": 0.1}')
    (tmp_path / "error.txt").write_text("ValueError: at once")
    result = Result.from_path(tmp_path)
    assert result.config == {"lr": 0.1}
    assert result.metrics == {}
    assert result.error is not None
    assert result.error.trial_id == tmp_path.name
    assert result.checkpoint is None
    assert result.metrics_dataframe.empty


def test_an_error_that_was_overcome_is_none(tmp_path: Path) -> None:
    write_results(tmp_path, [report(1), report(2, since=1, done=True)])
    (tmp_path / "error.txt").write_text("ValueError: in the first attempt")
    result = Result.from_path(tmp_path)
    assert result.error is None
    assert result.status == "TERMINATED"


def test_only_whole_checkpoints_count_in_numeric_order(tmp_path: Path) -> None:
    write_results(tmp_path, [report(1)])
    for name in (
        "checkpoint_1000000",
        "checkpoint_999999",
        "checkpoint_000001.part",
        "checkpoint_x",
    ):
        (tmp_path / name).mkdir()
    result = Result.from_path(tmp_path)
    names = [checkpoint.path.rpartition("/")[2] for checkpoint, _ in result.best_checkpoints]
    assert names == ["checkpoint_999999", "checkpoint_1000000"]


def test_a_folder_that_does_not_exist_or_is_no_trial(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match=r"/none': there is no such trial folder$") as caught:
        Result.from_path(tmp_path / "none")
    assert isinstance(caught.value, TunerError)
    assert isinstance(caught.value, RuntimeError)
    (tmp_path / "t1").mkdir()
    with pytest.raises(ResultError, match="pass the folder of a trial, not of its experiment"):
        Result.from_path(tmp_path)


# Checkpoints


def checkpoints_of(folder: Path, rows: list[dict[str, Any]]) -> Result:
    write_results(folder, rows)
    kept = [(Checkpoint(folder / f"checkpoint_{i:06d}"), None) for i in range(len(rows))]
    return Result(metrics=rows[-1], config={}, path=str(folder), checkpoints=kept)


def test_best_checkpoint_by_a_nested_metric_ignores_nan_and_missing(tmp_path: Path) -> None:
    values: list[dict[str, Any]] = [
        {"eval": {"acc": 0.5}},
        {"eval": {"acc": math.nan}},
        {"eval": {"acc": 0.75}},
        {"eval": {"acc": None}},
        {},
    ]
    rows = [
        report(i + 1, checkpoint_dir_name=f"checkpoint_{i:06d}", **value)
        for i, value in enumerate(values)
    ]
    result = checkpoints_of(tmp_path, rows)
    assert result.get_best_checkpoint("eval/acc", "max").path.endswith("checkpoint_000002")
    assert result.get_best_checkpoint("eval/acc", "min").path.endswith("checkpoint_000000")


def test_best_checkpoint_errors_name_what_there_is(tmp_path: Path) -> None:
    result = checkpoints_of(tmp_path, [report(1, loss=1, checkpoint_dir_name="checkpoint_000000")])
    with pytest.raises(
        ResultError, match=r"metric='los': .* only with \['loss'\]; did you mean 'l"
    ):
        result.get_best_checkpoint("los", "min")
    with pytest.raises(ConfigError, match=r"get_best_checkpoint\(mode='minimum'\): use 'min'"):
        result.get_best_checkpoint("loss", "minimum")
    without = Result(metrics=report(1), config={}, path=str(tmp_path))
    with pytest.raises(ResultError, match="has no checkpoint"):
        without.get_best_checkpoint("loss", "min")


def test_a_checkpoint_saved_after_its_result_has_the_one_that_it_is_given(tmp_path: Path) -> None:
    write_results(tmp_path, [report(1, loss=1), report(2, loss=2)])
    kept = [
        (Checkpoint(tmp_path / "checkpoint_000000"), report(1, loss=1)),
        (Checkpoint(tmp_path / "x"), None),
    ]
    result = Result(metrics=report(2), config={}, path=str(tmp_path), checkpoints=kept)
    assert [row.get("loss") for _, row in result.best_checkpoints] == [1, None]


def test_a_checkpoint_whose_result_a_later_attempt_repeats_keeps_its_own(tmp_path: Path) -> None:
    names = ["checkpoint_000000", "checkpoint_000001"]
    rows = [report(2, loss=n, checkpoint_dir_name=name) for n, name in enumerate(names)]
    write_results(tmp_path, rows)
    for name in names:
        (tmp_path / name).mkdir()
    result = Result.from_path(tmp_path)
    assert len(result.metrics_dataframe) == 1
    assert [row["loss"] for _, row in result.best_checkpoints] == [0, 1]


# Scores


SCOPES = ("last", "all", "avg", "last-5-avg", "last-10-avg")


def test_scores_come_from_the_given_analysis() -> None:
    summary = {"max": 5, "min": 1, "avg": 3, "last": 2, "last-5-avg": 2.5, "last-10-avg": 2.75}
    result = Result(
        metrics=report(9, loss=2, note="x", timestamp=7),
        config={},
        path="/none",
        metric_analysis={"loss": summary},
    )
    assert [result.score("loss", mode="min", scope=s) for s in SCOPES] == [2, 1, 3, 2.5, 2.75]
    assert result.score("loss", mode="max", scope="all") == 5
    assert result.score("note", mode="max") is None
    assert result.score("nothing", mode="max", scope="avg") is None
    assert result.score("timestamp", mode="max") == 7


def test_a_metric_beside_the_analysis_is_computed_from_all_results(tmp_path: Path) -> None:
    rows = [report(i, time_this_iter_s=float(i)) for i in (1, 2, 3)]
    write_results(tmp_path, rows)
    result = Result(metrics=rows[-1], config={}, path=str(tmp_path), metric_analysis={})
    assert result.score("time_this_iter_s", mode="min", scope="all") == 1.0
    assert result.score("time_this_iter_s", mode="min", scope="avg") == 2.0


@given(
    st.lists(st.floats(width=32, allow_infinity=False) | st.none(), min_size=1, max_size=25).filter(
        lambda values: any(value is not None for value in values)
    ),
    st.sampled_from(SCOPES),
    st.sampled_from(["min", "max"]),
)
def test_computed_scores_agree_with_the_experiment(
    values: list[float | None], scope: Any, mode: str
) -> None:
    summary = MetricSummary()
    for value in values:
        if value is not None:
            summary.add(value)
    rows = [report(i, loss=value) for i, value in enumerate(values, start=1)]
    result = Result(metrics=rows[-1], config={}, path="/none", history=lambda: rows)
    score = result.score("loss", mode=mode, scope=scope)
    expected = summary.as_dict()[mode if scope == "all" else scope]
    assert score is not None
    assert np.isclose(score, expected, equal_nan=True)
