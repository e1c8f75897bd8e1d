"""XGBoost and LightGBM in trials: rounds are reported, models saved, loaded and trained on."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
import xgboost
from fit_helpers import fit
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

import tuner as tune
from tuner.errors import ConfigError
from tuner.integrations import lightgbm as for_lightgbm
from tuner.integrations import xgboost as for_xgboost
from tuner.schedulers import ASHAScheduler

X, X_VALID, Y, Y_VALID = train_test_split(*load_breast_cancer(return_X_y=True), random_state=0)


def boost_xgboost(config: dict[str, Any], rounds: int, model: Any, callbacks: list[Any]) -> Any:
    data = xgboost.DMatrix(X, Y)
    params = {"objective": "binary:logistic", "eta": config.get("eta", 0.1)}
    evals = [(xgboost.DMatrix(X_VALID, Y_VALID), "valid")]
    return xgboost.train(
        params,
        data,
        rounds,
        evals=evals,
        xgb_model=model,
        callbacks=callbacks,
        verbose_eval=False,
    )


def boost_lightgbm(config: dict[str, Any], rounds: int, model: Any, callbacks: list[Any]) -> Any:
    data = lightgbm.Dataset(X, Y)
    params = {"objective": "binary", "learning_rate": config.get("eta", 0.1), "verbosity": -1}
    return lightgbm.train(
        params,
        data,
        rounds,
        valid_sets=lightgbm.Dataset(X_VALID, Y_VALID, reference=data),
        valid_names="valid",
        init_model=model,
        callbacks=callbacks,
    )


class Library:
    """One of the two, in the same words."""

    def __init__(self, ours: Any, boost: Callable[..., Any], metric: str) -> None:
        self.ours = ours
        self.callback = ours.TuneReportCheckpointCallback
        self.boost = boost
        self.metric = metric
        self.name = ours.__name__.rpartition(".")[2]

    def num_rounds(self, model: Any) -> int:
        is_xgboost = self.name == "xgboost"
        return model.num_boosted_rounds() if is_xgboost else model.current_iteration()

    def train(self, config: dict[str, Any]) -> None:
        """Boosts for 8 rounds in all, and fails once after the fifth, if that is asked."""
        checkpoint = tune.get_checkpoint()
        model = self.callback.get_model(checkpoint) if checkpoint else None
        rounds = 8 - (self.num_rounds(model) if model else 0)
        callbacks = [self.callback({"loss": self.metric}, frequency=config.get("frequency", 1))]
        if config.get("fails") and model is None:
            rounds = 5
        try:
            self.boost(config, rounds, model, callbacks)
        except BaseException as end:
            Path("end").write_text(type(end).__name__)
            raise
        if rounds == 5:
            raise RuntimeError("once")


LIBRARIES = {
    "xgboost": Library(for_xgboost, boost_xgboost, "valid-logloss"),
    "lightgbm": Library(for_lightgbm, boost_lightgbm, "valid-binary_logloss"),
}


@pytest.fixture(autouse=True)
def single_threaded() -> Iterator[None]:
    """Threads of this process, unlike those of trials, are left to other tests."""
    with threadpool_limits(1):
        yield


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> Library:
    return LIBRARIES[request.param]


def test_arguments_are_those_of_ray(library: Library) -> None:
    theirs = pytest.importorskip(f"ray.tune.integration.{library.name}")

    def shape(function: Any) -> list[tuple[str, Any]]:
        parameters = inspect.signature(function).parameters.values()
        return [(each.name, each.default) for each in parameters]

    their_callback = theirs.TuneReportCheckpointCallback
    assert shape(library.callback) == shape(their_callback)
    assert shape(library.callback.get_model) == shape(their_callback.get_model)


def test_two_at_a_time_and_the_one_that_failed_goes_on_from_its_model(
    library: Library, tmp_path: Path
) -> None:
    whole, failed = fit(
        library.train,
        tmp_path,
        space={"fails": tune.grid_search([False, True])},
        run={"failure_config": tune.FailureConfig(max_failures=1)},
    )
    assert (whole.error, failed.error) == (None, None)
    assert Path(failed.path, "error.txt").read_text().count("RuntimeError: once") == 1
    for result in (whole, failed):
        assert result.metrics_dataframe["training_iteration"].tolist() == list(range(1, 9))
        assert library.num_rounds(library.callback.get_model(result.checkpoint)) == 8
    assert failed.metrics["iterations_since_restore"] == 3
    np.testing.assert_allclose(
        failed.metrics_dataframe["loss"], whole.metrics_dataframe["loss"], rtol=1e-4
    )
    assert whole.metrics["loss"] < whole.metrics_dataframe["loss"].iloc[0]


def test_a_stop_passes_through_the_library(library: Library, tmp_path: Path) -> None:
    results = fit(
        library.train,
        tmp_path,
        space={"eta": tune.grid_search([0.3, 0.1, 0.001, 0.0001])},
        metric="loss",
        mode="min",
        scheduler=ASHAScheduler(max_t=8, grace_period=2, reduction_factor=2),
    )
    assert results.num_errors == 0
    rounds = [result.metrics["training_iteration"] for result in results]
    assert min(rounds) < max(rounds) == 8
    for result in results:  # at max_t too, a stop is the answer to the report
        assert Path(result.path, "end").read_text() == "TrialStopped"
        model = library.callback.get_model(result.checkpoint)
        assert library.num_rounds(model) == result.metrics["training_iteration"]
        loss = -np.log(np.abs(1 - Y_VALID - predict(model))).mean()
        assert result.metrics["loss"] == pytest.approx(loss, rel=1e-4)


def predict(model: Any) -> Any:
    is_xgboost = isinstance(model, xgboost.Booster)
    return model.predict(xgboost.DMatrix(X_VALID) if is_xgboost else X_VALID)


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[str, Any], list[str]]]:
    """What reaches `tune.report`: metrics, and the names of the files of the checkpoint."""
    seen = []

    def report(metrics: dict[str, Any], *, checkpoint: tune.Checkpoint | None = None) -> None:
        files = (
            [] if checkpoint is None else [each.name for each in Path(checkpoint.path).iterdir()]
        )
        seen.append((metrics, files))

    monkeypatch.setattr("tuner.trainable.session.report", report)
    return seen


def test_models_are_saved_every_so_many_rounds_and_at_the_end(
    library: Library, reports: list[Any]
) -> None:
    first = library.boost({}, 3, None, [library.callback(filename="my.json", frequency=2)])
    files = [[], ["my.json"], []]
    if library.name == "xgboost":  # which does not say which round is the last
        assert [each[1] for each in reports] == [*files, ["my.json"]]
        assert reports[3][0] == reports[2][0]
    else:
        assert [each[1] for each in reports] == [*files[:2], ["my.json"]]
    reports.clear()
    library.boost({}, 3, first, [library.callback(filename="my.json", frequency=2)])
    assert [each[1] for each in reports] == [["my.json"], [], ["my.json"]], "counted on"


def test_without_a_round_there_is_no_report(reports: list[Any]) -> None:
    model = boost_xgboost({}, 2, None, [])
    boost_xgboost({}, 0, model, [for_xgboost.TuneReportCheckpointCallback(frequency=1)])
    assert reports == []


def test_no_checkpoints_where_none_are_wanted(library: Library, reports: list[Any]) -> None:
    library.boost({}, 2, None, [library.callback(checkpoint_at_end=False)])
    library.boost({}, 2, None, [library.ours.TuneReportCallback(library.metric)])
    assert [(set(metrics), files) for metrics, files in reports] == [({library.metric}, [])] * 4


def test_results_are_postprocessed_after_they_are_chosen(
    library: Library, reports: list[Any]
) -> None:
    def percent(result: dict[str, float]) -> dict[str, float]:
        return {f"{name}_percent": 100 * value for name, value in result.items()}

    library.boost({}, 1, None, [library.ours.TuneReportCallback({"l": library.metric}, percent)])
    assert [set(metrics) for metrics, _ in reports] == [{"l_percent"}]


def test_an_unknown_metric_is_named(library: Library) -> None:
    with pytest.raises(ConfigError, match=rf"'loss'.*only \['{library.metric}'\]"):
        library.boost({}, 1, None, [library.callback("loss")])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"frequency": -1},
            r"TuneReportCheckpointCallback\(frequency=-1\): use a number",
        ),
        ({"filename": ""}, "filename=''"),
        ({"checkpoint_at_end": 1}, "checkpoint_at_end=1"),
        ({"results_postprocessing_fn": 1}, "results_postprocessing_fn=1"),
    ],
)
def test_impossible_arguments_are_named(
    library: Library, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        library.callback(**arguments)


def test_cross_validation_with_xgboost_has_no_checkpoints(reports: list[Any]) -> None:
    callback = for_xgboost.TuneReportCheckpointCallback(frequency=1)
    params = {"objective": "binary:logistic", "eval_metric": "logloss"}
    scores = xgboost.cv(params, xgboost.DMatrix(X, Y), 2, callbacks=[callback], as_pandas=False)
    assert [metrics["test-logloss"] for metrics, _ in reports] == list(
        zip(scores["test-logloss-mean"], scores["test-logloss-std"], strict=True)
    )
    assert not any(files for _, files in reports)


def test_cross_validation_with_lightgbm(reports: list[Any]) -> None:
    callback = for_lightgbm.TuneReportCheckpointCallback()
    params = {"objective": "binary", "verbosity": -1}
    scores = lightgbm.cv(params, lightgbm.Dataset(X, Y), 2, callbacks=[callback])
    for suffix in ("mean", "stdv"):
        reported = [metrics[f"valid-binary_logloss-{suffix}"] for metrics, _ in reports]
        assert reported == scores[f"valid binary_logloss-{suffix}"]
    assert [files for _, files in reports] == [[], ["model.txt"]]


def test_libraries_that_stop_early_by_themselves(reports: list[Any]) -> None:
    stopping = xgboost.callback.EarlyStopping(rounds=1, save_best=True)
    callbacks = [stopping, for_xgboost.TuneReportCheckpointCallback(frequency=1)]
    boost_xgboost({"eta": 1.0}, 500, None, callbacks)
    assert 2 < len(reports) < 500
    assert reports[-1][1] == ["model.ubj"]
    reports.clear()
    callbacks = [lightgbm.early_stopping(1, verbose=False), for_lightgbm.TuneReportCallback()]
    boost_lightgbm({"eta": 1.0}, 500, None, callbacks)
    assert 2 < len(reports) < 500


def test_estimators_of_scikit_learn_take_them(reports: list[Any]) -> None:
    xgboost.XGBClassifier(
        n_estimators=2, callbacks=[for_xgboost.TuneReportCallback("validation_0-logloss")]
    ).fit(X, Y, eval_set=[(X_VALID, Y_VALID)], verbose=False)
    lightgbm.LGBMClassifier(n_estimators=2, verbosity=-1).fit(
        X,
        Y,
        eval_X=X_VALID,
        eval_y=Y_VALID,
        callbacks=[for_lightgbm.TuneReportCallback("valid_0-binary_logloss")],
    )
    assert [set(metrics) for metrics, _ in reports] == [
        *[{"validation_0-logloss"}] * 2,
        *[{"valid_0-binary_logloss"}] * 2,
    ]
