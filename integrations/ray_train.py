"""Trainers of `ray.train`, such as `Tuner(TorchTrainer(…))`: several workers train one trial.

A trial fits its own copy of the trainer. What the first worker gives to `ray.train.report` are the
trial's results and checkpoints; a trial that goes on gives its checkpoint to
`ray.train.get_checkpoint`.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import logging
import secrets
import threading
from collections.abc import Callable
from multiprocessing.connection import Client, Listener
from typing import Any

import ray.train
from ray.train.constants import DEFAULT_STORAGE_PATH
from ray.train.v2._internal.execution.context import get_train_context
from ray.train.v2.api.callback import UserCallback
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from tuner.checkpoint import Checkpoint
from tuner.errors import ConfigError, TrainableError
from tuner.execution.ray_cluster import note_group
from tuner.execution.scratch import scratch_folder
from tuner.placement import as_placement
from tuner.trainable.context import TuneContext
from tuner.trainable.session import get_checkpoint, get_context, report
from tuner.trainable.wrappers import WrappedFunction

_LOOP_CONFIG, _SCALING = "train_loop_config", "scaling_config"


def as_trainable(trainer: Any) -> WrappedFunction:
    """A trainable that fits a trainer.

    Its `param_space` may have `"train_loop_config"`, which goes over the trainer's own key by key,
    and `"scaling_config"` in place of the trainer's. A trial asks for the bundles of the latter.

    Args:
        trainer: A trainer for data-parallel training, as `TorchTrainer` is.

    Raises:
        TrainableError: It is something else of `ray.train`, or has no workers.
    """
    if not isinstance(trainer, DataParallelTrainer):
        raise TrainableError(
            f"Tuner: trainable={trainer!r:.100} of ray.train cannot be tuned; give a trainer such "
            "as TorchTrainer(…) of its version 2 (RAY_TRAIN_V2_ENABLED=1), or a function that "
            "calls what is to be called"
        )
    _scaling(trainer, {})

    def train(config: dict[str, Any]) -> None:
        _train(trainer, config)

    train.__name__ = type(trainer).__name__
    attributes = {"as_param_space": _checked, "reserves_itself": True, "uses_ray": True}
    train.__dict__.update(attributes)
    return WrappedFunction(train, {}, lambda config: as_placement(_scaling(trainer, config)))


def _checked(param_space: Any) -> Any:
    """A search space, of which a trainer knows all keys."""
    for name in param_space if isinstance(param_space, dict) else ():
        if name not in (_LOOP_CONFIG, _SCALING):
            raise ConfigError(
                f"Tuner: param_space has {name!r}, which a trainer of ray.train does not know; put "
                f"what its workers get into {{{_LOOP_CONFIG!r}: {{…}}}}, beside {_SCALING!r}"
            )
    return param_space


class _Forward(UserCallback):  # type: ignore[misc]
    """Passes on to the trial what workers report, and waits until it is durable.

    It is called in a process of the trainer, on the node of the trial.
    """

    def __init__(self, address: Any, key: bytes) -> None:
        self._address = address
        self._key = key

    def after_report(
        self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any
    ) -> None:
        """Raises an error if the trial is to end, by which the trainer ends its workers."""
        try:
            with Client(self._address, authkey=self._key) as line:
                line.send((metrics[0], checkpoint))
                goes_on = line.recv()
        except (OSError, EOFError):  # the trial is over
            goes_on = False
        if not goes_on:
            logging.disable(logging.CRITICAL)  # tracebacks of something that is no fault
            raise InterruptedError("the trial was told to end")


def _train(trainer: DataParallelTrainer, config: dict[str, Any]) -> None:
    """Fits the trainer in a thread, and reports from this one, which may be told to end."""
    key = secrets.token_bytes(32)
    errors: list[BaseException] = []
    address = f"\0tuner_{secrets.token_hex(16)}"  # no file: the path of a folder may be too long
    with scratch_folder("train") as folder:
        with Listener(address, "AF_UNIX", authkey=key) as listener:
            fitted = _fitted(trainer, config, folder, _Forward(listener.address, key))
            end = functools.partial(_tell_end, listener.address, key)
            fitting = threading.Thread(target=_fit, args=[fitted, errors, end], daemon=True)
            fitting.start()
            try:
                while _pass_on(listener):
                    pass
            finally:
                listener.close()
                fitting.join()  # no worker of the trainer is left then
    if errors:
        raise errors[0]


def _pass_on(listener: Listener) -> bool:
    """Reports one result; whether there may be more."""
    goes_on = False
    with listener.accept() as line:
        try:
            message = line.recv()
        except EOFError:  # the trainer's process was killed, of which its `fit` tells
            return True
        if message is None:
            return False
        metrics, checkpoint = message
        try:
            report(metrics, checkpoint=checkpoint)
            goes_on = True
        finally:
            with contextlib.suppress(OSError):
                line.send(goes_on)
    return True


def _fit(
    trainer: DataParallelTrainer, errors: list[BaseException], end: Callable[[], None]
) -> None:
    try:
        trainer.fit()
    except BaseException as error:
        errors.append(error)
    end()


def _tell_end(address: Any, key: bytes) -> None:
    with contextlib.suppress(OSError, EOFError):  # nobody listens once a trial is told to end
        with Client(address, authkey=key) as line:
            line.send(None)


def _fitted(
    trainer: DataParallelTrainer, config: dict[str, Any], folder: str, forward: _Forward
) -> DataParallelTrainer:
    """The trainer for this trial."""
    context = get_context()
    given = trainer.run_config
    changes: dict[str, Any] = {
        "name": f"{context.get_trial_id()}_{context.attempt}",
        "callbacks": [*(given.callbacks or []), forward],
    }
    if given.storage_path == DEFAULT_STORAGE_PATH:  # then what it keeps there is kept twice
        changes["storage_path"] = folder
        changes["checkpoint_config"] = ray.train.CheckpointConfig(num_to_keep=1)
    scaling = _scaling(trainer, config)
    fitted = copy.copy(trainer)
    DataParallelTrainer.__init__(
        fitted,
        _begun(trainer.train_loop_per_worker, _of_ray(get_checkpoint()), context),
        train_loop_config={**(trainer.train_loop_config or {}), **config.get(_LOOP_CONFIG, {})},
        backend_config=trainer.backend_config,
        scaling_config=ray.train.ScalingConfig(**scaling) if isinstance(scaling, dict) else scaling,
        run_config=dataclasses.replace(given, **changes),
        datasets=trainer.datasets,
        dataset_config=trainer.data_config,
        validation_config=trainer.validation_config,
    )
    return fitted


def _scaling(trainer: DataParallelTrainer, config: dict[str, Any]) -> Any:
    scaling = config.get(_SCALING, trainer.scaling_config)
    num_workers = (
        scaling.get("num_workers", 1) if isinstance(scaling, dict) else scaling.num_workers
    )
    if num_workers == 0:
        raise TrainableError(
            "Tuner: a trainer with num_workers=0 trains without ray.train; give its function to "
            "Tuner instead, with tuner.report in place of ray.train.report"
        )
    return scaling


def _begun(
    loop: Callable[..., Any], checkpoint: ray.train.Checkpoint | None, trial: TuneContext
) -> Any:
    """The workers' function, for which `ray.train.get_checkpoint` begins with a checkpoint.

    It notes what it runs on: Ray Train itself gives that back after a kill only where Ray's
    dashboard runs.
    """

    trial_id, attempt = str(trial.get_trial_id()), trial.attempt

    @functools.wraps(loop)
    def begun(*args: Any) -> Any:
        note_group(trial_id, attempt)
        context = get_train_context()  # no public function sets it
        context.checkpoint = context.checkpoint or checkpoint
        return loop(*args)

    return begun


def _of_ray(checkpoint: Checkpoint | None) -> ray.train.Checkpoint | None:
    if checkpoint is None:
        return None
    if checkpoint.is_local:
        return ray.train.Checkpoint.from_directory(checkpoint.path)

    from pyarrow.fs import FileSystem, FSSpecHandler, PyFileSystem

    filesystem: Any = checkpoint.filesystem
    if not isinstance(filesystem, FileSystem):
        filesystem = PyFileSystem(FSSpecHandler(filesystem))
    return ray.train.Checkpoint(checkpoint.path, filesystem)
