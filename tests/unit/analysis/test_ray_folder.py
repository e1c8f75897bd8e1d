"""Folders as several versions of `ray.tune` have written them."""

from __future__ import annotations

import json
import math
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import fsspec
import pytest
from analysis_helpers import ray_trial

from tuner.analysis import ExperimentAnalysis
from tuner.analysis.ray_checkpoints import recorded_iterations
from tuner.analysis.ray_folder import read_ray_folder
from tuner.errors import StorageError
from tuner.filesystems import upload_tree

HEX = "80054e2e"  # what is pickled in them, which nobody reads


def old_record(trial_id: str, number: int, status: str, **fields: Any) -> dict[str, Any]:
    """What versions before 2.0 say of a trial."""
    return {
        "trial_id": trial_id,
        "trainable_name": "my_train",
        "experiment_tag": f"{number}_lr={number}",
        "status": status,
        "logdir": None,
        "last_result": HEX,
        "config": {"lr": number},
        **fields,
    }


def write_state(folder: Path, date: str, **content: Any) -> Path:
    path = folder / f"experiment_state-{date}.json"
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """As 0.8 has it: trials as JSON in JSON, checkpoints that are numbered by iteration."""
    folder = tmp_path / "exp"
    reports = [
        [{"mean_accuracy": 0.5, "trial_id": "b2"}, {"mean_accuracy": 0.7, "trial_id": "b2"}],
        [{"mean_accuracy": math.nan, "trial_id": "a1"}],
    ]
    first = ray_trial(
        folder / "my_train_0_lr=0_2020-07-01",
        [{**each, "config": {"lr": 0, "deep": {"n": 1}}} for each in reports[0]],
        params={"lr": 0, "deep": {"n": 1}},
        checkpoints=["checkpoint_1", "checkpoint_2"],
    )
    second = ray_trial(folder / "my_train_1_lr=1_2020-07-01", reports[1], params={"lr": 1})
    (second / "error.txt").write_text("Traceback\nKeyError: 'x'\n")
    records = [
        old_record("c3", 2, "PENDING"),
        old_record("a1", 1, "ERROR", logdir=f"/home/someone/ray_results/exp/{second.name}"),
        old_record("b2", 0, "TERMINATED", logdir=f"/home/someone/ray_results/exp/{first.name}"),
    ]
    write_state(
        folder,
        "2020-07-01_10-00-00",
        checkpoints=[json.dumps(record) for record in records],
        runner_data={"_iteration": 7},
        stats={"start_time": 1.0, "timestamp": 2.0},
    )
    return folder


def test_trials_come_in_order_with_what_is_known_of_them(old: Path) -> None:
    opened = read_ray_folder(None, str(old))
    assert opened is not None
    assert [each.trial_id for each in opened.trials] == ["b2", "a1", "c3"]
    assert [each.status for each in opened.trials] == ["TERMINATED", "ERROR", "PENDING"]
    assert [each.config["lr"] for each in opened.trials] == [0, 1, 2]
    assert [str(each) for each in opened.trials] == ["my_train_b2", "my_train_a1", "my_train_c3"]
    assert [each.num_results for each in opened.trials] == [2, 1, 0]
    assert "KeyError" in str(opened.results[1].error)
    assert opened.results[2].metrics == {}
    assert opened.stats == {"start_time": 1.0, "timestamp": 2.0}
    assert opened.description == {"_iteration": 7}


def test_all_methods_work_on_it(old: Path) -> None:
    analysis = ExperimentAnalysis(old)
    assert analysis.get_best_config(metric="mean_accuracy") == {"lr": 0, "deep": {"n": 1}}
    best = analysis.get_best_trial("mean_accuracy")
    assert best.last_result["mean_accuracy"] == 0.7
    folder = str(old / "my_train_0_lr=0_2020-07-01")
    assert analysis.get_best_logdir("mean_accuracy") == folder == best.logdir
    assert analysis.get_trial_checkpoints_paths(best, "mean_accuracy") == [
        (f"{folder}/checkpoint_1", 0.5),
        (f"{folder}/checkpoint_2", 0.7),
    ]
    worst = analysis.get_best_checkpoint(folder, "mean_accuracy", "min")
    assert worst is not None
    assert worst.path == f"{folder}/checkpoint_1"
    assert best.checkpoint == analysis.get_last_checkpoint()
    assert analysis.get_last_checkpoint("a1") is None
    assert analysis.dataframe()["trial_id"].tolist() == ["b2", "a1"]
    assert analysis.dataframe("mean_accuracy", "min")["mean_accuracy"].tolist()[0] == 0.5
    assert [len(frame) for frame in analysis.trial_dataframes.values()] == [2, 1, 0]
    assert analysis.get_all_configs(prefix=True)["b2"] == {"config/lr": 0, "config/deep/n": 1}


def test_the_file_with_the_states_names_the_experiment_as_well(old: Path) -> None:
    (state,) = old.glob("experiment_state*")
    assert ExperimentAnalysis(state).experiment_path == str(old)
    assert len(ExperimentAnalysis(str(state)).trials) == 3


def test_as_0_5_has_it_records_are_no_text(old: Path) -> None:
    (state,) = old.glob("experiment_state*")
    content = json.loads(state.read_text())
    content["checkpoints"] = [json.loads(record) for record in content["checkpoints"]]
    state.write_text(json.dumps(content))
    trials = ExperimentAnalysis(old).trials
    assert [each.trial_id for each in trials] == ["b2", "a1", "c3"]


def test_the_newest_state_that_can_be_read_counts(
    old: Path, caplog: pytest.LogCaptureFixture
) -> None:
    records = [json.dumps(old_record("b2", 0, "PAUSED", logdir="my_train_0_lr=0_2020-07-01"))]
    write_state(old, "2020-07-02_10-00-00", checkpoints=[*records, "{torn"])
    write_state(old, "2020-07-03_10-00-00").write_text('{"checkpoints": [')
    trials = ExperimentAnalysis(old).trials
    assert {each.trial_id: each.status for each in trials} == {"b2": "PAUSED", "a1": "ERROR"}
    assert "experiment_state-2020-07-03_10-00-00.json is damaged and not used" in caplog.text
    assert "what experiment_state-*.json says of a trial is damaged" in caplog.text


def test_without_a_state_the_folders_of_trials_suffice(old: Path) -> None:
    (state,) = old.glob("experiment_state*")
    state.unlink()
    (old / "my_train_0_lr=0_2020-07-01" / "result.json").write_text(
        '{"mean_accuracy": 0.7, "training_iteration": 1, "done": true, "trial_id": "b2", '
        '"experiment_tag": "0_lr=0", "config": {"lr": 0}}\n'
    )
    analysis = ExperimentAnalysis(old)
    assert [each.status for each in analysis.trials] == ["TERMINATED", "ERROR"]
    assert [each.experiment_tag for each in analysis.trials] == ["0_lr=0", ""]
    assert analysis.get_best_config("mean_accuracy") == {"lr": 0}
    assert analysis.stats() == {}


def test_as_2_has_it_results_name_their_checkpoints(tmp_path: Path) -> None:
    folder = tmp_path / "exp"
    names = ["checkpoint_000000", "checkpoint_000001"]
    reports = [
        {"loss": 3.0, "checkpoint_dir_name": names[0]},
        {"loss": 1.0, "checkpoint_dir_name": None},
        {"loss": 2.0, "checkpoint_dir_name": names[1]},
    ]
    ray_trial(folder / "t_1", reports, params={"lr": 1}, checkpoints=names)
    static = {"trial_id": "x_1", "relative_logdir": "t_1", "status": "RUNNING"}
    dynamic = {"start_time": 5.0, "num_failures": 2}
    write_state(folder, "2026", trial_data=[[json.dumps(static), json.dumps(dynamic)]])
    analysis = ExperimentAnalysis(folder, default_metric="loss", default_mode="min")
    (trial,) = analysis.trials
    assert (trial.status, trial.start_time, trial.num_failures) == ("RUNNING", 5.0, 2)
    assert [loss for _, loss in analysis.get_trial_checkpoints_paths(trial)] == [3.0, 2.0]
    assert analysis.best_checkpoint is not None
    assert analysis.best_checkpoint.path.endswith(names[1])


def test_a_count_of_checkpoints_is_no_iteration(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "exp"
    reports = [{"loss": 3.0}, {"loss": 2.0}, {"loss": 1.0}]
    ray_trial(folder / "t_1", reports, checkpoints=["checkpoint_000000", "checkpoint_000001"])
    (trial,) = ExperimentAnalysis(folder).trials
    paths = ExperimentAnalysis(folder).get_trial_checkpoints_paths(trial, "loss")
    assert [loss for _, loss in paths] == [None, None]
    record = {
        "relative_logdir": "t_1",
        "checkpoint_manager": {"_type": "CLOUDPICKLE_FALLBACK", "value": HEX},
    }
    write_state(folder, "2026", trial_data=[[json.dumps(record), "{}"]])
    assert ExperimentAnalysis(folder).get_trial_checkpoints_paths(trial, "loss") == paths
    assert "says nothing readable of the checkpoints" in caplog.text


class RunsCode:
    """What an attacker would put into a pickle."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_no_code_in_a_pickle_runs(tmp_path: Path) -> None:
    value = pickle.dumps(RunsCode(tmp_path / "touched")).hex()
    assert recorded_iterations({"checkpoint_manager": {"value": value}}) == {}
    assert not (tmp_path / "touched").exists()
    pickle.loads(bytes.fromhex(value))
    assert (tmp_path / "touched").exists()


def test_results_can_come_from_a_table(tmp_path: Path) -> None:
    folder = tmp_path / "exp" / "t_1"
    folder.mkdir(parents=True)
    (folder / "progress.csv").write_text(
        "loss,eval/acc,training_iteration,trial_id\n3.0,0.1,1,0001\n2.0,0.2,2,0001\n"
    )
    (folder / "params.json").write_text('{"lr": 0.5}')
    analysis = ExperimentAnalysis(tmp_path / "exp")
    assert analysis.results["0001"]["loss"] == 2.0
    assert analysis.get_best_trial("eval/acc").config == {"lr": 0.5}


def test_the_newest_result_tells_when_something_happened_last(tmp_path: Path) -> None:
    folder = tmp_path / "exp"
    ray_trial(folder / "t_1", [{"timestamp": 11}, {"timestamp": 14}])
    ray_trial(folder / "t_2", [{"timestamp": 12}])
    ray_trial(folder / "t_3", [{"loss": 1.0}])
    assert ExperimentAnalysis(folder).stats() == {"timestamp": 14}
    write_state(folder, "2026", trial_data=[], stats={"start_time": 10.5})
    assert ExperimentAnalysis(folder).stats() == {"start_time": 10.5, "timestamp": 14}


def test_a_copy_of_a_trial_is_another_trial(old: Path) -> None:
    folder = old / "my_train_0_lr=0_2020-07-01"
    copy = shutil.copytree(folder, f"{folder}_copy")
    analysis = ExperimentAnalysis(old)
    assert [each.trial_id for each in analysis.trials] == ["b2", os.path.basename(copy), "a1", "c3"]
    best = analysis.get_best_trial("mean_accuracy", "min", "all")
    assert best.trial_id == "b2"
    last = analysis.get_last_checkpoint(copy)
    assert last is not None
    assert last.path == f"{copy}/checkpoint_2"


def test_a_damaged_configuration_is_an_error_unless_results_have_it(old: Path) -> None:
    (old / "my_train_0_lr=0_2020-07-01" / "params.json").write_text("{")
    assert ExperimentAnalysis(old).trials[0].config == {"lr": 0, "deep": {"n": 1}}
    (old / "my_train_1_lr=1_2020-07-01" / "params.json").write_text("{")
    with pytest.raises(StorageError, match=r"my_train_1_lr=1_2020-07-01/params.json is damaged"):
        ExperimentAnalysis(old)


def test_on_another_filesystem_it_is_the_same(old: Path) -> None:
    fs = fsspec.filesystem("memory")
    upload_tree(fs, str(old), "/ray/exp")
    here = ExperimentAnalysis(old, default_metric="mean_accuracy")
    for there in (
        ExperimentAnalysis("memory://ray/exp", default_metric="mean_accuracy"),
        ExperimentAnalysis("/ray/exp", storage_filesystem=fs, default_metric="mean_accuracy"),
    ):
        assert there.experiment_path == "/ray/exp"
        assert [each.status for each in there.trials] == [each.status for each in here.trials]
        assert there.best_config == here.best_config
        assert there.best_dataframe.equals(here.best_dataframe)
        assert there.best_logdir == f"/ray/exp/{os.path.basename(here.best_logdir)}"
        assert there.best_checkpoint is not None
        with there.best_checkpoint.as_directory() as folder:
            assert Path(folder, "model").read_text() == "checkpoint_2"
    fs.rm("/ray", recursive=True)


def test_other_folders_are_none_of_these(tmp_path: Path) -> None:
    assert read_ray_folder(None, str(tmp_path / "nothing")) is None
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "readme.txt").write_text("no trial")
    assert read_ray_folder(None, str(tmp_path)) is None
