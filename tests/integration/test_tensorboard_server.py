"""What TensorBoard's own server and pages show of experiments."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import numpy as np
import pytest
from browser import Browser
from fit_helpers import fit, start_script, wait_until
from matplotlib.image import imread
from servers import Bucket, running_tensorboard

import tuner as tune
from tuner.flatten import flatten
from tuner.schedulers import PopulationBasedTraining

ENDED = {"STATUS_SUCCESS", "STATUS_FAILURE"}
STATUSES = [f"STATUS_{name}" for name in ("UNKNOWN", "SUCCESS", "FAILURE", "RUNNING")]


class TensorBoard:
    """A running TensorBoard, asked as its own pages ask it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **query: str) -> Any:
        with urlopen(f"{self.url}/data/{path}?{urlencode(query)}", timeout=120) as answer:
            return json.load(answer)

    def scalars(self, run: str, metric: str) -> list[tuple[int, float]]:
        points = self.get("plugin/scalars/scalars", run=run, tag=f"ray/tune/{metric}")
        return [(step, value) for _, step, value in points]

    def texts(self, run: str, metric: str) -> dict[int, str]:
        texts = self.get("plugin/text/text", run=run, tag=f"ray/tune/{metric}/text_summary")
        return {text["step"]: re.sub(r"<[^>]+>|\s", "", text["text"]) for text in texts}

    def hparams(self, experiment: str) -> dict[str, dict[str, Any]]:
        """The rows of the HParams table by run."""
        body = {"startIndex": 0, "sliceSize": 1000, "allowedStatuses": STATUSES}
        request = Request(
            f"{self.url}/data/plugin/hparams/session_groups",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urlopen(request, timeout=120) as answer:
            groups = json.load(answer)["sessionGroups"]
        return {group["name"]: group for group in groups if group["name"].startswith(experiment)}

    def num_ended(self) -> int:
        sessions = [each for group in self.hparams("").values() for each in group["sessions"]]
        return sum(each["status"] in ENDED for each in sessions)

    def num_points(self) -> int:
        tags = self.get("plugin/scalars/tags")
        return sum(len(self.scalars(run, "i")) for run in tags if "ray/tune/i" in tags[run])


def train(config: dict[str, Any]) -> None:
    for i in range(1, 6):
        loss = config["optimizer"]["lr"] / i
        tune.report({"i": i, "loss": loss, "eval": {"accuracy": 1 - loss}})
        if i == 3 and config["fails"]:
            raise RuntimeError("as asked")


class Member(tune.Trainable):
    """One of a population; its score grows by its learning rate."""

    def setup(self, config: dict[str, Any]) -> None:
        self.score = 0.0

    def step(self) -> dict[str, Any]:
        self.score += self.config["lr"]
        return {"i": self.iteration + 1, "score": self.score}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"score": self.score}

    def load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.score = checkpoint["score"]


KILLED = """
import tempfile, time
from pathlib import Path
import tuner as tune

def train(config):
    checkpoint, start = tune.get_checkpoint(), 0
    if checkpoint:
        with checkpoint.as_directory() as folder:
            start = int(Path(folder, "i").read_text())
    for i in range(start + 1, 31):
        while i == 15 and not Path(config["may_end"]).exists():
            time.sleep(0.05)
        if i % 4:
            tune.report({"i": i, "loss": config["lr"] / i})
        else:
            with tempfile.TemporaryDirectory() as folder:
                Path(folder, "i").write_text(str(i))
                checkpoint = tune.Checkpoint.from_directory(folder)
                tune.report({"i": i, "loss": config["lr"] / i}, checkpoint=checkpoint)

if __name__ == "__main__":
    tune.Tuner(
        train,
        param_space={
            "lr": tune.grid_search([1.0, 2.0]),
            "may_end": str(Path("may_end").absolute()),
        },
        run_config=tune.RunConfig(name="killed", storage_path="results", verbose=0),
    ).fit()
"""


def fit_killed_and_restored(folder: Path) -> tune.ResultGrid:
    """An experiment whose processes are all killed between two checkpoints, and go on."""
    process = start_script(KILLED, folder, "killed")
    experiment = folder / "results" / "killed"

    def is_recorded() -> bool:
        tables = [path.read_text().splitlines() for path in experiment.glob("*/progress.csv")]
        return [len(rows) for rows in tables] == [15, 15]

    wait_until(is_recorded)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    (folder / "may_end").touch()
    return tune.Tuner.restore(experiment).fit()


@pytest.fixture(scope="module")
def experiments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tune.ResultGrid]:
    """Three finished experiments in one folder, by their names."""
    folder = tmp_path_factory.mktemp("experiments")
    random = fit(
        train,
        folder / "results",
        space={
            "optimizer": {"lr": tune.loguniform(1e-4, 1), "nesterov": tune.choice([True, False])},
            "activation": tune.choice(["relu", "tanh", None]),
            "layers": tune.choice([[8], [16, 16]]),
            "fails": tune.grid_search([False, True]),
            "constant": 3,
        },
        run={"name": "random"},
        metric="loss",
        mode="min",
        num_samples=4,
        seed=1,
    )
    mutations = {
        "lr": tune.uniform(0.1, 1),
        "net": {"width": [8, 16, 32], "activation": ["relu", "tanh"]},
    }
    population = fit(
        Member,
        folder / "results",
        run={"name": "population", "stop": {"training_iteration": 12}},
        metric="score",
        mode="max",
        num_samples=4,
        seed=1,
        scheduler=PopulationBasedTraining(
            "training_iteration",
            perturbation_interval=2,
            hyperparam_mutations=mutations,
            quantile_fraction=0.5,
            synch=True,
        ),
    )
    return {
        "random": random,
        "population": population,
        "killed": fit_killed_and_restored(folder),
    }


@pytest.fixture(scope="module", params=["true", "false"])
def board(
    request: pytest.FixtureRequest,
    experiments: dict[str, tune.ResultGrid],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[TensorBoard]:
    """TensorBoard on the experiments, with either of the two programs that load files for it."""
    logdir = Path(experiments["random"].experiment_path).parent
    expected = sum(len(result.history()) for grid in experiments.values() for result in grid)
    num_trials = sum(map(len, experiments.values()))
    folder = tmp_path_factory.mktemp("tensorboard")
    with running_tensorboard(logdir, folder, f"--load_fast={request.param}") as url:
        board = TensorBoard(url)
        wait_until(lambda: board.num_points() >= expected and board.num_ended() == num_trials)
        yield board


def run_of(result: tune.Result) -> str:
    """What TensorBoard calls a trial."""
    path = Path(result.path)
    return f"{path.parent.name}/{path.name}"


def test_scalars_are_the_results(
    board: TensorBoard, experiments: dict[str, tune.ResultGrid]
) -> None:
    for result in experiments["random"]:
        rows = result.history()
        assert len(rows) == (3 if result.config["fails"] else 5)
        for metric in ("loss", "eval/accuracy"):
            expected = [(row["training_iteration"], flatten(row)[metric]) for row in rows]
            assert board.scalars(run_of(result), metric) == [
                (step, pytest.approx(value, rel=1e-6)) for step, value in expected
            ]


def test_hparams_are_the_chosen_values_with_the_last_metrics(
    board: TensorBoard, experiments: dict[str, tune.ResultGrid]
) -> None:
    groups = board.hparams("random/")
    assert set(groups) == {run_of(result) for result in experiments["random"]}
    for result in experiments["random"]:
        group, config = groups[run_of(result)], result.config
        assert group["hparams"] == {
            "optimizer/lr": config["optimizer"]["lr"],
            "optimizer/nesterov": config["optimizer"]["nesterov"],
            "activation": str(config["activation"]),
            "layers": str(config["layers"]),
            "fails": config["fails"],
        }
        (session,) = group["sessions"]
        assert session["status"] == f"STATUS_{'FAILURE' if config['fails'] else 'SUCCESS'}"
        metrics = {each["name"]["tag"]: each for each in group["metricValues"]}
        loss = metrics["ray/tune/loss"]
        assert loss["value"] == pytest.approx(result.metrics["loss"], rel=1e-6)
        assert loss["trainingStep"] == result.metrics["training_iteration"]
        assert "ray/tune/eval/accuracy" in metrics
        assert not [tag for tag in metrics if "config" in tag], "nothing changed here"


def test_the_schedules_of_a_population_are_series(
    board: TensorBoard, experiments: dict[str, tune.ResultGrid]
) -> None:
    names = ("lr", "net/width", "net/activation")
    schedules = {run_of(result): schedule(result) for result in experiments["population"]}
    first_change = {
        name: min(step for each in schedules.values() for step in changes(each, name)[1:])
        for name in names
    }
    for run, configs in schedules.items():
        for name in names[:2]:
            series = board.scalars(run, f"config/{name}")
            steps = [step for step, _ in series]
            assert steps == [1, *range(steps[1], 13)]
            assert first_change[name] - steps[1] in (0, 1)
            assert series == [(i, pytest.approx(configs[i][name], rel=1e-6)) for i in steps]
        texts = {i: configs[i][names[2]] for i in changes(configs, names[2])}
        assert board.texts(run, f"config/{names[2]}") == texts
        began_with = board.hparams("population/")[run]["hparams"]
        assert began_with == {name: configs[1][name] for name in names}


def schedule(result: tune.Result) -> dict[int, dict[str, Any]]:
    """A trial's configurations, flat, by iteration."""
    lines = Path(result.path, "result.json").read_text().splitlines()
    return {row["training_iteration"]: flatten(row["config"]) for row in map(json.loads, lines)}


def changes(configs: dict[int, dict[str, Any]], name: str) -> list[int]:
    """The iterations from which on a parameter has another value, the first one with them."""
    return [i for i in configs if i == 1 or configs[i][name] != configs[i - 1][name]]


def test_nothing_is_lost_or_doubled_by_a_kill(
    board: TensorBoard, experiments: dict[str, tune.ResultGrid]
) -> None:
    groups = board.hparams("killed/")
    for result in experiments["killed"]:
        lr = result.config["lr"]
        assert board.scalars(run_of(result), "loss") == [
            (i, pytest.approx(lr / i, rel=1e-6)) for i in range(1, 31)
        ]
        group = groups[run_of(result)]
        assert group["hparams"] == {"lr": lr}
        assert [session["status"] for session in group["sessions"]] == ["STATUS_SUCCESS"]


@pytest.mark.parametrize("kind", ["s3", "azure"])
def test_an_experiment_on_remote_storage_is_shown_from_there(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    monkeypatch.setenv("TUNER_STAGING_DIR", str(tmp_path / "staging"))
    bucket: Bucket = request.getfixturevalue(f"{kind}_server")
    monkeypatch.setenv("S3_ENDPOINT", f"http://127.0.0.1:{bucket.port}")  # TensorBoard's own name
    tune.Tuner(
        train,
        param_space={"optimizer": {"lr": tune.grid_search([0.5])}, "fails": False},
        run_config=tune.RunConfig(storage_path=f"{bucket.url}/exp", name="remote", verbose=0),
    ).fit()
    with running_tensorboard(f"{bucket.url}/exp", tmp_path) as url:
        board = TensorBoard(url)
        wait_until(lambda: board.num_points() == 5)
        (run,) = board.get("runs")
        assert board.scalars(run, "loss")[-1] == (5, pytest.approx(0.1))
        assert board.hparams("remote/")[run]["hparams"] == {"optimizer/lr": 0.5}


def test_the_page_shows_trials_and_metrics(
    board: TensorBoard, experiments: dict[str, tune.ResultGrid], browser: Browser, tmp_path: Path
) -> None:
    metrics = ("loss", "eval/accuracy", "score", "config/lr", "config/net/width")
    texts = [run_of(experiments["random"][0]), *(f"ray/tune/{name}" for name in metrics)]

    def shows_all() -> bool:  # on a busy machine a page is read before it is complete
        page = browser.dom(f"{board.url}/#timeseries", size=(1400, 4000))
        return all(text in page for text in texts)

    def has_a_picture() -> bool:
        picture = tmp_path / "hparams.png"
        browser.screenshot(f"{board.url}/#hparams", picture)
        return len(np.unique(imread(picture).reshape(800 * 1280, -1), axis=0)) > 100

    wait_until(shows_all, 240)
    wait_until(has_a_picture, 240)
