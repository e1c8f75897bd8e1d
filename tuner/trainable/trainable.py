"""`Trainable`: the class API, for training that can be saved, restored and reconfigured."""

from __future__ import annotations

import os
import pickle
import tempfile
from typing import Any, ClassVar, TypeGuard

from tuner.checkpoint import Checkpoint
from tuner.errors import TrainableError
from tuner.placement import PlacementGroupFactory
from tuner.trainable.autofill import Autofill
from tuner.trainable.context import TuneContext
from tuner.trainable.saved_progress import read_progress, write_progress
from tuner.trial_progress import Progress

DICT_FILE = "trainable_state.pkl"


class Trainable:
    """Base of class trainables: subclasses implement `setup` and `step`, and to be checkpointed
    `save_checkpoint` and `load_checkpoint`.

    The trial calls, in this order: `setup`, `load_checkpoint` when it resumes, then `step` again
    and again, `save_checkpoint` when a checkpoint is due, `cleanup` at the end.

    Args:
        config: The configuration.
        logger_creator: Accepted for compatibility, without effect.
        storage: Accepted for compatibility, without effect.

    Attributes:
        config: The configuration.
        uses_ray: Whether trials call Ray themselves.

    Example:
        >>> class Counter(Trainable):
        ...     def setup(self, config):
        ...         self.value = config["start"]
        ...     def step(self):
        ...         self.value += 1
        ...         return {"value": self.value}
        >>> Counter({"start": 10}).train()["value"]
        11
    """

    uses_ray: ClassVar[bool] = False

    _resources_vary: ClassVar[bool | None] = None  # what `with_resources` has said of it

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.step is Trainable.step and hasattr(cls, "_train"):  # as older APIs called it
            from tuner.legacy.trainable_hooks import translate

            translate(cls)

    def __init__(
        self,
        config: dict[str, Any] | None = None,
        logger_creator: Any = None,
        storage: Any = None,
    ) -> None:
        self.config: dict[str, Any] = config if config is not None else {}
        self._context = _current_context()
        self._autofill = _standalone_autofill(self._context)
        self._belongs_to_attempt = False
        self.setup(dict(self.config))

    # To be overridden

    def setup(self, config: dict[str, Any]) -> None:
        """Called once, before training."""

    def step(self) -> dict[str, Any]:
        """Trains for one iteration and returns its metrics; `{"done": True}` ends the trial."""
        raise TrainableError(
            f"{type(self).__name__}.step() is missing: it trains one iteration and returns its "
            "metrics as a dictionary"
        )

    def save_checkpoint(self, checkpoint_dir: str) -> Any:
        """Writes the state into a directory, or returns it as a dictionary."""
        raise TrainableError(
            f"{type(self).__name__}.save_checkpoint() is missing: it is needed for checkpoints, "
            "without which a trial that pauses starts again"
        )

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Takes up a state: the dictionary that `save_checkpoint` returned, else the directory."""
        raise TrainableError(
            f"{type(self).__name__}.load_checkpoint() is missing: it is needed to resume from a "
            "checkpoint"
        )

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Turns this object into a new trial with `new_config`; False if it cannot."""
        return False

    def cleanup(self) -> None:
        """Called once, at the end of the trial."""

    def log_result(self, result: dict[str, Any]) -> None:
        """Called with every result, in the trial's process."""

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> PlacementGroupFactory | None:
        """Resources that a trial with this configuration needs; None for one CPU."""
        return None

    @classmethod
    def as_param_space(cls, param_space: Any) -> Any:
        """The search space as a dictionary, where it may be given in another form."""
        return param_space

    # To be called

    @property
    def iteration(self) -> int:
        """Number of iterations trained so far."""
        return self._autofill.iteration

    @property
    def training_iteration(self) -> int:
        """Number of iterations trained so far."""
        return self._autofill.iteration

    @property
    def trial_id(self) -> str:
        """Id of the trial, `"default"` outside of one."""
        return self._context.trial_id or "default"

    @property
    def trial_name(self) -> str:
        """Name of the trial, `"default"` outside of one."""
        return self._context.trial_name or "default"

    @property
    def trial_resources(self) -> PlacementGroupFactory | None:
        """Resources given to the trial."""
        return self._context.trial_resources

    @property
    def logdir(self) -> str:
        """Folder of the trial, the working directory outside of one."""
        return self._context.trial_dir or os.getcwd()

    def get_config(self) -> dict[str, Any]:
        """The configuration."""
        return self.config

    def train(self) -> dict[str, Any]:
        """One `step`, completed with the autofilled fields."""
        metrics = self.step()
        if not isinstance(metrics, dict):
            raise TrainableError(
                f"{type(self).__name__}.step() returned {metrics!r:.100}: it must return a "
                "dictionary of metrics"
            )
        result = self._autofill.fill(metrics, None)
        self.log_result(result)
        return result

    def save(self, checkpoint_dir: str | None = None) -> Checkpoint:
        """Saves the state into a directory, by default a temporary one, as a checkpoint.

        Outside of a trial the number of iterations is saved, too.
        """
        directory = checkpoint_dir or tempfile.mkdtemp(prefix="checkpoint_")
        os.makedirs(directory, exist_ok=True)
        state = self.save_checkpoint(directory)
        if isinstance(state, dict):
            import cloudpickle

            with open(os.path.join(directory, DICT_FILE), "wb") as file:
                cloudpickle.dump(state, file)
        elif isinstance(state, Checkpoint) or not isinstance(state, str | os.PathLike | None):
            raise TrainableError(
                f"{type(self).__name__}.save_checkpoint() returned {state!r:.100}: it must return "
                "a dictionary, or None after writing files"
            )
        if not self._belongs_to_attempt:
            write_progress(directory, self._autofill.progress)
        return Checkpoint(directory)

    def restore(self, checkpoint: Checkpoint | str) -> None:
        """Takes up the state that `save` wrote; outside of a trial, counts on from there."""
        if not isinstance(checkpoint, Checkpoint):
            checkpoint = Checkpoint(checkpoint)
        with checkpoint.as_directory() as directory:
            path = os.path.join(directory, DICT_FILE)
            if os.path.exists(path):
                with open(path, "rb") as file:
                    self.load_checkpoint(pickle.load(file))
            else:
                self.load_checkpoint(directory)
            progress = None if self._belongs_to_attempt else read_progress(directory)
        if progress is not None:
            self._autofill.begin_after(progress)

    def reset(self, new_config: dict[str, Any]) -> bool:
        """Makes this object train a new configuration; False if it cannot."""
        if not self.reset_config(new_config):
            return False
        self.config = new_config
        return True

    def stop(self) -> None:
        """Ends training."""
        self.cleanup()

    def use(self, context: TuneContext, autofill: Autofill) -> None:
        """Makes this object belong to another attempt; called by the worker."""
        self._context = context
        self._autofill = autofill
        self._belongs_to_attempt = True


def is_trainable_class(trainable: object) -> TypeGuard[type[Trainable]]:
    """Whether it is a subclass of `Trainable`, not a function."""
    return isinstance(trainable, type) and issubclass(trainable, Trainable)


def can_be_saved(trainable: object) -> bool:
    """Whether it is a class whose objects can be saved at any time."""
    if not is_trainable_class(trainable):
        return False
    return trainable.save_checkpoint is not Trainable.save_checkpoint


def _current_context() -> TuneContext:
    from tuner.trainable.session import get_context

    return get_context()


def _standalone_autofill(context: TuneContext) -> Autofill:
    return Autofill(
        trial_id=context.trial_id or "default",
        progress=Progress(),
        hostname="localhost",
        node_ip="127.0.0.1",
        pid=os.getpid(),
    )
