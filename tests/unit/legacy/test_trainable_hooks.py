"""Class trainables with the hooks of the older APIs, used by themselves."""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest

import tuner as tune
from tuner.errors import TrainableError
from tuner.legacy.resources import Resources
from tuner.trainable.wrappers import resources_for, resources_vary

pytestmark = pytest.mark.filterwarnings("ignore:.*older API:FutureWarning")


class Counter(tune.Trainable):
    """Saves what it counts to a file, whose prefix it returns, as TensorFlow's savers do."""

    def _setup(self, config: dict[str, Any]) -> None:
        self.n = config.get("start", 0)
        self.seen: list[int] = []

    def _train(self) -> dict[str, Any]:
        self.n += 1
        return {"n": self.n, "mean_loss": 1 / self.n}

    def _save(self, checkpoint_dir: str) -> Any:
        Path(checkpoint_dir, "save.data").write_text(str(self.n))
        return checkpoint_dir + "/save"

    def _restore(self, path: Any) -> None:
        self.n = int(Path(path + ".data").read_text())

    def _stop(self) -> None:
        self.seen.append(-1)

    def _log_result(self, result: dict[str, Any]) -> None:
        self.seen.append(result["n"])


class Dictionary(Counter):
    def _save(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"n": self.n}

    def _restore(self, state: dict[str, Any]) -> None:
        self.n = state["n"]


class Nothing(Counter):
    """Writes files and returns None."""

    def _save(self, checkpoint_dir: str) -> None:
        super()._save(checkpoint_dir)

    def _restore(self, path: str) -> None:
        super()._restore(os.path.join(path, "save"))


class Prepared(tune.Trainable):
    """What a family of trainables has in common; it cannot be trained by itself."""

    def _setup(self, config: dict[str, Any]) -> None:
        self.n = config["start"]

    def _save(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"n": self.n}

    def _restore(self, state: dict[str, Any]) -> None:
        self.n = state["n"]


class Finished(Prepared):
    def _train(self) -> dict[str, Any]:
        self.n += 1
        return {"n": self.n}


class Mixin:
    def _train(self) -> dict[str, Any]:
        self.n: int = getattr(self, "n", 0) + 1
        return {"n": self.n}


class Mixed(Mixin, Prepared):
    pass


@pytest.mark.parametrize("kind", [Counter, Dictionary, Nothing, Finished, Mixed])
def test_a_class_can_be_used_alone(kind: type[tune.Trainable], tmp_path: Path) -> None:
    one = kind(config={"start": 5})
    assert [one.train()["n"] for _ in range(3)] == [6, 7, 8]
    saved = one.save(str(tmp_path / "saved"))
    shutil.move(tmp_path / "saved", tmp_path / "moved")
    other = kind({"start": 0})
    other.restore(str(tmp_path / "moved"))
    assert other.train()["n"] == 9
    other.restore(str(tmp_path / "moved" / "checkpoint-3"))
    assert other.train()["n"] == 9
    other.restore(tune.Checkpoint(tmp_path / "moved"))
    assert other.train()["n"] == 9
    assert saved.path == str(tmp_path / "saved")


def test_every_hook_is_called() -> None:
    one = Counter({"start": 1})
    result = one.train()
    one.stop()
    assert one.seen == [2, -1]
    assert result["neg_mean_loss"] == -0.5
    assert result["training_iteration"] == one.iteration == one._iteration == 1


def test_hooks_of_the_base_can_be_called() -> None:
    class Polite(tune.Trainable):
        def _setup(self, config: dict[str, Any]) -> None:
            super()._setup(config)

        def _train(self) -> dict[str, Any]:
            return {}

        def _log_result(self, result: dict[str, Any]) -> None:
            super()._log_result(result)

        def _stop(self) -> None:
            super()._stop()

    polite = Polite({})
    polite.train()
    polite.stop()


def test_a_setup_without_arguments_and_an_iteration_of_its_own() -> None:
    class Own(tune.Trainable):
        def _setup(self) -> None:
            self.iteration = self.config["start"]

        def _train(self) -> dict[str, Any]:
            self.iteration += 1
            return {"n": self.iteration}

    own = Own({"start": 10})
    assert [own.train()["n"] for _ in range(2)] == [11, 12]
    assert (own.iteration, own.training_iteration) == (12, 2)


def test_a_modern_class_keeps_its_private_names() -> None:
    class Modern(tune.Trainable):
        def _setup(self) -> int:
            return 7

        def _save(self) -> int:
            return 8

        def step(self) -> dict[str, Any]:
            return {"a": self._setup(), "b": self._save()}

    class Later(Modern):
        def _train(self) -> None:
            raise AssertionError

    for kind in (Modern, Later):
        assert kind.__mro__[-2] is tune.Trainable
        assert kind.setup is tune.Trainable.setup
        assert kind.save_checkpoint is tune.Trainable.save_checkpoint
        result = kind({}).train()
        assert (result["a"], result["b"]) == (7, 8)


def test_a_hook_under_its_name_of_today_is_kept() -> None:
    class Half(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self.n = 40

        def _train(self) -> dict[str, Any]:
            self.n += 1
            return {"n": self.n}

    class More(Half):
        def step(self) -> dict[str, Any]:
            return {"n": -1}

    assert Half({}).train()["n"] == 41
    assert More({}).train()["n"] == -1


def test_a_class_without_save_cannot_be_saved(tmp_path: Path) -> None:
    class Bare(tune.Trainable):
        def _train(self) -> dict[str, Any]:
            return {}

    class Saved(Bare):
        def _save(self, checkpoint_dir: str) -> dict[str, Any]:
            return {}

    assert Bare.save_checkpoint is tune.Trainable.save_checkpoint
    with pytest.raises(TrainableError, match=r"Bare\.save_checkpoint\(\) is missing"):
        Bare({}).save(str(tmp_path))
    saved = Saved({}).save(str(tmp_path))
    with pytest.raises(TrainableError, match=r"Saved\.load_checkpoint\(\) is missing"):
        Saved({}).restore(saved)


def test_a_path_elsewhere_is_refused(tmp_path: Path) -> None:
    class Elsewhere(Counter):
        def _save(self, checkpoint_dir: str) -> str:
            return os.path.join(os.path.dirname(checkpoint_dir), "other")

    with pytest.raises(TrainableError, match=r"Elsewhere\._save\(.*which is not in that folder"):
        Elsewhere({}).save(str(tmp_path / "saved"))


def test_what_train_returns_is_checked() -> None:
    class Silent(tune.Trainable):
        def _train(self) -> Any:
            return None

    with pytest.raises(TrainableError, match=r"Silent\._train\(\) returned None: it must return"):
        Silent({}).train()


def test_with_parameters() -> None:
    class Data(tune.Trainable):
        def _setup(self, config: dict[str, Any], data: Any = None) -> None:
            self.data = data

        def _train(self) -> dict[str, Any]:
            return {"total": sum(self.data)}

    assert tune.with_parameters(Data, data=[1, 2])({}).train()["total"] == 3


def test_resources_of_old() -> None:
    class Asks(Counter):
        @classmethod
        def default_resource_request(cls, config: dict[str, Any]) -> Resources:
            return Resources(cpu=config["cpu"], gpu=0, extra_cpu=2)

    class Plural(Counter):
        @classmethod
        def default_resource_requests(cls, config: dict[str, Any]) -> Resources:
            return Resources(cpu=config["cpu"], gpu=0, extra_cpu=2)

    for kind in (Asks, Plural):
        asked = resources_for(kind, {"cpu": 3})
        assert asked.bundles == [{"CPU": 3.0}, {"CPU": 2.0}]
        assert resources_vary(kind)
    assert not resources_vary(Counter)


def test_each_of_them_warns_once_where_it_is_defined(nothing_was_said: None) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", FutureWarning)
        for _ in range(2):

            class Old(tune.Trainable):
                def _train(self) -> dict[str, Any]:
                    return {}

                def _stop(self) -> None:
                    pass

    assert [Path(each.filename).name for each in caught] == [Path(__file__).name]
    assert str(caught[0].message).endswith(
        "Old with _train, _stop is of an older API; today's form is one with step, cleanup"
    )
