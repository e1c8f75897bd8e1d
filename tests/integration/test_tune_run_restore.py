"""`tune.run(restore=…)`: trials that begin from a checkpoint."""

import json
import shutil
from pathlib import Path

import pytest

import tuner as tune
from tuner.errors import ConfigError, TuneError

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


class Counter(tune.Trainable):
    def setup(self, config):
        self.count = 0

    def step(self):
        self.count += 1
        if config_says_fail(self.config, self.count):
            raise OSError("no room")
        return {"count": self.count, "timesteps_this_iter": 10, "time_this_iter_s": 1.0}

    def save_checkpoint(self, checkpoint_dir):
        Path(checkpoint_dir, "checkpoint-1").write_text(str(self.count))

    def load_checkpoint(self, checkpoint):
        self.count = int(Path(checkpoint, "checkpoint-1").read_text())
        self.loads = [*getattr(self, "loads", []), self.count]
        mark = self.config.get("loads")
        if mark:
            with open(mark, "a") as file:
                file.write(f"{self.count}\n")


def config_says_fail(config, count):
    if config.get("fails_at") != count:
        return False
    mark = Path(config["mark"])
    if mark.exists():
        return False
    mark.touch()
    return True


class OldCounter(tune.Trainable):
    def _setup(self, config):
        self.count = 0

    def _train(self):
        self.count += 1
        return {"count": self.count}

    def _save(self, checkpoint_dir):
        Path(checkpoint_dir, "checkpoint-1.index").write_text(str(self.count))
        return f"{checkpoint_dir}/checkpoint-1"

    def _restore(self, path):
        self.count = int(Path(f"{path}.index").read_text())


def count(config):
    checkpoint = tune.get_checkpoint()
    number = 0
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            number = int(Path(folder, "count").read_text())
    while True:
        number += 1
        folder = Path("to_save")
        folder.mkdir(exist_ok=True)
        (folder / "count").write_text(str(number))
        tune.report({"count": number}, checkpoint=tune.Checkpoint(str(folder)))


def run(folder, trainable, **arguments):
    return tune.run(trainable, storage_path=folder, **{"verbose": 0, **arguments})


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """The checkpoints of a trial of five iterations, the last first."""
    folder = tmp_path_factory.mktemp("original")
    (trial,) = run(folder, Counter, stop={"training_iteration": 5}, checkpoint_freq=1).trials
    return sorted(Path(trial.path).glob("checkpoint_*"), reverse=True)


def only_trial(*arguments, **more):
    (trial,) = run(*arguments, **more).trials
    return trial


def rows(trial):
    return [json.loads(line) for line in Path(trial.path, "result.json").read_text().splitlines()]


TO_TEN = {"training_iteration": 10}


def test_it_trains_as_many_more_as_are_missing(original, tmp_path):
    trial = only_trial(tmp_path, Counter, stop=TO_TEN, restore=original[0])
    assert trial.num_results == 5
    last = trial.last_result
    assert (last["count"], last["training_iteration"]) == (10, 10)
    assert (last["timesteps_total"], last["time_total_s"]) == (100, 10.0)
    assert (last["iterations_since_restore"], last["time_since_restore"]) == (5, 5.0)


def test_the_counters_are_those_of_the_checkpoint_not_of_the_end(original, tmp_path):
    trial = only_trial(tmp_path, Counter, stop={"training_iteration": 4}, restore=original[2])
    assert [row["count"] for row in rows(trial)] == [4]


@pytest.mark.parametrize("name", ["checkpoint-1", "checkpoint-that-begins-names"])
def test_a_file_may_name_the_folder_that_it_is_in(original, tmp_path, name):
    trial = only_trial(tmp_path, Counter, stop=TO_TEN, restore=original[0] / name)
    assert trial.last_result["count"] == 10


def test_the_home_folder_may_be_abbreviated(original, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(original[0].parent))
    trial = only_trial(tmp_path, Counter, stop=TO_TEN, restore=f"~/{original[0].name}")
    assert trial.last_result["count"] == 10


def test_without_a_journal_the_results_beside_it_tell_the_counters(original, tmp_path):
    copied = tmp_path / "copied"
    shutil.copytree(original[0].parent, copied)
    restore = copied / original[1].name
    trial = only_trial(tmp_path, Counter, stop=TO_TEN, restore=restore)
    assert [row["training_iteration"] for row in rows(trial)] == [5, 6, 7, 8, 9, 10]


def test_a_checkpoint_named_after_its_iteration_is_found_in_old_results(original, tmp_path):
    folder = tmp_path / "PG_1"
    shutil.copytree(original[0], folder / "checkpoint_5")
    lines = [json.dumps({"training_iteration": i, "time_total_s": 1.0 * i}) for i in range(1, 8)]
    (folder / "result.json").write_text("\n".join(lines) + "\n")
    trial = only_trial(tmp_path, Counter, stop=TO_TEN, restore=folder / "checkpoint_5")
    assert [row["training_iteration"] for row in rows(trial)] == [6, 7, 8, 9, 10]


def test_what_was_saved_outside_of_a_trial_says_itself_how_far_it_is(tmp_path):
    counter = Counter({})
    for _ in range(3):
        counter.train()
    saved = counter.save(str(tmp_path / "saved"))
    trial = only_trial(tmp_path, Counter, stop={"training_iteration": 5}, restore=saved)
    assert [(row["count"], row["training_iteration"]) for row in rows(trial)] == [(4, 4), (5, 5)]
    assert trial.last_result["timesteps_total"] == 50


class Pretrained(Counter):
    def setup(self, config):
        self.restore(config["from"])


def test_in_a_trial_the_count_is_that_of_the_trial(tmp_path):
    counter = Counter({})
    counter.train()
    saved = counter.save(str(tmp_path / "saved"))
    config = {"from": saved.path}
    trial = only_trial(
        tmp_path, Pretrained, config=config, stop={"training_iteration": 2}, checkpoint_freq=1
    )
    assert [(row["count"], row["training_iteration"]) for row in rows(trial)] == [(2, 1), (3, 2)]
    folder = Path(trial.path, trial.checkpoints[-1].name)
    assert [each.name for each in folder.iterdir()] == ["checkpoint-1"]


def test_with_nothing_beside_it_counting_begins_anew(original, tmp_path):
    alone = tmp_path / "alone" / "checkpoint_000007"
    shutil.copytree(original[0], alone)
    trial = only_trial(tmp_path, Counter, stop={"training_iteration": 2}, restore=alone)
    assert [(row["count"], row["training_iteration"]) for row in rows(trial)] == [(6, 1), (7, 2)]


def test_every_trial_begins_from_it(original, tmp_path):
    analysis = run(tmp_path, Counter, num_samples=3, stop=TO_TEN, restore=original[0])
    assert [trial.num_results for trial in analysis.trials] == [5, 5, 5]


def test_so_does_every_trial_of_a_worker_that_is_reused(original, tmp_path):
    class Reused(Counter):
        def reset_config(self, new_config):
            self.count = 0
            return True

    analysis = run(
        tmp_path,
        Reused,
        num_samples=3,
        stop=TO_TEN,
        restore=original[0],
        reuse_actors=True,
        max_concurrent_trials=1,
    )
    assert [trial.last_result["count"] for trial in analysis.trials] == [10, 10, 10]
    assert len({trial.last_result["pid"] for trial in analysis.trials}) == 1


def test_a_trial_that_failed_goes_on_from_its_own_checkpoint(original, tmp_path):
    config = {"fails_at": 8, "mark": str(tmp_path / "mark"), "loads": str(tmp_path / "loads")}
    trial = only_trial(
        tmp_path,
        Counter,
        config=config,
        stop=TO_TEN,
        restore=original[0],
        checkpoint_freq=1,
        max_failures=1,
    )
    assert [row["training_iteration"] for row in rows(trial)] == [6, 7, 8, 9, 10]
    assert Path(config["loads"]).read_text().split() == ["5", "7"]


def test_one_that_failed_before_it_had_a_checkpoint_begins_from_it_again(original, tmp_path):
    config = {"fails_at": 8, "mark": str(tmp_path / "mark"), "loads": str(tmp_path / "loads")}
    arguments = {"config": config, "stop": TO_TEN, "restore": original[0], "max_failures": 1}
    trial = only_trial(tmp_path, Counter, **arguments)
    assert trial.last_result["training_iteration"] == 10
    assert Path(config["loads"]).read_text().split() == ["5", "5"]


def test_a_function_finds_it_as_its_checkpoint(tmp_path):
    stop = {"training_iteration": 5}
    before = only_trial(tmp_path, count, name="before", stop=stop)
    restore = Path(before.path, "checkpoint_000004")
    trial = only_trial(tmp_path, count, stop=TO_TEN, restore=restore)
    assert [(row["count"], row["training_iteration"]) for row in rows(trial)] == [
        (number, number) for number in range(6, 11)
    ]


def test_parameters_and_resources_of_a_function_stay(tmp_path):
    def add(config, data):
        tune.report({"sum": sum(data), "found": tune.get_checkpoint() is not None})

    folder = tmp_path / "checkpoint_000000"
    folder.mkdir()
    with_data = tune.with_resources(tune.with_parameters(add, data=[1, 2]), {"cpu": 0.5})
    trial = only_trial(tmp_path, with_data, restore=folder)
    assert (trial.last_result["sum"], trial.last_result["found"]) == (3, True)
    assert (trial.bundles, trial.trainable_name) == ([{"CPU": 0.5}], "add")


def test_a_class_with_the_old_hooks_gets_the_path_that_it_had_returned(tmp_path):
    before = only_trial(
        tmp_path, OldCounter, name="Original", stop={"training_iteration": 5}, checkpoint_freq=5
    )
    restore = Path(before.path, before.checkpoints[0].name, "checkpoint-1")
    trial = only_trial(tmp_path, OldCounter, stop=TO_TEN, restore=str(restore))
    assert (trial.last_result["count"], trial.num_results) == (10, 5)


def test_a_checkpoint_on_remote_storage(tmp_path, s3_server):
    before = only_trial(
        s3_server.url, Counter, name="exp", stop={"training_iteration": 5}, checkpoint_freq=5
    )
    name = f"exp/{before.dirname}/{before.checkpoints[0].name}"
    known_filesystem = tune.Checkpoint(f"{s3_server.name}/{name}", s3_server.filesystem())
    for restore in (f"{s3_server.url}/{name}", before.checkpoint, known_filesystem):
        trial = only_trial(tmp_path, Counter, stop=TO_TEN, restore=restore)
        assert (trial.last_result["count"], trial.num_results) == (10, 5)


def test_a_checkpoint_may_be_given_as_such(tmp_path):
    stop = {"training_iteration": 5}
    first = run(tmp_path, Counter, stop=stop, checkpoint_freq=5)
    trial = only_trial(tmp_path, Counter, stop=TO_TEN, restore=first.get_last_checkpoint())
    assert (trial.last_result["count"], trial.num_results) == (10, 5)
    missing = tune.Checkpoint(tmp_path / "checkpoint_000001" / "gone")
    with pytest.raises(TuneError, match=r"restore='Checkpoint\(.*there is no such checkpoint"):
        run(tmp_path, Counter, restore=missing)
    with pytest.raises(TuneError, match=r"tune\.run\(restore=7\): give a Checkpoint"):
        run(tmp_path, Counter, restore=7)


def test_a_restored_experiment_still_begins_from_it(original, tmp_path):
    config = {"fails_at": 8, "mark": str(tmp_path / "mark")}
    arguments = {"name": "exp", "config": config, "stop": TO_TEN, "restore": original[0]}
    with pytest.raises(TuneError, match="1 of the trials failed"):
        run(tmp_path, Counter, **arguments)
    grid = tune.Tuner.restore(str(tmp_path / "exp"), restart_errored=True).fit()
    assert grid[0].metrics["count"] == 10


def test_a_trial_folder_is_no_checkpoint(original, tmp_path):
    with pytest.raises(TuneError, match="there is no such checkpoint"):
        run(tmp_path, Counter, restore=original[0].parent / "checkpoint_000077")


def test_an_empty_folder_is_no_checkpoint_of_a_class(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ConfigError, match=r"restore='.*/empty'\): this folder is empty"):
        run(tmp_path, Counter, restore=empty)
