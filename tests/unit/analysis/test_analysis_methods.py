"""What `ExperimentAnalysis` answers."""

from __future__ import annotations

import math
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from analysis_helpers import losses, trial, write_experiment

import tuner as tune
from tuner.analysis import ExperimentAnalysis
from tuner.config import TuneConfig
from tuner.errors import ConfigError, ResultError


def test_names_are_where_scripts_look_for_them(nothing_was_said: None) -> None:
    assert tune.ExperimentAnalysis is ExperimentAnalysis is tune.analysis.ExperimentAnalysis
    with pytest.warns(FutureWarning, match=r"today's form is ExperimentAnalysis") as warned:
        from tuner.analysis import Analysis
    assert Analysis is ExperimentAnalysis
    assert {each.filename for each in warned} == {__file__}
    with pytest.raises(AttributeError, match="has no attribute 'Analyses'"):
        tune.analysis.Analyses  # noqa: B018


def best(analysis: ExperimentAnalysis, *args: Any, **kwargs: Any) -> Any:
    """The `n` of the best trial, asked for in all ways, which must agree."""
    n = analysis.get_best_config(*args, **kwargs)["n"]
    found = analysis.get_best_trial(*args, **kwargs)
    assert found.config["n"] == n
    assert analysis.get_best_logdir(*args, **kwargs) == found.path
    result = analysis.get_best_result(*args, **kwargs)
    assert (result["loss"], result["config"]) == (found.last_result["loss"], {"n": n})
    return n


@pytest.mark.parametrize("scope", ["last", "all", "avg", "last-5-avg", "last-10-avg"])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_scopes(tmp_path: Path, scope: str, mode: str) -> None:
    values: list[list[float]] = [
        [1.0, *[9.0] * 6, *[4.1] * 5],
        [50.0, *[0.9] * 7, *[6.0] * 4, 3.9],
        [4.0, *[4.2] * 4],
    ]
    means = {
        "last": [each[-1] for each in values],
        "all": [min(each) if mode == "min" else max(each) for each in values],
        "avg": [sum(each) / len(each) for each in values],
        "last-5-avg": [sum(each[-5:]) / 5 for each in values],
        "last-10-avg": [sum(each[-10:]) / len(each[-10:]) for each in values],
    }[scope]
    expected = means.index(min(means) if mode == "min" else max(means))
    analysis = ExperimentAnalysis(losses(tmp_path / "exp", *values))
    assert best(analysis, "loss", mode, scope) == expected


def test_the_experiment_says_what_is_best_unless_told_otherwise(tmp_path: Path) -> None:
    path = losses(tmp_path / "exp", [1.0, 5.0], [2.0], [3.0], metric="loss", mode="min")
    analysis = ExperimentAnalysis(path)
    assert (analysis.default_metric, analysis.default_mode) == ("loss", "min")
    assert best(analysis) == 1
    assert analysis.best_config == {"n": 1}
    assert analysis.best_trial.trial_id == "t1"
    assert analysis.best_logdir == analysis.trials[1].path
    assert analysis.best_result["loss"] == 2.0
    assert analysis.best_dataframe["loss"].tolist() == [2.0]
    assert analysis.best_result_df.loc["t1", "loss"] == 2.0
    assert best(analysis, mode="max") == 0
    analysis.default_mode = "max"
    assert best(analysis) == 0
    analysis.default_metric = "training_iteration"
    assert analysis.best_config == {"n": 0}
    assert best(ExperimentAnalysis(path, default_mode="max")) == 0


def test_without_any_mode_larger_is_better_as_in_0_8(tmp_path: Path) -> None:
    path = losses(tmp_path / "exp", [1.0], [3.0], [2.0])
    analysis = ExperimentAnalysis(path)
    assert (analysis.default_metric, analysis.default_mode) == (None, None)
    assert best(analysis, metric="loss") == 1
    assert best(ExperimentAnalysis(path, default_metric="loss")) == 1
    with pytest.raises(ConfigError, match=r"^best_config: metric=None, .* none; set default"):
        analysis.best_config  # noqa: B018


def test_of_several_objectives_one_has_to_be_named(tmp_path: Path) -> None:
    config = TuneConfig(metric=["loss", "size"], mode=["min", "max"], search_alg="optuna")
    facts = [
        *trial("a", [{"loss": 1.0, "size": 5}], n=0),
        *trial("b", [{"loss": 2.0, "size": 6}], n=1),
    ]
    analysis = ExperimentAnalysis(write_experiment(tmp_path / "exp", facts, config))
    assert (best(analysis, "loss"), best(analysis, "size")) == (0, 1)
    with pytest.raises(ConfigError, match=r"^best_trial: metric=None, .* has 'loss', 'size'; set"):
        analysis.best_trial  # noqa: B018


def test_wrong_arguments_are_errors_that_name_the_fix(tmp_path: Path) -> None:
    path = losses(tmp_path / "exp", [1.0])
    analysis = ExperimentAnalysis(path)
    with pytest.raises(ConfigError, match=r"get_best_config\(mode='maximum'\): use 'max'"):
        analysis.get_best_config("loss", "maximum")
    with pytest.raises(ConfigError, match=r"ExperimentAnalysis\(default_mode='least'\)"):
        ExperimentAnalysis(path, default_mode="least")
    with pytest.raises(ConfigError, match=r"default_mode='least'"):
        analysis.default_mode = "least"
    with pytest.raises(ConfigError, match=r"get_best_trial\(scope='first'\): use one of last, all"):
        analysis.get_best_trial("loss", "min", "first")  # type: ignore[arg-type]
    with pytest.raises(ResultError, match=r"metric='los': no trial reported .* mean 'loss'"):
        analysis.get_best_trial("los")
    with pytest.raises(ConfigError, match=r"dataframe\(metric=None, mode='max'\)"):
        analysis.dataframe(mode="max")
    with pytest.raises(ConfigError, match=r"dataframe\(mode='first'\)"):
        analysis.dataframe("loss", "first")
    with pytest.raises(ConfigError, match=r"trial='t9': .*no trial of this id .* \['t0'\]"):
        analysis.get_last_checkpoint("t9")


def test_nothing_reported_and_nan(tmp_path: Path) -> None:
    facts = [*trial("a", n=0), *trial("b", [{"loss": math.nan}], n=1)]
    analysis = ExperimentAnalysis(write_experiment(tmp_path / "exp", facts))
    with pytest.raises(ResultError, match="it is NaN or infinite in all trials"):
        analysis.get_best_config("loss")
    assert best(analysis, "loss", filter_nan_and_inf=False) == 1
    assert [*analysis.results] == ["a", "b"]
    assert analysis.results["a"] == {}
    assert analysis.results_df.index.tolist() == ["a", "b"]
    assert analysis.dataframe()["trial_id"].tolist() == ["b"]
    assert [len(each) for each in analysis.fetch_trial_dataframes().values()] == [0, 1]
    assert analysis.get_last_checkpoint("a") is None
    assert analysis.get_best_checkpoint("b", "loss") is None
    assert analysis.get_trial_checkpoints_paths("b") == []


def test_no_trials(tmp_path: Path) -> None:
    analysis = ExperimentAnalysis(write_experiment(tmp_path / "exp", []), default_metric="loss")
    assert (analysis.trials, analysis.results, analysis.get_all_configs()) == ([], {}, {})
    assert (len(analysis.dataframe()), len(analysis.results_df)) == (0, 0)
    assert analysis.trial_dataframes == {}
    for call in (analysis.get_best_config, analysis.get_last_checkpoint):
        with pytest.raises(ResultError, match="the experiment has no trials to compare"):
            call()
    assert repr(analysis).startswith("ExperimentAnalysis(0 trials, 0 terminated, 0 errors, ")


@pytest.fixture
def analysis(tmp_path: Path) -> ExperimentAnalysis:
    """Nested metrics and configurations, and checkpoints."""
    values = [(0.5, 0), (0.9, 1), (0.7, 2)]
    reports = [
        {"eval": {"acc": acc}, "checkpoint": f"checkpoint_00000{i}", "step": i} for acc, i in values
    ]
    facts = [
        *trial("a", reports, net={"depth": 3}, lr=0.1),
        *trial("b", [{"eval": {"acc": 0.8}}], "ERROR", "boom", net={"depth": 4}, lr=0.2),
    ]
    path = write_experiment(tmp_path / "exp", facts, TuneConfig(metric="eval/acc", mode="max"))
    return ExperimentAnalysis(path)


def test_nested_metrics_and_configurations(analysis: ExperimentAnalysis) -> None:
    assert analysis.best_config == {"net": {"depth": 4}, "lr": 0.2}
    assert analysis.get_best_trial(scope="all").trial_id == "a"
    a, b = (each.path for each in analysis.trials)
    assert analysis.get_all_configs() == {a: analysis.trials[0].config, b: analysis.best_config}
    assert analysis.get_all_configs(prefix=True)[b] == {"config/net/depth": 4, "config/lr": 0.2}
    assert analysis.get_all_configs()["a"] == {"net": {"depth": 3}, "lr": 0.1}
    frame = analysis.dataframe()
    columns = ["eval/acc", "config/net/depth", "logdir", "experiment_tag"]
    assert frame[columns].values.tolist() == [[0.7, 3, a, "0_a"], [0.8, 4, b, "0_b"]]
    assert analysis.dataframe("eval/acc", "max")["eval/acc"].tolist() == [0.9, 0.8]
    assert analysis.dataframe("eval/acc")["eval/acc"].tolist() == [0.7, 0.8]
    assert analysis.trial_dataframes[a]["eval/acc"].tolist() == [0.5, 0.9, 0.7]
    assert analysis.trial_dataframes["b"]["eval/acc"].tolist() == [0.8]
    assert analysis.results_df.loc["a", "config/net/depth"] == 3
    assert "2 trials, 1 terminated, 1 errors" in repr(analysis)


def test_a_trial_is_named_in_any_way(analysis: ExperimentAnalysis) -> None:
    first = analysis.trials[0]
    best = os.path.join(first.path, "checkpoint_000001")
    for name in (first, "a", first.path, first.path + "/", Path(first.path), "dir_a"):
        checkpoint = analysis.get_best_checkpoint(name)
        assert checkpoint is not None
        assert checkpoint.path == best
        last = analysis.get_last_checkpoint(name)
        assert last is not None
        assert last.path.endswith("checkpoint_000002")


def test_checkpoints_have_the_values_of_their_results(analysis: ExperimentAnalysis) -> None:
    paths = [os.path.join(analysis.trials[0].path, f"checkpoint_00000{i}") for i in range(3)]
    found = analysis.get_trial_checkpoints_paths("a")
    assert found == [*zip(paths, (0.5, 0.9, 0.7), strict=True)]
    assert [n for _, n in analysis.get_trial_checkpoints_paths("a", "step")] == [0, 1, 2]
    assert [n for _, n in analysis.get_trial_checkpoints_paths("a", "nothing")] == [None] * 3
    analysis.default_metric = "training_iteration"
    assert [n for _, n in analysis.get_trial_checkpoints_paths("a")] == [1, 2, 3]
    first = analysis.get_best_checkpoint("a", "step", "min")
    assert first is not None
    assert first.path == paths[0]
    with pytest.raises(ResultError, match=r"metric='stop': no checkpoint .* did you mean 'step'"):
        analysis.get_best_checkpoint("a", "stop")


def test_without_a_trial_the_last_checkpoint_is_of_the_one_that_came_farthest(
    analysis: ExperimentAnalysis,
) -> None:
    last = analysis.get_last_checkpoint()
    assert last is not None
    assert last.path == os.path.join(analysis.trials[0].path, "checkpoint_000002")
    assert analysis.get_last_checkpoint(metric="eval/acc") is None  # it has none


def test_it_can_be_confined_to_some_trials(analysis: ExperimentAnalysis) -> None:
    some = ExperimentAnalysis(analysis.experiment_path, trials=analysis.trials[:1])
    assert some.best_trial is analysis.trials[0]
    assert len(some.dataframe()) == len(some.results) == len(some.get_all_configs()) == 1
    with pytest.raises(ConfigError, match=r"trial='b': .*no trial of this id"):
        some.get_last_checkpoint(analysis.trials[1])


def test_a_pickle_answers_the_same(analysis: ExperimentAnalysis) -> None:
    analysis.default_mode = "min"
    analysis.dataframe()
    copy = pickle.loads(pickle.dumps(analysis))
    assert copy.best_config == analysis.best_config == {"net": {"depth": 3}, "lr": 0.1}
    assert copy.best_checkpoint == analysis.best_checkpoint is not None
    assert copy.best_trial.checkpoint == analysis.best_trial.checkpoint
    assert copy.dataframe().equals(analysis.dataframe())
    assert copy.stats() == analysis.stats() == {"start_time": 100.0, "timestamp": 104.0}
    assert copy.runner_data() == analysis.runner_data()
    assert copy.runner_data()["tune_config"]["metric"] == "eval/acc"
