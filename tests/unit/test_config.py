import copy
import dataclasses
import inspect
import pickle
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from tuner.config import (
    CheckpointConfig,
    FailureConfig,
    ResumeConfig,
    RunConfig,
    SyncConfig,
    TuneConfig,
)
from tuner.errors import ConfigError, TunerError
from tuner.schedulers import ASHAScheduler, FIFOScheduler
from tuner.stoppers import MaximumIterationStopper

CONFIGS = [TuneConfig, RunConfig, CheckpointConfig, FailureConfig, SyncConfig, ResumeConfig]


def a_function(trial):
    return str(trial)


def stops(trial_id, result):
    return False


def error_of(config, **fields):
    """The one line that a user reads."""
    with pytest.raises(ConfigError) as error:
        config(**fields)
    line = str(error.value)
    assert "\n" not in line
    assert len(line) < 250
    return line


# What all configs have in common.


@pytest.mark.parametrize("config", CONFIGS)
def test_built_without_arguments_frozen_and_comparable(config):
    built = config()
    assert built == config()
    for field in dataclasses.fields(config):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(built, field.name, None)


@pytest.mark.parametrize("config", CONFIGS)
def test_copies_are_equal(config):
    built = config()
    assert pickle.loads(pickle.dumps(built)) == built
    assert copy.deepcopy(built) == built
    assert dataclasses.replace(built) == built


@pytest.mark.parametrize("config", CONFIGS)
def test_the_signature_names_the_fields_as_keywords(config):
    parameters = inspect.signature(config).parameters
    assert list(parameters) == [field.name for field in dataclasses.fields(config)]
    assert {p.kind for p in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize("config", CONFIGS)
def test_arguments_without_a_name_are_refused(config):
    with pytest.raises(ConfigError, match=r"name the field, as in \w+Config\(\w+=\.\.\.\)"):
        config(3)


def test_an_unknown_field_names_the_near_one():
    line = error_of(TuneConfig, num_sample=3)
    assert line == "TuneConfig(num_sample=3): no such field; did you mean 'num_samples'?"


def test_a_field_of_another_config_is_sent_there():
    assert error_of(TuneConfig, stop={}) == (
        "TuneConfig(stop={}): no such field; it belongs to RunConfig"
    )
    assert error_of(RunConfig, max_failures=3).endswith("it belongs to FailureConfig")


def test_fields_that_are_no_more_name_what_replaced_them():
    assert "storage_path" in error_of(RunConfig, local_dir="results")
    assert "storage_path" in error_of(SyncConfig, upload_dir="s3://bucket")
    assert "TUNE_CHDIR_TO_TRIAL_DIR" in error_of(TuneConfig, chdir_to_trial_dir=False)


def test_errors_are_value_errors_too():
    with pytest.raises(ValueError, match="num_samples=0"):
        TuneConfig(num_samples=0)
    with pytest.raises(TunerError):
        TuneConfig(num_samples=0)


# What is accepted.


@pytest.mark.parametrize(
    "fields",
    [
        {"metric": "loss", "mode": "min"},
        {"metric": "eval/accuracy", "mode": "max"},
        {"metric": ["loss", "size"], "mode": ["min", "max"]},
        {"search_alg": "optuna"},
        {"search_alg": object()},
        {"scheduler": "asha"},
        {"scheduler": ASHAScheduler()},
        {"num_samples": -1},
        {"num_samples": np.int64(5)},
        {"max_concurrent_trials": 4},
        {"max_concurrent_trials": 0},
        {"time_budget_s": 0.5},
        {"time_budget_s": timedelta(hours=1)},
        {"reuse_actors": True},
        {"trial_name_creator": a_function, "trial_dirname_creator": a_function},
        {"seed": 0},
    ],
)
def test_tune_config_accepts(fields):
    config = TuneConfig(**fields)
    assert {name: getattr(config, name) for name in fields} == fields


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "mnist"},
        {"storage_path": "s3://bucket/exp"},
        {"storage_filesystem": object()},
        {"stop": {"loss": 0.1}},
        {"stop": stops},
        {"stop": MaximumIterationStopper(3)},
        {"stop": [MaximumIterationStopper(3), {"accuracy": 0.9}, stops]},
        {"callbacks": [object(), object()]},
        {"callbacks": []},
        {"failure_config": FailureConfig(max_failures=2)},
        {"checkpoint_config": CheckpointConfig(num_to_keep=2)},
        {"sync_config": SyncConfig(sync_period=5)},
        {"progress_reporter": object()},
        {"verbose": 0},
        {"verbose": 3},
        {"log_to_file": True},
        {"log_to_file": "both.log"},
        {"log_to_file": ("out.log", "err.log")},
        {"log_to_file": ["out.log", "err.log"]},
        {"executor": "inline"},
        {"executor": object()},
    ],
)
def test_run_config_accepts(fields):
    config = RunConfig(**fields)
    assert {name: getattr(config, name) for name in fields} == fields


def test_none_stands_for_the_default_parts():
    config = RunConfig(failure_config=None, checkpoint_config=None, sync_config=None)
    assert config.failure_config == FailureConfig()
    assert config.checkpoint_config == CheckpointConfig()
    assert config.sync_config == SyncConfig()


def test_a_path_is_kept_as_text():
    assert RunConfig(storage_path=Path("some") / "where").storage_path == "some/where"


@pytest.mark.parametrize(
    ("given", "seconds"),
    [(None, None), (0, None), (timedelta(0), None), (90, 90.0), (timedelta(minutes=2), 120.0)],
)
def test_time_budget_in_seconds(given, seconds):
    assert TuneConfig(time_budget_s=given).time_budget_seconds == seconds


@pytest.mark.parametrize("given", ["raise", "RAISE", "Raise"])
def test_fail_fast_raise_in_any_case(given):
    assert FailureConfig(fail_fast=given).fail_fast == "raise"


@pytest.mark.parametrize("kind", list(ResumeConfig.ResumeType))
def test_resume_types_as_members_or_values(kind):
    assert ResumeConfig(errored=kind) == ResumeConfig(errored=kind.value)
    assert ResumeConfig(errored=kind.value).errored is kind


def test_resume_config_leaves_what_has_ended():
    kinds = ResumeConfig.ResumeType
    config = ResumeConfig()
    assert (config.finished, config.unfinished, config.errored) == (
        kinds.SKIP,
        kinds.RESUME,
        kinds.SKIP,
    )


# What is refused: the whole line, as it is what a user sees.

LIMITLESS = "use a whole number >= 1, or -1 for no limit"
STOP = "use {'metric': bound}, a function (trial_id, result) -> bool, a Stopper, or a list"
EXECUTOR = "use one of auto, local, inline, ray, simulated, or an executor object"


@pytest.mark.parametrize(
    ("field", "value", "fix"),
    [
        ("num_samples", 0, LIMITLESS),
        ("num_samples", -2, LIMITLESS),
        ("num_samples", 1.5, LIMITLESS),
        ("num_samples", True, LIMITLESS),
        ("num_samples", "10", LIMITLESS),
        ("num_samples", None, LIMITLESS),
        ("max_concurrent_trials", -1, "use a whole number >= 1, or None for no limit"),
        ("max_concurrent_trials", 1.5, "use a whole number >= 1, or None for no limit"),
        ("time_budget_s", -1, "use seconds > 0 or a timedelta, or None for no limit"),
        ("time_budget_s", "1h", "use seconds > 0 or a timedelta, or None for no limit"),
        ("time_budget_s", float("nan"), "use seconds > 0 or a timedelta, or None for no limit"),
        ("reuse_actors", 1, "use True or False"),
        ("trial_name_creator", "x", "use a function that takes the trial and returns a string"),
        ("trial_dirname_creator", 3, "use a function that takes the trial and returns a string"),
        ("seed", -1, "use a whole number >= 0, or None"),
        ("seed", 1.5, "use a whole number >= 0, or None"),
        ("scheduler", 3, "use a scheduler or the name of one"),
        ("scheduler", "", "use a scheduler or the name of one"),
        ("scheduler", ["asha"], "use a scheduler or the name of one"),
        ("search_alg", {"name": "optuna"}, "use a searcher or the name of one"),
        ("metric", "loss", "also say mode='min' or mode='max'"),
    ],
)
def test_tune_config_refuses(field, value, fix):
    assert error_of(TuneConfig, **{field: value}) == f"TuneConfig({field}={value!r}): {fix}"


@pytest.mark.parametrize(
    ("metric", "mode", "line"),
    [
        ("loss", "maximize", "(mode='maximize'): use 'max'"),
        ("loss", "down", "(mode='down'): use 'min' or 'max'"),
        ("loss", 1, "(mode=1): use 'min' or 'max'"),
        ("loss", ["min"], "(mode=['min']): use 'min' or 'max'"),
        ("", "min", "(metric=''): use the name of a reported value"),
        (3, "min", "(metric=3): use the name of a reported value"),
        (["a", "b"], "min", "(mode='min'): use a list of 2 modes, one for each metric"),
        (["a", "b"], ["min"], "(mode=['min']): use a list of 2 modes, one for each metric"),
        (["a", "b"], ["min", "best"], "(mode='best'): use 'min' or 'max'"),
        (["a", "a"], ["min"] * 2, "(metric=['a', 'a']): name at least one value and each once"),
        ([], [], "(metric=[]): name at least one value and each once"),
        (["a", None], ["min"] * 2, "(metric=None): use names of reported values"),
    ],
)
def test_objectives_that_do_not_fit(metric, mode, line):
    assert error_of(TuneConfig, metric=metric, mode=mode) == f"TuneConfig{line}"


def test_a_class_is_not_an_instance():
    fix = "give an instance, FIFOScheduler(...), not the class"
    assert error_of(TuneConfig, scheduler=FIFOScheduler).endswith(fix)
    fix = "give an instance, MaximumIterationStopper(...), not the class"
    assert error_of(RunConfig, stop=MaximumIterationStopper).endswith(fix)
    assert error_of(RunConfig, stop=[MaximumIterationStopper]).endswith(fix)
    fix = "give an instance, FIFOScheduler(...), not the class"
    assert error_of(RunConfig, callbacks=[FIFOScheduler]).endswith(fix)
    assert error_of(RunConfig, executor=FIFOScheduler).endswith(fix)


@pytest.mark.parametrize(
    ("field", "value", "fix"),
    [
        ("name", "a/b", "use one folder name; what is above it goes into storage_path"),
        ("name", "a\\b", "use one folder name; what is above it goes into storage_path"),
        ("name", "..", "use one folder name; what is above it goes into storage_path"),
        ("name", "", "use a name for the experiment's folder, or None"),
        ("name", 3, "use a name for the experiment's folder, or None"),
        ("storage_path", "", "use a path or a URL"),
        ("storage_path", 3, "use a path or a URL"),
        ("storage_filesystem", "s3", "use a filesystem object"),
        ("stop", 10, STOP),
        ("stop", "accuracy", STOP),
        ("callbacks", "mlflow", "use a list, also for a single callback: [callback]"),
        ("callbacks", [None], "take the None out of the list"),
        ("callbacks", ["mlflow"], None),
        ("failure_config", 3, "use FailureConfig(...)"),
        ("failure_config", {"max_failures": 3}, "use FailureConfig(...)"),
        ("checkpoint_config", FailureConfig(), "use CheckpointConfig(...)"),
        ("sync_config", "s3://bucket", "use SyncConfig(...)"),
        ("progress_reporter", "rich", "use a progress reporter"),
        ("verbose", 4, "use 0, 1, 2 or 3, or None for the default"),
        ("verbose", -1, "use 0, 1, 2 or 3, or None for the default"),
        ("verbose", "debug", "use 0, 1, 2 or 3, or None for the default"),
        ("log_to_file", "", "use True, False, one file name, or two: (for stdout, for stderr)"),
        ("log_to_file", ("a",), "use True, False, one file name, or two: (for stdout, for stderr)"),
        ("log_to_file", None, "use True, False, one file name, or two: (for stdout, for stderr)"),
        ("log_to_file", (1, 2), "use True, False, one file name, or two: (for stdout, for stderr)"),
        ("executor", "locl", EXECUTOR + "; did you mean 'local'?"),
        ("executor", None, EXECUTOR),
        ("executor", 4, EXECUTOR),
    ],
)
def test_run_config_refuses(field, value, fix):
    line = error_of(RunConfig, **{field: value})
    assert line.startswith(f"RunConfig({field}=")
    if fix is not None:
        assert line == f"RunConfig({field}={value!r}): {fix}"


@pytest.mark.parametrize(
    ("config", "field", "value", "fix"),
    [
        (CheckpointConfig, "num_to_keep", 0, "use a whole number >= 1, or None to keep all"),
        (CheckpointConfig, "num_to_keep", 1.5, "use a whole number >= 1, or None to keep all"),
        (CheckpointConfig, "checkpoint_score_order", "maximum", "use 'max'"),
        (CheckpointConfig, "checkpoint_score_order", None, "use 'min' or 'max'"),
        (
            CheckpointConfig,
            "checkpoint_score_attribute",
            "",
            "use the name of a metric, or None to keep the latest",
        ),
        (
            CheckpointConfig,
            "checkpoint_frequency",
            -1,
            "use a whole number of iterations >= 1, or 0 for none",
        ),
        (CheckpointConfig, "checkpoint_at_end", "yes", "use True or False"),
        (FailureConfig, "max_failures", -2, "use a whole number >= 0, or -1 to retry without end"),
        (FailureConfig, "max_failures", "3", "use a whole number >= 0, or -1 to retry without end"),
        (FailureConfig, "fail_fast", "stop", "use True, False or 'raise'"),
        (FailureConfig, "fail_fast", None, "use True, False or 'raise'"),
        (SyncConfig, "sync_period", 0, "use seconds > 0"),
        (SyncConfig, "sync_timeout", -5, "use seconds > 0"),
        (SyncConfig, "sync_artifacts", "all", "use True or False"),
        (ResumeConfig, "errored", "retry", "use 'resume', 'restart' or 'skip'"),
        (ResumeConfig, "unfinished", True, "use 'resume', 'restart' or 'skip'"),
    ],
)
def test_the_other_configs_refuse(config, field, value, fix):
    line = error_of(config, **{field: value})
    assert line == f"{config.__name__}({field}={value!r}): {fix}"


def test_retries_and_failing_fast_exclude_each_other():
    assert error_of(FailureConfig, max_failures=3, fail_fast=True) == (
        "FailureConfig(max_failures=3): "
        "use 0, as fail_fast=True ends the experiment at the first failure"
    )
    assert "fail_fast='raise'" in error_of(FailureConfig, max_failures=-1, fail_fast="raise")


# The names and defaults that scripts written for ray.tune see.

BETTER = {
    ("RunConfig", "storage_path"),  # our own default place
    ("RunConfig", "verbose"),  # filled in by ray
    ("SyncConfig", "sync_period"),
}


@pytest.mark.parametrize("config", CONFIGS)
def test_names_and_defaults_are_those_of_ray(config):
    tune = pytest.importorskip("ray.tune")
    theirs = getattr(tune, config.__name__)()
    deprecated = ("local_dir", "chdir_to_trial_dir")
    names = {
        field.name
        for field in dataclasses.fields(theirs)
        if field.name not in deprecated and not field.name.startswith("_")
    }
    ours = config()
    added = {field.name for field in dataclasses.fields(config)} - names
    assert names <= {field.name for field in dataclasses.fields(config)}
    assert added <= {"seed", "executor", "server"}
    for name in names:
        value, their_value = getattr(ours, name), getattr(theirs, name)
        if (config.__name__, name) not in BETTER and not dataclasses.is_dataclass(value):
            assert value == getattr(their_value, "value", their_value), name


@pytest.mark.parametrize("name", ["sub/x.log", "../x", "result.json", ("out", "error.txt"), ".."])
def test_names_for_output_that_cannot_work(name) -> None:
    with pytest.raises(ConfigError, match=r"log_to_file=.*plain file names"):
        RunConfig(log_to_file=name)
