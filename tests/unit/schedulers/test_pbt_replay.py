"""One trial with a recorded schedule of configurations."""

import json
import logging

import pytest
from scheduler_harness import SmallExperiment

from tuner.errors import ConfigError
from tuner.schedulers import PopulationBasedTrainingReplay

A, B, C, D = ({"lr": lr} for lr in (0.1, 0.2, 0.3, 0.4))


def policy(folder, *lines):
    path = folder / "pbt_policy_x_00001.txt"
    path.write_text(
        "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
    )
    return path


def trained_with(path, length=12, **options):
    """The configuration at each iteration."""
    scheduler = PopulationBasedTrainingReplay(path)
    experiment = SmallExperiment(scheduler, [[0.0] * length], slots=1, **options)
    configs = []
    scheduler_result = scheduler.on_trial_result

    def on_trial_result(view, trial, result):
        configs.append(trial.config)
        return scheduler_result(view, trial, result)

    scheduler.on_trial_result = on_trial_result
    experiment.run()
    return configs


def test_configurations_change_at_the_recorded_iterations_of_the_donors(tmp_path):
    path = policy(tmp_path, ["1", "0", 5, 4, A, B], ["2", "1", 9, 8, B, C])
    assert trained_with(path) == [A] * 4 + [B] * 4 + [C] * 4


def test_lines_of_another_descent_are_left_out_as_in_files_of_ray(tmp_path):
    path = policy(tmp_path, ["3", "2", 4, 4, D, A], ["1", "0", 5, 5, A, B], ["2", "1", 8, 8, B, C])
    assert trained_with(path) == [A] * 5 + [B] * 3 + [C] * 4


def test_changes_at_one_iteration_are_one_change(tmp_path):
    path = policy(tmp_path, ["1", "0", 4, 4, A, B], ["2", "1", 4, 4, B, C])
    assert trained_with(path) == [A] * 4 + [C] * 8


def test_what_the_param_space_has_beyond_stays(tmp_path):
    path = policy(tmp_path, ["1", "0", 4, 4, A, B])
    configs = trained_with(path, length=6, configs=[{"data": 7, "lr": 9}])
    assert configs == [{"data": 7, **A}] * 4 + [{"data": 7, **B}] * 2


def test_its_state_can_be_read(tmp_path):
    scheduler = PopulationBasedTrainingReplay(str(policy(tmp_path, ["1", "0", 4, 4, A, B])))
    assert (scheduler.config, scheduler.current_config) == (A, A)
    SmallExperiment(scheduler, [[0.0] * 6], slots=1).run()
    assert (scheduler.config, scheduler.current_config) == (A, B)
    assert "1 of 1" in scheduler.debug_string()


def test_a_second_trial_is_refused(tmp_path):
    scheduler = PopulationBasedTrainingReplay(policy(tmp_path, ["1", "0", 4, 4, A, B]))
    with pytest.raises(ConfigError, match="num_samples=1"):
        SmallExperiment(scheduler, [[0.0]] * 2)


def test_a_trial_without_a_checkpoint_is_named(tmp_path, caplog):
    scheduler = PopulationBasedTrainingReplay(policy(tmp_path, ["1", "0", 1, 1, A, B]))
    experiment = SmallExperiment(scheduler, [[0.0] * 3])
    (trial,) = experiment.trials
    experiment.move(trial, "PAUSED")
    with caplog.at_level(logging.WARNING):
        scheduler.on_trial_pause(experiment, trial)
    assert "no checkpoint" in caplog.text


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "it is empty"),
        (["no json"], "line 1 is 'no json'"),
        ([["1", "0", 4, 4, A, B], ["1", "0", 4]], "line 2"),
        ([["1", "0", 4, "x", A, B]], "line 1"),
        ([["1", "0", 4, 4, A, None]], "line 1"),
        (['["1", "0", 4, 4, {"lr": 0.1'], "line 1"),
    ],
)
def test_damaged_files_are_refused_by_name(tmp_path, lines, words):
    with pytest.raises(ConfigError, match=words) as error:
        PopulationBasedTrainingReplay(policy(tmp_path, *lines))
    assert "pbt_policy_x_00001.txt" in str(error.value)


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.txt.*cannot be read"):
        PopulationBasedTrainingReplay(tmp_path / "nowhere.txt")


def test_files_that_ray_wrote_are_read_as_ray_reads_them(tmp_path):
    schedulers = pytest.importorskip("ray.tune.schedulers")
    lines = [["3", "2", 4, 4, D, A], ["1", "0", 5, 5, A, B], ["2", "1", 8, 7, B, C]]
    path = policy(tmp_path, *lines)
    theirs = schedulers.PopulationBasedTrainingReplay(str(path))
    ours = PopulationBasedTrainingReplay(path)
    assert ours.config == theirs.config
    assert [tuple(step) for step in ours._steps] == theirs._policy
