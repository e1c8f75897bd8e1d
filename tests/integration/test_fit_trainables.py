"""Every way to write a trainable, through `fit()`, as a user would."""

from __future__ import annotations

import functools
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fit_helpers import fit, run_script

import tuner as tune
from tuner.errors import ConfigError
from tuner.schedulers import FIFOScheduler


def module_function(config: dict[str, Any]) -> dict[str, Any]:
    return {"x": config["x"] * 2}


SPACE = {"x": tune.grid_search([1, 2, 3])}


@pytest.mark.parametrize(
    "trainable",
    [
        module_function,
        lambda config: {"x": config["x"] * 2},
        functools.partial(lambda config, factor: {"x": config["x"] * factor}, factor=2),
        tune.with_parameters(lambda config, data: {"x": config["x"] * data[0]}, data=[2]),
    ],
    ids=["module", "lambda", "partial", "with_parameters"],
)
def test_functions(trainable: Any, tmp_path: Path) -> None:
    grid = fit(trainable, tmp_path, space=SPACE)
    assert [result.metrics["x"] for result in grid] == [2, 4, 6]
    assert grid.num_terminated == 3


def test_a_closure_over_a_local_class(tmp_path: Path) -> None:
    class Model:
        def __init__(self, x: int) -> None:
            self.x = x

    grid = fit(lambda config: {"x": Model(config["x"]).x}, tmp_path, space=SPACE)
    assert [result.metrics["x"] for result in grid] == [1, 2, 3]


def test_a_registered_name(tmp_path: Path) -> None:
    tune.register_trainable("doubled", module_function)
    grid = fit("doubled", tmp_path, space=SPACE)
    assert [result.metrics["x"] for result in grid] == [2, 4, 6]
    assert all("doubled_" in result.path for result in grid)


def test_a_script_without_a_main_guard(tmp_path: Path) -> None:
    script = """
import tuner as tune
print("top of the script")
SCALE = 3
class Counter(tune.Trainable):
    def setup(self, config):
        self.n = config["start"]
    def step(self):
        self.n += SCALE
        return {"n": self.n, "done": self.n > 10}
def train(config):
    tune.report({"n": config["start"] * SCALE})
for trainable in (train, Counter):
    grid = tune.Tuner(
        trainable, param_space={"start": tune.grid_search([1, 2])},
        run_config=tune.RunConfig(verbose=0),
    ).fit()
    print([result.metrics["n"] for result in grid])
"""
    assert run_script(script, tmp_path) == "top of the script\n[3, 6]\n[13, 11]\n"


def test_a_trial_can_pickle_what_the_script_defines(tmp_path: Path) -> None:
    script = """
import functools, multiprocessing, pickle
import tuner as tune

class State:
    def __init__(self, value):
        self.value = value

def square(x):
    return x * x

def used(start):
    restored = pickle.loads(pickle.dumps(State(start)))
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return {"n": pool.map(square, [restored.value])[0], "same": type(restored) is State}

def train(config, extra=None):
    return used(config["start"].value)

class Base(tune.Trainable):
    def setup(self, config):
        self.start = config["start"].value
    def step(self):
        return {**used(self.start), "done": True}

class Derived(Base):
    pass

wrapped = [tune.with_parameters(train, extra=1), functools.partial(train, extra=2)]
for method in ("fork", "spawn"):
    for trainable in (train, *wrapped, Derived, tune.with_resources(Derived, {"CPU": 1})):
        (result,) = tune.Tuner(
            trainable, param_space={"start": State(3)},
            run_config=tune.RunConfig(
                verbose=0, executor=tune.LocalExecutor(start_method=method)
            ),
        ).fit()
        print(result.error or (result.metrics["n"], result.metrics["same"]))
"""
    assert run_script(script, tmp_path) == "(9, True)\n" * 10


@pytest.mark.slow
def test_notebook_cells(tmp_path: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    cells = [
        "import tuner as tune\nFACTOR = 5",
        "def train(config):\n    tune.report({'x': config['x'] * FACTOR})",
        "grid = tune.Tuner(train, param_space={'x': tune.grid_search([1, 2])},"
        f" run_config=tune.RunConfig(storage_path={str(tmp_path)!r})).fit()\n"
        "print([result.metrics['x'] for result in grid])",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    NotebookClient(notebook, timeout=240).execute()
    printed = "".join(o.get("text", "") for o in notebook.cells[-1].outputs)
    assert printed.strip().endswith("[5, 10]")


def test_off_the_main_thread_and_beside_others(tmp_path: Path) -> None:
    stop = threading.Event()
    other = threading.Thread(target=stop.wait)
    other.start()
    grids: list[tune.ResultGrid] = []
    thread = threading.Thread(
        target=lambda: grids.append(fit(module_function, tmp_path, space=SPACE))
    )
    thread.start()
    thread.join()
    stop.set()
    other.join()
    assert [result.metrics["x"] for result in grids[0]] == [2, 4, 6]


def test_parallel_torch_and_blas_before_and_inside(tmp_path: Path) -> None:
    script = """
import numpy as np, torch
import tuner as tune
torch.set_num_threads(2)
(torch.randn(600, 600) @ torch.randn(600, 600)).sum()   # starts a thread pool in the driver
np.linalg.svd(np.random.rand(300, 300))
def train(config):
    product = torch.randn(600, 600) @ torch.randn(600, 600)
    values = np.linalg.svd(np.random.rand(300, 300))[1]
    return {"finite": bool(torch.isfinite(product).all()), "threads": torch.get_num_threads(),
            "first": float(values[0])}
grid = tune.Tuner(
    tune.with_resources(train, {"cpu": 2}), tune_config=tune.TuneConfig(num_samples=2),
    run_config=tune.RunConfig(verbose=0, executor=tune.LocalExecutor(num_cpus=2)),
).fit()
print([(r.metrics["finite"], r.metrics["threads"]) for r in grid], grid.num_errors)
"""
    assert run_script(script, tmp_path) == "[(True, 2), (True, 2)] 0\n"


@pytest.mark.parametrize("where", ["module", "function"])
@pytest.mark.parametrize("executor", ["local", "inline"])
def test_random_streams_differ_by_trial_and_repeat_by_seed(
    where: str, executor: str, tmp_path: Path
) -> None:
    def draw(config: dict[str, Any]) -> dict[str, float]:
        if where == "function":
            import numpy.random as stream
        else:
            stream = np.random
        return {"x": float(stream.rand())}

    def run(seed: int | None) -> list[float]:
        grid = fit(draw, tmp_path, num_samples=4, seed=seed, run={"executor": executor})
        return [result.metrics["x"] for result in grid]

    first, again, other, fresh = run(1), run(1), run(2), run(None)
    assert first == again
    assert len({*first, *other, *fresh}) == 12


def test_numpy_and_torch_imported_inside_of_a_trial_are_seeded(tmp_path: Path) -> None:
    script = """
import tuner as tune
def train(config):
    import sys
    fresh = "numpy" not in sys.modules
    import numpy, torch
    return {"fresh": fresh, "numpy": float(numpy.random.rand()), "torch": float(torch.rand(1))}
def run():
    return [
        (r.metrics["numpy"], r.metrics["torch"], r.metrics["fresh"])
        for r in tune.Tuner(train, tune_config=tune.TuneConfig(num_samples=2, seed=4),
                            run_config=tune.RunConfig(verbose=0)).fit()
    ]
one, other = run(), run()
print(one == other, len({value for trial in one for value in trial[:2]}), one[0][2])
"""
    assert run_script(script, tmp_path) == "True 4 True\n"


def test_any_picklable_value_in_a_configuration(tmp_path: Path) -> None:
    array = np.arange(3)
    space = {
        "kind": tune.choice([dict]),
        "function": tune.choice([lambda value: value + 1]),
        "array": tune.choice([array]),
        "pair": (1, "a"),
    }

    def use(config: dict[str, Any]) -> dict[str, Any]:
        return {
            "made": config["function"](len(config["kind"](a=1))),
            "sum": int(config["array"].sum()),
            "pair": config["pair"] == (1, "a"),
        }

    (result,) = fit(use, tmp_path, space=space)
    assert (result.metrics["made"], result.metrics["sum"], result.metrics["pair"]) == (2, 3, True)
    assert result.config["kind"] is dict
    text = Path(result.path, "params.json").read_text()
    assert "dict" in text
    assert "[0, 1, 2]" in text.replace("\n", "") or "array([0, 1, 2])" in text


@pytest.mark.parametrize("reuse", [False, True])
@pytest.mark.parametrize("executor", ["local", "inline"])
def test_reuse_of_workers_changes_no_result(reuse: bool, executor: str, tmp_path: Path) -> None:
    class Training(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self.total = 0

        def step(self) -> dict[str, Any]:
            self.total += self.config["x"]
            return {"total": self.total}

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.total = 0
            return True

    grid = fit(
        Training,
        tmp_path,
        space=SPACE,
        num_samples=2,
        reuse_actors=reuse,
        run={"executor": executor, "stop": {"training_iteration": 3}},
    )
    assert [r.metrics["total"] for r in grid] == [3, 6, 9] * 2
    assert [r.metrics["training_iteration"] for r in grid] == [3] * 6


@pytest.mark.parametrize("reuse", [False, True])
def test_a_worker_of_a_function_is_kept_if_asked_to(reuse: bool, tmp_path: Path) -> None:
    grid = fit(
        lambda config: {"x": config["x"]},
        tmp_path,
        space=SPACE,
        num_samples=2,
        reuse_actors=reuse,
        run={"executor": tune.LocalExecutor(num_cpus=1)},
    )
    assert [r.metrics["x"] for r in grid] == [1, 2, 3] * 2
    assert len({r.metrics["pid"] for r in grid}) == (1 if reuse else 6)


def test_get_checkpoint_gives_what_was_reported_last(tmp_path: Path) -> None:
    def train(config: dict[str, Any]) -> None:
        assert tune.get_checkpoint() is None
        for step in range(2):
            with tempfile.TemporaryDirectory() as folder:
                Path(folder, "step").write_text(str(step))
                tune.report({"x": step}, checkpoint=tune.Checkpoint.from_directory(folder))
            latest = tune.get_checkpoint()
            assert latest is not None
            with latest.as_directory() as folder:
                assert Path(folder, "step").read_text() == str(step)

    assert fit(train, tmp_path).num_errors == 0


@pytest.mark.parametrize("saved", [True, False])
def test_a_class_that_can_be_saved_is_saved_at_its_end(tmp_path: Path, saved: bool) -> None:
    class Plain(tune.Trainable):
        def step(self) -> dict[str, Any]:
            return {"x": 1, "done": self.iteration == 2}

    class Saved(Plain):
        def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
            return {"iteration": self.iteration}

    (result,) = fit(Saved if saved else Plain, tmp_path)
    assert (result.error, result.checkpoint is not None) == (None, saved)


def test_parameters_of_a_class_can_be_given_one_after_the_other(tmp_path: Path) -> None:
    class Training(tune.Trainable):
        def setup(self, config: dict[str, Any], a: int, b: int) -> None:
            self.sum = a + b

        def step(self) -> dict[str, Any]:
            return {"sum": self.sum, "done": True}

    both = tune.with_parameters(tune.with_parameters(Training, a=1), b=2)
    (result,) = fit(both, tmp_path)
    assert result.metrics["sum"] == 3


def test_the_name_of_a_manual_checkpoint(tmp_path: Path) -> None:
    class Training(tune.Trainable):
        def step(self) -> dict[str, Any]:
            return {tune.result.SHOULD_CHECKPOINT: self.iteration == 1, "done": self.iteration == 3}

        def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
            return {"iteration": self.iteration}

    config = tune.CheckpointConfig(checkpoint_at_end=False)
    (result,) = fit(Training, tmp_path, run={"checkpoint_config": config})
    assert [row["training_iteration"] for _, row in result.best_checkpoints] == [2]


def test_a_script_without_standard_output(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import tuner as tune\n"
        "grid = tune.Tuner(lambda config: print('hello') or {'x': 1},\n"
        f"    run_config=tune.RunConfig(storage_path={str(tmp_path)!r}, verbose=0)).fit()\n"
        "raise SystemExit(grid.num_errors)\n"
    )
    command = f"{sys.executable} {script} >&- 2>&-"
    assert subprocess.run(command, shell=True, check=False).returncode == 0


def test_what_is_returned_and_cannot_be_recorded_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(lambda config: "text", tmp_path, run={"verbose": 1})
    assert "returned a str, which is not recorded" in capsys.readouterr().out


class Unsavable(tune.Trainable):
    def setup(self, config):
        self.steps = 0

    def step(self):
        self.steps += 1
        return {"steps": self.steps, "done": self.steps == 4}


class PausesOnce(FIFOScheduler):
    def __init__(self):
        self.paused = False

    def on_trial_result(self, experiment, trial, result):
        if self.paused:
            return self.CONTINUE
        self.paused = True
        return self.PAUSE


def test_a_class_that_cannot_be_saved_starts_again_after_a_pause(tmp_path):
    (result,) = fit(Unsavable, tmp_path, scheduler=PausesOnce())
    assert result.error is None
    assert list(result.metrics_dataframe["steps"]) == [1, 2, 3, 4]


@pytest.mark.parametrize("field", ["checkpoint_frequency", "checkpoint_at_end"])
def test_a_class_without_save_checkpoint_is_not_asked_for_checkpoints(field):
    config = tune.CheckpointConfig(**{field: True if field.endswith("end") else 1})
    with pytest.raises(ConfigError, match=rf"{field}=.* needs Unsavable\.save_checkpoint"):
        tune.Tuner(Unsavable, run_config=tune.RunConfig(checkpoint_config=config))
