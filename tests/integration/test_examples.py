"""Every script in `examples/` runs by itself, and what it prints is what its files say."""

import importlib.util
import json
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import ray
from example_runs import EXAMPLES, TIMEOUT_S, Run
from fit_helpers import wait_until
from ports import free_port


def test_pbt_ppo(tmp_path):
    """Ray and RLlib say much, and MLflow has a file of its own, so it is run apart."""
    pytest.importorskip("ray.rllib")
    pytest.importorskip("tuner.integrations.mlflow")
    options = ["--test-local", "--smoke-test", "--num-tune-samples", "2"]
    done = subprocess.run(
        [sys.executable, EXAMPLES / "pbt_ppo.py", *options],
        cwd=tmp_path,
        env={**os.environ, "TUNER_RESULTS_DIR": str(tmp_path / "results")},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = (tmp_path / "results").iterdir()
    run = Run(done.stdout, folder)
    assert len(run.trials) == 2
    assert all(frame["training_iteration"].iloc[-1] == 4 for frame in run.trials.values())
    best = max(frame["episode_reward_mean"].iloc[-1] for frame in run.trials.values())
    assert run.number("Best episode reward:") == pytest.approx(best, abs=0.05)
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        query = "SELECT value FROM tags WHERE key = 'mlflow.parentRunId'"
        parents = {parent for (parent,) in database.execute(query)}
    assert parents == set(re.findall(r"MLflow: run (\w+)", run.output))


def test_an_interrupted_pbt_ppo_does_not_count_as_completed(tmp_path):
    pytest.importorskip("ray.rllib")
    pytest.importorskip("tuner.integrations.mlflow")
    options = ["--test-local", "--num-tune-samples", "1", "--batch-scale", "0.05"]
    with subprocess.Popen(
        [sys.executable, EXAMPLES / "pbt_ppo.py", *options],
        cwd=tmp_path,
        env={**os.environ, "TUNER_RESULTS_DIR": str(tmp_path / "results")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        wait_until(lambda: list(tmp_path.glob("results/*/*/progress.csv")), TIMEOUT_S)
        process.terminate()
        output, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1, output
    assert "Interrupted: 0 of 1 trials ended\n" in output
    assert "Best episode reward" not in output
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        query = "SELECT status FROM runs JOIN tags ON value = runs.run_uuid"
        statuses = set(database.execute(f"{query} WHERE key = 'mlflow.parentRunId'"))
    assert statuses == {("KILLED",)}


@pytest.fixture
def one_cpu():
    """This process and those that it starts may use one CPU only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.fixture(scope="module")
def ray_of_one_cpu():
    """The address of a Ray cluster that has one slot."""
    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


def load_module(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_is_tested():
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*examples.py"))
    tested = set(re.findall(r"^def test_(\w+)", tests, re.MULTILINE))
    assert {path.stem for path in EXAMPLES.glob("*.py")} <= tested


def test_quickstart(run_example):
    run = run_example("quickstart.py")
    last = {folder: frame.iloc[-1] for folder, frame in run.trials.items()}
    assert len(last) == 4
    epochs = [row["training_iteration"] for row in last.values()]
    assert run.number("Epochs trained:") == sum(epochs) < 4 * 4
    assert max(epochs) == 4

    best = max(last, key=lambda folder: last[folder]["accuracy"])
    assert run.number("on the validation part:") == pytest.approx(last[best]["accuracy"], abs=5e-5)
    assert run.number("never seen before:") > 0.8
    for folder, row in last.items():
        (checkpoint,) = folder.glob("checkpoint_*")
        assert checkpoint.name == row["checkpoint_dir_name"]
        assert len(list(folder.glob("events.out.tfevents.*"))) == 1


def test_class_trainable(run_example):
    run = run_example("class_trainable.py")
    assert len(run.trials) == 2
    (failed,) = [folder for folder in run.trials if (folder / "error.txt").exists()]
    assert "one trial to fail once" in (failed / "error.txt").read_text()
    assert json.loads((failed / "params.json").read_text())["alpha"] == 1e-3

    for folder, frame in run.trials.items():
        end = frame.iloc[-1]
        assert end["training_iteration"] == 7
        assert end["resumed_at"] == (4 if folder == failed else 0)
        assert end["iterations_since_restore"] == (3 if folder == failed else 7)
        kept = sorted(path.name for path in folder.glob("checkpoint_*"))
        assert kept[-1] == "checkpoint_000003"  # after iterations 2, 4, 6 and at the end
        assert 3 <= len(kept) <= 4
    assert "resumed after iteration 4, ended after iteration 7" in run.output

    kept_accuracies = [
        float(text) for text in re.findall(r"checkpoint_\d+: .*, accuracy ([\d.]+)", run.output)
    ]
    assert run.number("loaded again: accuracy") == max(kept_accuracies) > 0.8


def test_numpy_mlp(run_example):
    run = run_example("numpy_mlp.py")
    assert len(run.trials) == 3
    units = set()
    for folder, frame in run.trials.items():
        config = json.loads((folder / "params.json").read_text())
        units.add(config["units"])
        assert 0 <= config["optimizer"]["weight_decay"] <= 0.1 * config["optimizer"]["lr"]
        assert list(frame["training_iteration"]) == [1, 2, 3, 4, 5]
        assert frame["loss"].iloc[-1] < frame["loss"].iloc[0]
    assert units == {4, 16, 64}

    best = min(run.trials, key=lambda folder: run.trials[folder]["loss"].min())
    epoch = int(run.trials[best]["loss"].idxmin())
    assert run.number("Its best epoch:") == epoch + 1
    example = load_module("numpy_mlp")
    params = dict(np.load(best / f"checkpoint_{epoch:06d}" / "params.npz"))
    data = example.load_data()
    on_validation = example.evaluate(params, *data["validation"])
    assert on_validation["loss"] == pytest.approx(run.trials[best]["loss"].min())
    on_test = example.evaluate(params, *data["test"])
    assert run.number("On the test part: loss") == pytest.approx(on_test["loss"], abs=5e-5)
    assert on_test["accuracy"] > 0.9


def test_custom_stopper(run_example):
    run = run_example("custom_stopper.py")
    diverged = [frame for frame in run.trials.values() if frame["loss"].max() > 100]
    assert run.number("Diverged, and stopped at once:") == len(diverged) == 2
    assert all(len(frame) == 1 for frame in diverged)
    winners = [frame for frame in run.trials.values() if frame["loss"].min() <= 0.49]
    assert winners
    assert all((frame["loss"].iloc[:-1] > 0.49).all() for frame in winners)
    assert run.number("Trials started:") == len(run.trials) < 10
    assert "Goal reached: True" in run.output


def test_steering(run_example):
    pytest.importorskip("fastapi")
    run = run_example("steering.py", "--port", str(free_port()))
    (added,) = re.findall("added (.*)", run.output)
    (frame,) = (each for each in run.trials.values() if each["trial_id"].iloc[0] == added)
    assert run.number("goes on with iteration") == run.number(f"{added} pauses after") + 1
    assert list(frame["training_iteration"]) == list(range(1, len(frame) + 1)), "nothing twice"
    losses = [each["loss"].iloc[-1] for each in run.trials.values()]
    assert run.number("best loss") == pytest.approx(min(losses), abs=1e-4)


def test_custom_logger(run_example):
    run = run_example("custom_logger.py")
    assert len(run.trials) == 4
    expected = []
    for folder, frame in run.trials.items():
        config = json.loads((folder / "params.json").read_text())
        name = f"wine_{config['penalty']}_{frame['trial_id'].iloc[0]}"
        assert folder.name == f"{name}_alpha={config['alpha']:.1e}"
        assert name in run.output
        expected += [(name, i, a) for i, a in zip(range(1, 6), frame["accuracy"], strict=True)]

    with sqlite3.connect(run.folder / "trials.sqlite") as database:
        rows = database.execute("SELECT * FROM results ORDER BY name, iteration").fetchall()
        trials = database.execute("SELECT name, status FROM trials").fetchall()
    assert [row[:2] for row in rows] == sorted(row[:2] for row in expected)
    assert {row[:2]: row[2] for row in rows} == pytest.approx({row[:2]: row[2] for row in expected})
    assert {status for _, status in trials} == {"finished"}
    assert {name for name, _ in trials} == {name for name, _, _ in expected}


def test_hyperband(run_example):
    run = run_example("hyperband.py")
    ends = [frame["training_iteration"].iloc[-1] for frame in run.trials.values()]
    assert sorted(ends) == [1, 1, 3, 3, 3]  # of three trials one goes on, two train to the end
    assert "Bracket 0, trials 0 to 2: ended 2 at 1, 1 at 3 epochs" in run.output
    assert "Bracket 1, trials 3 to 4: ended 2 at 3 epochs" in run.output
    assert run.number("Epochs trained:") == sum(ends)
    for frame in run.trials.values():  # who paused has gone on where it was
        assert list(frame["epochs_of_model"]) == list(frame["training_iteration"])
    best = max(frame["accuracy"].iloc[-1] for frame in run.trials.values())
    assert run.number("Best accuracy:") == pytest.approx(best, abs=5e-5)
    assert best > 0.6


def test_median_stopping(run_example):
    run = run_example("median_stopping.py")
    ends = [len(frame) for frame in run.trials.values()]
    assert len(ends) == 8
    assert run.number("Trials stopped early:") == sum(end < 6 for end in ends) > 0
    assert run.number("Epochs trained:") == sum(ends)
    assert min(ends) >= 2
    best = min(frame["loss"].min() for frame in run.trials.values())
    finished = [frame for frame in run.trials.values() if len(frame) == 6]
    assert best in [frame["loss"].min() for frame in finished]


def test_resource_changing(run_example):
    run = run_example("resource_changing.py")
    sizes = {}
    for folder, frame in run.trials.items():
        size = json.loads((folder / "params.json").read_text())["trees"]
        sizes[size] = frame
        assert frame["trees"].tolist() == list(range(10, size + 1, 10)), "nothing twice"
        assert frame["cpus"].iloc[0] == 1
        assert set(frame["cpus"]) <= {1, 2, 3, 4}
        grown = 10 * frame["cpus"].value_counts().sort_index()
        counts = ", ".join(f"{count} with {cpus}" for cpus, count in grown.items())
        assert f"{size:5d} trees: {counts}" in run.output
    assert set(sizes) == {20, 40, 80, 240}
    assert sizes[240]["cpus"].iloc[-1] == 4, "it is alone in the end"


def test_pb2(run_example):
    run = run_example("pb2.py")
    assert len(run.trials) == 4
    last = {folder: frame.iloc[-1] for folder, frame in run.trials.items()}
    assert all(row["training_iteration"] == 8 for row in last.values())
    best = min(last, key=lambda folder: last[folder]["loss"])
    assert run.number("Its loss:") == pytest.approx(last[best]["loss"], abs=5e-5)
    exploits = (run.folder / "pbt_global.txt").read_text().splitlines()
    assert exploits
    for line in exploits:
        before, after = json.loads(line)[-2:]
        assert 1e-4 <= after["lr"] <= 1
        assert 0 <= after["momentum"] <= 0.99
        assert before != after


def policies(run):
    """The schedules of a population, as (iteration, configuration) pairs by trial."""
    return {
        path.stem.removeprefix("pbt_policy_"): [
            (line[3], line[5]) for line in map(json.loads, path.read_text().splitlines())
        ]
        for path in run.folder.glob("pbt_policy_*.txt")
    }


def test_pbt(run_example):
    run = run_example("pbt.py")
    assert len(run.trials) == 4
    assert run.number("went on from a better one:") == 2 * 3
    assert all(len(frame) == 12 for frame in run.trials.values())
    last = [frame["loss"].iloc[-1] for frame in run.trials.values()]
    assert run.number("Best loss:") == pytest.approx(min(last), abs=5e-5)
    assert max(last) < 0.5, "the worst have gone on from the best"
    by_id = {frame["trial_id"].iloc[0]: frame for frame in run.trials.values()}
    for trial_id, changes in policies(run).items():
        iteration, config = changes[-1]
        assert by_id[trial_id]["eta0"].iloc[iteration] == config["eta0"]


def test_pbt_function(run_example):
    run = run_example("pbt_function.py")
    assert len(run.trials) == 4
    assert run.number("Schedules for examples/pbt_replay.py:") == len(policies(run)) > 0
    last = [frame["loss"].iloc[-1] for frame in run.trials.values()]
    assert run.number("Best loss:") == pytest.approx(min(last), abs=5e-5)
    assert min(last) < 0.3


def test_pbt_replay(run_example):
    run = run_example("pbt_replay.py")
    (frame,) = run.trials.values()
    rates = dict(re.findall(r"^(\d+): ([\d.e+-]+)$", run.output, flags=re.MULTILINE))
    assert rates
    for iteration, rate in rates.items():
        assert frame["lr_now"].iloc[int(iteration)] == pytest.approx(float(rate), rel=1e-3)
        assert frame["lr_now"].iloc[int(iteration) - 1] != frame["lr_now"].iloc[int(iteration)]
    assert run.number("Loss of the replay:") == pytest.approx(frame["loss"].iloc[-1], abs=1e-6)


OF_TIME_AND_PLACE = re.compile("time|date|pid|hostname|node_ip|trial_id")


def results_of(run):
    """What trials reported, by the number of the trial, without what differs in every run."""
    results = {}
    for folder, frame in run.trials.items():
        same = [name for name in frame if not OF_TIME_AND_PLACE.search(name)]
        number = int(re.search(r"_[0-9a-f]{5}_(\d{5})_", folder.name)[1])
        config = json.loads((folder / "params.json").read_text())
        results[number] = (config, frame[same].dropna(axis=1).to_dict("records"))
    return results


def test_local_to_ray(run_example, one_cpu, ray_of_one_cpu):
    local = run_example("local_to_ray.py")
    assert len(local.trials) == 4
    best = max(frame["accuracy"].iloc[-1] for frame in local.trials.values())
    assert local.number("Accuracy of its checkpoint:") == pytest.approx(best, abs=5e-5)
    assert best > 0.85
    on_ray = run_example("local_to_ray.py", "--address", ray_of_one_cpu, on_ray=True)
    assert results_of(on_ray) == results_of(local)


def test_quickstart_gives_the_same_on_ray(run_example, one_cpu, ray_of_one_cpu):
    local = run_example("quickstart.py")
    on_ray = run_example("quickstart.py", on_ray=True, env={"RAY_ADDRESS": ray_of_one_cpu})
    assert results_of(on_ray) == results_of(local)
    assert on_ray.number("never seen before:") == local.number("never seen before:")


def test_distributed_trainable(run_example):
    run = run_example("distributed_trainable.py", on_ray=True)
    assert len(run.trials) == 2
    example = load_module("distributed_trainable")
    parts = [example.load_part(rank, 2) for rank in range(2)]
    images, labels = (np.concatenate(halves) for halves in zip(*parts, strict=True))
    for folder, frame in run.trials.items():
        rate = json.loads((folder / "params.json").read_text())["lr"]
        weights = np.zeros((64, 10))
        for _ in range(20):  # the same on all the data at once
            error = example.predict(weights, images) - labels
            weights = weights - rate * images.T @ error / len(images)
        stored = np.load(folder / "checkpoint_000001" / "weights.npy")
        np.testing.assert_allclose(stored, weights, rtol=1e-6, atol=1e-9)
        x, y = example.load_part(None, 2)
        loss = -np.mean(np.log(example.predict(weights, x)[y > 0]))
        assert frame["loss"].tolist()[-1] == pytest.approx(loss)
    best = max(frame["accuracy"].iloc[-1] for frame in run.trials.values())
    assert run.number("accuracy:") == pytest.approx(best, abs=5e-5)
    assert best > 0.85
