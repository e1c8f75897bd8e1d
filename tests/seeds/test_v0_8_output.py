"""The user guide of 0.8: TensorBoard, Logging, Uploading/Syncing, Debugging."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from fit_helpers import wait_until
from seed_installs import installed_with
from seed_training import Model, MyTrainableClass, reported
from servers import running_tensorboard

import tuner as tune

pytestmark = pytest.mark.usefixtures("results")

STOP = {"training_iteration": 3}


def test_tensorboard_1_install() -> None:
    """0.8 · TensorBoard · block 1: tensorboardX is there."""
    assert "tensorboardX" in installed_with()


def asked(url: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """What TensorBoard's server answers."""
    data = None if body is None else json.dumps(body).encode()
    request = Request(f"{url}/data/{path}", data, {"Content-Type": "application/json"})
    with urlopen(request, timeout=30) as answer:
        return json.load(answer)


def points_of(url: str, query: str) -> list[Any]:
    """The curve of a run, which is listed before it is loaded."""
    try:
        return list(asked(url, f"plugin/scalars/scalars?{query}"))
    except HTTPError:
        return []


@pytest.mark.slow
def test_tensorboard_2_server(results: Path, tmp_path: Path) -> None:
    """0.8 · TensorBoard · block 2: its own server shows a run per trial, with its curves."""
    pytest.importorskip("tensorboard")
    analysis = tune.run(MyTrainableClass, name="my_experiment", num_samples=2, stop=STOP)
    with running_tensorboard(results / "my_experiment", tmp_path) as url:
        names = sorted(Path(trial.path).name for trial in analysis.trials)
        wait_until(lambda: sorted(asked(url, "runs")) == names)
        for trial in analysis.trials:
            query = f"run={Path(trial.path).name}&tag=ray/tune/mean_loss"
            wait_until(lambda: len(points_of(url, query)) == 3)  # noqa: B023
            points = points_of(url, query)
            expected = [result["mean_loss"] for result in reported(trial.path)]
            assert [step for _, step, _ in points] == [1, 2, 3]
            assert [value for *_, value in points] == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
def test_tensorboard_3_all_experiments(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0.8 · TensorBoard · block 3: the folder of all experiments, with a TMPDIR of one's own."""
    pytest.importorskip("tensorboard")
    for name in ("one", "two"):
        tune.run(MyTrainableClass, name=name, stop=STOP)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    with running_tensorboard(results, tmp_path) as url:
        wait_until(lambda: len(asked(url, "runs")) == 2)
        assert sorted(run.partition("/")[0] for run in asked(url, "runs")) == ["one", "two"]


SESSIONS = {
    "startIndex": 0,
    "sliceSize": 100,
    "allowedStatuses": [f"STATUS_{name}" for name in ("UNKNOWN", "SUCCESS", "RUNNING")],
}


@pytest.mark.slow
def test_tensorboard_4_hparams(results: Path, tmp_path: Path) -> None:
    """0.8 · TensorBoard · block 4: the HParams page has the grid's values, a row per trial."""
    pytest.importorskip("tensorboard")
    analysis = tune.run(
        MyTrainableClass,
        name="hparams",
        stop=STOP,
        config={
            "lr": tune.grid_search([1e-5, 1e-4]),
            "momentum": tune.grid_search([0, 0.9]),
        },
    )

    def rows() -> list[dict[str, Any]]:
        groups: list[dict[str, Any]]
        groups = asked(url, "plugin/hparams/session_groups", SESSIONS)["sessionGroups"]
        return groups

    with running_tensorboard(results, tmp_path) as url:
        wait_until(lambda: len(rows()) == 4)
        shown = {row["name"]: row["hparams"] for row in rows()}
    assert shown == {
        f"hparams/{Path(trial.path).name}": pytest.approx(trial.config) for trial in analysis.trials
    }


def test_logging_1_loggers(tmp_path: Path) -> None:
    """0.8 · Logging · block 1: two more loggers beside the default ones."""
    from tuner.legacy.logger import DEFAULT_LOGGERS, Logger

    class CustomLogger1(Logger):
        def _init(self) -> None:
            self.file = open(os.path.join(self.logdir, "losses.txt"), "w")  # noqa: SIM115

        def on_result(self, result: dict[str, Any]) -> None:
            self.file.write(f"{result['mean_loss']}\n")

        def flush(self) -> None:
            self.file.flush()

        def close(self) -> None:
            self.file.close()

    class CustomLogger2(Logger):
        def on_result(self, result: dict[str, Any]) -> None:
            with open(tmp_path / "all.txt", "a") as file:
                file.write(f"{self.config['lr']} {result['training_iteration']}\n")

    analysis = tune.run(
        MyTrainableClass,
        name="experiment_name",
        loggers=DEFAULT_LOGGERS + (CustomLogger1, CustomLogger2),  # noqa: RUF005
        config={"lr": tune.grid_search([0.1, 0.2])},
        stop=STOP,
    )
    for trial in analysis.trials:
        results = reported(trial.path)
        text = Path(trial.path, "losses.txt").read_text()
        assert [float(line) for line in text.split()] == [each["mean_loss"] for each in results]
        assert len(Path(trial.path, "progress.csv").read_text().splitlines()) == 4
        assert list(Path(trial.path).glob("events.out.tfevents.*"))
    lines = (tmp_path / "all.txt").read_text().splitlines()
    assert sorted(lines) == [f"{lr} {i}" for lr in (0.1, 0.2) for i in (1, 2, 3)]


def custom_sync_func(source: str, target: str) -> None:
    sync_cmd = "mkdir -p {target} && cp -r {source}/. {target}".format(  # noqa: UP032
        source=source, target=target
    )
    sync_process = subprocess.Popen(sync_cmd, shell=True)
    sync_process.wait()


def test_uploading_syncing_1_to_driver(tmp_path: Path) -> None:
    """0.8 · Uploading/Syncing · block 1: trials of this machine are here without being copied."""
    calls: list[tuple[str, str]] = []
    analysis = tune.run(
        MyTrainableClass,
        name="experiment_name",
        sync_to_driver=lambda source, target: calls.append((source, target)),
        stop=STOP,
    )
    (trial,) = analysis.trials
    assert len(reported(trial.path)) == 3
    assert calls == []


@pytest.mark.parametrize(
    "how", [custom_sync_func, "mkdir -p {target} && cp -r {source}/. {target}"]
)
def test_uploading_syncing_2_to_cloud(tmp_path: Path, how: Any) -> None:
    """0.8 · Uploading/Syncing · block 2: a function or a command copies all to `upload_dir`."""
    analysis = tune.run(
        MyTrainableClass,
        name="experiment_name",
        sync_to_cloud=how,
        upload_dir=str(tmp_path / "cloud"),
        stop=STOP,
    )
    (trial,) = analysis.trials
    copy = tmp_path / "cloud" / "experiment_name"
    assert reported(copy / Path(trial.path).name) == reported(trial.path)
    assert tune.ExperimentAnalysis(copy).results == analysis.results


def test_uploading_syncing_without_upload_dir(caplog: pytest.LogCaptureFixture) -> None:
    """0.8 · Uploading/Syncing · block 2 as it stands: nothing is uploaded, and it says so."""
    analysis = tune.run(
        MyTrainableClass, name="experiment_name", sync_to_cloud=custom_sync_func, stop=STOP
    )
    assert len(analysis.results) == 1
    assert "nothing is uploaded" in caplog.text


def test_debugging_1_in_one_process(results: Path) -> None:
    """0.8 · Debugging · block 1: what was `local_mode`: trials in the process of the script."""
    seen: list[float] = []

    def train(config: dict[str, Any]) -> None:
        model = Model(config["lr"])
        for _ in range(3):
            result = model.step()
            seen.append(result["mean_loss"])  # a breakpoint would stop here
            tune.track.log(pid=os.getpid(), **result)

    analysis = tune.run(train, config={"lr": tune.grid_search([0.1, 0.2])}, executor="inline")
    assert [result["pid"] for result in analysis.results.values()] == [os.getpid()] * 2
    assert seen == [each["mean_loss"] for trial in analysis.trials for each in reported(trial.path)]


def test_debugging_1_local_mode_of_ray() -> None:
    """0.8 · Debugging · block 1 as it stands: today's Ray refuses."""
    ray = pytest.importorskip("ray")
    with pytest.raises((RuntimeError, TypeError), match="local_mode"):
        ray.init("local", local_mode=True)
    assert not ray.is_initialized()
