import json
import math
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fsspec
import pyarrow
import pyarrow.parquet
import pytest

from tuner.errors import ConfigError, ResultError, TrialError, TunerError
from tuner.result import Result
from tuner.result_grid import ResultGrid


def trial(
    folder: Path,
    name: str,
    reports: Sequence[dict[str, Any]],
    config: dict[str, Any] | None = None,
    **fields: Any,
) -> Result:
    """The result of a trial that made these reports, with its `result.json`."""
    rows = [
        {"training_iteration": i, "trial_id": name, "done": False, **metrics}
        for i, metrics in enumerate(reports, start=1)
    ]
    path = folder / name
    path.mkdir(parents=True)
    (path / "result.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Result(metrics=rows[-1] if rows else {}, config=config or {}, path=str(path), **fields)


def losses(folder: Path, *values: Sequence[float | None], **options: Any) -> ResultGrid:
    """A grid with a trial for each sequence of losses."""
    results = [
        trial(folder, f"t{number}", [{"loss": loss} for loss in reported], {"n": number})
        for number, reported in enumerate(values)
    ]
    return ResultGrid(results, experiment_path=str(folder), **options)


@pytest.fixture
def grid(tmp_path: Path) -> ResultGrid:
    reports = [
        [{"loss": 0.9, "eval": {"acc": 0.1}}, {"loss": 0.3, "eval": {"acc": 0.6}}],
        [{"loss": 0.2, "eval": {"acc": 0.7}}, {"loss": 0.4, "eval": {"acc": 0.5}}],
        [],
        [{"loss": 0.5, "note": "x"}],
    ]
    error = TrialError("t2", "boom")
    fields: list[dict[str, Any]] = [
        {},
        {},
        {"status": "ERROR", "error": error},
        {"status": "PENDING"},
    ]
    return ResultGrid(
        [
            trial(tmp_path, f"t{i}", rows, {"lr": 0.1 * i, "opt": {"name": f"o{i}"}}, **more)
            for i, (rows, more) in enumerate(zip(reports, fields, strict=True))
        ],
        experiment_path=str(tmp_path),
        metric="loss",
        mode="min",
    )


# A sequence


def test_is_a_sequence_of_results(grid: ResultGrid) -> None:
    assert len(grid) == 4
    assert isinstance(grid, Sequence)
    assert [r.path.rpartition("/")[2] for r in grid] == ["t0", "t1", "t2", "t3"]
    assert grid[-1] is grid[3]
    assert grid[1:3] == [grid[1], grid[2]]
    assert grid.index(grid[2]) == 2
    with pytest.raises(IndexError):
        grid[4]


def test_counts_by_status(grid: ResultGrid) -> None:
    assert grid.num_terminated == 2
    assert grid.num_errors == 1
    assert [str(error) for error in grid.errors] == ["trial t2 failed:\nboom"]


def test_knows_its_folder(grid: ResultGrid, tmp_path: Path) -> None:
    assert grid.experiment_path == str(tmp_path)
    assert grid.filesystem.exists(grid.experiment_path)
    memory = fsspec.filesystem("memory")
    assert ResultGrid([], experiment_path="/x", filesystem=memory).filesystem is memory


def test_repr_stays_short_and_pickles(grid: ResultGrid) -> None:
    expected = (
        f"ResultGrid(4 trials, 2 terminated, 1 errors, experiment_path='{grid.experiment_path}')"
    )
    assert repr(grid) == expected
    assert repr(pickle.loads(pickle.dumps(grid))) == expected


# The best result


@pytest.mark.parametrize(
    ("mode", "scope", "best"),
    [
        ("min", "last", 1),
        ("max", "last", 0),
        ("min", "all", 2),
        ("max", "all", 0),
        ("min", "avg", 1),
        ("max", "avg", 2),
        ("min", "last-5-avg", 2),
        ("max", "last-5-avg", 0),
        ("min", "last-10-avg", 1),
        ("max", "last-10-avg", 0),
    ],
)
def test_scopes(tmp_path: Path, mode: str, scope: Any, best: int) -> None:
    grid = losses(
        tmp_path,
        [9, 5, 5, 5, 5, 5, 5],  # mean 5.6, of the last five 5
        [3, 3, 3],
        [8] * 11 + [1, 1, 1, 1, 4],  # mean 6, of the last five 1.6, of the last ten 4.8
    )
    assert grid.get_best_result("loss", mode, scope=scope) is grid[best]


def test_metric_and_mode_of_the_tuner_are_the_default(grid: ResultGrid) -> None:
    assert grid.get_best_result() is grid[0]
    assert grid.get_best_result(mode="max") is grid[3]
    assert grid.get_best_result("eval/acc", "max") is grid[0]
    assert grid.get_best_result("eval/acc", "max", scope="all") is grid[1]


def test_of_equal_ones_the_first_is_best(tmp_path: Path) -> None:
    grid = losses(tmp_path, [2], [1], [1])
    assert grid.get_best_result("loss", "min") is grid[1]
    assert grid.get_best_result("loss", "max") is grid[0]


def test_a_single_trial_is_the_best_whatever_it_reported(tmp_path: Path) -> None:
    for grid in (losses(tmp_path / "a", [math.nan]), losses(tmp_path / "b", [])):
        assert grid.get_best_result() is grid[0]


def test_nan_and_infinity_are_never_the_best(tmp_path: Path) -> None:
    grid = losses(tmp_path, [math.nan], [-math.inf], [2], [1], [math.inf])
    assert grid.get_best_result("loss", "min") is grid[3]
    assert grid.get_best_result("loss", "max") is grid[2]


def test_unfiltered_infinity_counts_and_nan_is_the_worst(tmp_path: Path) -> None:
    grid = losses(tmp_path, [math.nan], [-math.inf], [2], [math.inf])
    assert grid.get_best_result("loss", "min", filter_nan_and_inf=False) is grid[1]
    assert grid.get_best_result("loss", "max", filter_nan_and_inf=False) is grid[3]
    only_nan = losses(tmp_path / "nan", [math.nan], [math.nan])
    assert only_nan.get_best_result("loss", "max", filter_nan_and_inf=False) is only_nan[0]


def test_the_metric_may_be_missing_from_the_last_result(tmp_path: Path) -> None:
    grid = losses(tmp_path, [1, None], [2, 3])
    assert grid.get_best_result("loss", "min") is grid[0]


def points(folder: Path, *values: tuple[Any, Any], **options: Any) -> ResultGrid:
    """A grid with a trial for each pair of an accuracy and a size."""
    results = [
        trial(folder, f"t{number}", [{"accuracy": accuracy, "net": {"size": size}}])
        for number, (accuracy, size) in enumerate(values)
    ]
    return ResultGrid(results, experiment_path=str(folder), **options)


OBJECTIVES: dict[str, Any] = {"metric": ["accuracy", "net/size"], "mode": ["max", "min"]}


def test_the_pareto_front_is_what_no_trial_beats(tmp_path: Path) -> None:
    nan, inf = math.nan, math.inf
    values = [(0.9, 50), (0.8, 10), (0.8, 20), (0.9, 50), (nan, 1), (0.1, inf), (0.2, None)]
    grid = points(tmp_path, *values, **OBJECTIVES)
    assert grid.get_pareto_front() == [grid[0], grid[1], grid[3]]
    assert grid.get_pareto_front(["accuracy", "net/size"], ["min", "min"]) == [grid[1]]


def test_the_pareto_front_needs_several_objectives_with_their_modes(tmp_path: Path) -> None:
    one = points(tmp_path / "one", (1, 2), metric="accuracy", mode="max")
    for arguments in [
        (),
        ("accuracy",),
        (["accuracy"], ["max"]),
        (["accuracy", "net/size"], ["max"]),
    ]:
        with pytest.raises(ConfigError, match="name several metrics and a mode for each"):
            one.get_pareto_front(*arguments)
    with pytest.raises(ConfigError, match="modes='least'"):
        one.get_pareto_front(["accuracy", "net/size"], ["max", "least"])


def test_of_several_objectives_the_best_needs_a_name(tmp_path: Path) -> None:
    grid = points(tmp_path, (0.9, 50), (0.8, 10), **OBJECTIVES)
    with pytest.raises(ConfigError, match="objectives 'accuracy', 'net/size'; name one of them"):
        grid.get_best_result()
    assert grid.get_best_result("accuracy") is grid[0]
    assert grid.get_best_result("net/size") is grid[1]
    assert grid.get_best_result("net/size", "max") is grid[0]
    with pytest.raises(ConfigError, match=r"get_best_result\(mode=None\)"):
        grid.get_best_result("training_iteration")


def test_a_mode_alone_means_the_anonymous_metric(tmp_path: Path) -> None:
    results = [trial(tmp_path, f"t{i}", [{"_metric": value}]) for i, value in enumerate((1, 3, 2))]
    grid = ResultGrid(results, experiment_path=str(tmp_path), mode="max")
    assert grid.get_best_result() is grid[1]


def test_no_metric_or_mode_says_where_to_give_one(tmp_path: Path) -> None:
    grid = losses(tmp_path, [1], [2])
    with pytest.raises(ValueError, match=r"metric=None\): pass a metric here or in the TuneConfig"):
        grid.get_best_result(mode="min")
    with pytest.raises(ConfigError, match=r"mode=None\): pass a mode here or in the TuneConfig"):
        grid.get_best_result("loss")
    with pytest.raises(ConfigError, match=r"get_best_result\(mode='maximize'\): use 'max'"):
        grid.get_best_result("loss", "maximize")
    with pytest.raises(ConfigError, match=r"scope='best'\): use one of last, all, avg, last-5-avg"):
        grid.get_best_result("loss", "min", scope="best")


def test_an_unknown_metric_names_those_that_exist(grid: ResultGrid) -> None:
    with pytest.raises(RuntimeError) as caught:
        grid.get_best_result("los", "min")
    assert isinstance(caught.value, TunerError)
    assert str(caught.value) == (
        "metric='los': no trial reported a number for it, only for ['eval/acc', 'loss']; "
        "name one of these; did you mean 'loss'?"
    )
    with pytest.raises(ResultError, match="metric='note': no trial reported a number for it"):
        grid.get_best_result("note", "min")


def test_a_metric_that_is_always_nan_says_so(tmp_path: Path) -> None:
    grid = losses(tmp_path, [math.nan], [math.inf])
    with pytest.raises(ResultError, match=r"it is NaN or infinite .* filter_nan_and_inf=False"):
        grid.get_best_result("loss", "min")


def test_an_empty_experiment_has_no_best() -> None:
    grid = ResultGrid([], experiment_path="/x", metric="loss", mode="min")
    with pytest.raises(ResultError, match="the experiment has no trials"):
        grid.get_best_result()
    assert grid.get_dataframe().empty


# Frames and tables


def test_dataframe_has_the_last_result_of_each_trial_that_reported(grid: ResultGrid) -> None:
    frame = grid.get_dataframe()
    assert frame["trial_id"].tolist() == ["t0", "t1", "t3"]
    assert frame["loss"].tolist() == [0.3, 0.4, 0.5]
    assert frame["eval/acc"].tolist()[:2] == [0.6, 0.5]
    assert frame["config/lr"].tolist() == pytest.approx([0, 0.1, 0.3])
    assert frame["config/opt/name"].tolist() == ["o0", "o1", "o3"]
    assert frame["logdir"].tolist() == [grid[0].path, grid[1].path, grid[3].path]
    assert "config" not in frame


def test_filtered_dataframe_has_the_best_result_of_each_trial(grid: ResultGrid) -> None:
    frame = grid.get_dataframe(filter_metric="eval/acc", filter_mode="min")
    assert frame["training_iteration"].tolist() == [1, 2, 1]  # t3 never reported it: its last one
    assert frame["loss"].tolist() == [0.9, 0.4, 0.5]
    assert frame["config/opt/name"].tolist() == ["o0", "o1", "o3"]
    assert grid.get_dataframe("loss", "max")["loss"].tolist() == [0.9, 0.4, 0.5]
    assert grid.get_dataframe("loss")["loss"].tolist() == [0.3, 0.2, 0.5]  # the tuner's mode


def test_filtering_ignores_nan(tmp_path: Path) -> None:
    frame = losses(tmp_path, [math.nan, 2, 1], [math.nan, math.nan]).get_dataframe("loss", "max")
    assert frame["training_iteration"].tolist() == [2, 2]


def test_filter_arguments_are_checked(tmp_path: Path) -> None:
    grid = losses(tmp_path, [1])
    with pytest.raises(ValueError, match=r"filter_mode='min'\): pass the filter_metric, too"):
        grid.get_dataframe(filter_mode="min")
    with pytest.raises(ValueError, match="pass filter_mode='min' or filter_mode='max', too"):
        grid.get_dataframe(filter_metric="loss")
    with pytest.raises(ConfigError, match=r"filter_mode='lowest'\): use 'min' or 'max'"):
        grid.get_dataframe("loss", "lowest")


def test_objects_of_a_configuration_stay_objects_in_the_frame(tmp_path: Path) -> None:
    result = trial(tmp_path, "t", [{"loss": 1}], {"act": math.tanh, "sizes": [1, 2], "opt": {}})
    row = ResultGrid([result], experiment_path=str(tmp_path)).get_dataframe().iloc[0]
    assert row["config/act"] is math.tanh
    assert row["config/sizes"] == [1, 2]


def test_to_arrow_is_built_from_the_trials(grid: ResultGrid) -> None:
    table = grid.to_arrow()
    assert isinstance(table, pyarrow.Table)
    assert table["trial_id"].to_pylist() == ["t0", "t0", "t1", "t1", "t3"]
    assert table["loss"].to_pylist() == [0.9, 0.3, 0.2, 0.4, 0.5]
    assert table["eval/acc"].to_pylist() == [0.1, 0.6, 0.7, 0.5, None]
    assert table["config/opt/name"].to_pylist() == ["o0", "o0", "o1", "o1", "o3"]


@pytest.mark.parametrize("remote", [False, True])
def test_to_arrow_prefers_results_parquet(tmp_path: Path, remote: bool) -> None:
    written = pyarrow.table({"loss": [1.0, 2.0], "trial_id": ["a", "b"]})
    pyarrow.parquet.write_table(written, tmp_path / "results.parquet")
    path, filesystem = str(tmp_path), None
    if remote:
        filesystem = fsspec.filesystem("memory")
        path = f"/{tmp_path.name}"
        filesystem.put(f"{tmp_path}/results.parquet", f"{path}/results.parquet")
    result = trial(tmp_path, "t", [{"loss": 3}])
    grid = ResultGrid([result], experiment_path=path, filesystem=filesystem)
    assert grid.to_arrow().equals(written)


# Cost


def test_twenty_thousand_trials_need_no_files() -> None:
    analysis = {
        name: dict.fromkeys(("max", "min", "avg", "last", "last-5-avg", "last-10-avg"), 0.5)
        for name in ("loss", "acc", "f1")
    }
    last = {"loss": 0.5, "acc": 0.5, "f1": 0.5, "training_iteration": 9, "done": True, "pid": 1}
    grid = ResultGrid(
        (
            Result(
                metrics={**last, "loss": 20_000 - number, "trial_id": f"t{number}"},
                config={"lr": 0.1, "opt": {"betas": (0.9, 0.99)}},
                path=f"/exp/t{number}",
                metric_analysis=analysis,
            )
            for number in range(20_000)
        ),
        experiment_path="/exp",
        metric="acc",
        mode="min",
    )
    assert grid.get_best_result() is grid[0]
    assert len(grid.get_dataframe()) == 20_000


def test_a_grid_imports_nothing_heavy_until_it_is_asked() -> None:
    script = (
        "import sys\n"
        "from tuner.result import Result\n"
        "from tuner.result_grid import ResultGrid\n"
        "results = [Result(metrics={'loss': i}, config={}, path='/x') for i in range(3)]\n"
        "grid = ResultGrid(results, experiment_path='/x', metric='loss', mode='min')\n"
        "assert grid.get_best_result() is results[0]\n"
        "heavy = {'fsspec', 'pyarrow', 'numpy', 'pandas'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
