"""What an experiment's folder says about the run: readable facts, and what a restore needs."""

from __future__ import annotations

import dataclasses
import logging
import pickle
from datetime import timedelta
from typing import Any

from tuner import pickling
from tuner.config import RunConfig, TuneConfig
from tuner.errors import ConfigError, TrainableError
from tuner.experiment.snapshots import random_state
from tuner.objective import Objective
from tuner.search_space.objects import outline

logger = logging.getLogger(__name__)

MAX_STORED_TRAINABLE_BYTES = 64 * 1024 * 1024
DISPENSABLE = frozenset({"callbacks", "progress_reporter", "executor", "server"})
"""Fields of the configs that a restore can do without."""


def describe(
    *,
    version: str,
    name: str,
    trainable: str,
    seed: int,
    id_prefix: str,
    tune_config: TuneConfig,
    run_config: RunConfig,
    objective: Objective,
) -> dict[str, Any]:
    """The readable facts of `experiment.json`."""
    return {
        "version": version,
        "name": name,
        "trainable": trainable,
        "seed": seed,
        "id_prefix": id_prefix,
        "objective": readable(objective),
        "tune_config": readable(tune_config),
        "run_config": readable(run_config),
    }


def pickled(
    trainable: Any, param_space: dict[str, Any], tune_config: TuneConfig, run_config: RunConfig
) -> bytes:
    """What a restore needs, each part pickled on its own so that one can fail or be replaced.

    A trainable of more than 64 MiB is left out: a restore has to be given it again.

    Raises:
        TrainableError: the trainable cannot be pickled.
        ConfigError: the `param_space` cannot be pickled.
    """
    parts = {
        "trainable": _pickled_trainable(trainable),
        "param_space": _pickled_space(param_space),
        "outline": outline(param_space),
        "tune_config": _pickled_config(tune_config),
        # Where it lies is known to whoever restores it; a filesystem may hold credentials.
        "run_config": _pickled_config(dataclasses.replace(run_config, storage_filesystem=None)),
        "random_state": random_state(),
    }
    return pickle.dumps(parts)


def _pickled_trainable(trainable: Any) -> bytes | None:
    try:
        content: bytes = pickling.dumps(trainable)
    except Exception as error:
        raise TrainableError(
            f"Tuner: the trainable cannot be pickled ({type(error).__name__}: {error}); create "
            "what cannot be pickled (locks, files, connections) inside it"
        ) from error
    return content if len(content) <= MAX_STORED_TRAINABLE_BYTES else None


def _pickled_space(param_space: dict[str, Any]) -> bytes:
    try:
        content: bytes = pickling.dumps(param_space)
    except Exception as error:
        culprit = next((key for key, value in param_space.items() if not _can_pickle(value)), None)
        value = "" if culprit is None else f"[{culprit!r}]={param_space[culprit]!r:.80}"
        raise ConfigError(
            f"Tuner: param_space{value} cannot be pickled ({error}); give what creates it instead"
        ) from error
    return content


def _pickled_config(config: Any) -> bytes | dict[str, bytes | None]:
    """The config, or each of its fields where one cannot be pickled, which is None then."""
    try:
        content: bytes = pickling.dumps(config)
    except Exception:
        return {
            field.name: _pickled_field(config, field.name) for field in dataclasses.fields(config)
        }
    return content


def _pickled_field(config: Any, name: str) -> bytes | None:
    try:
        content: bytes = pickling.dumps(getattr(config, name))
    except Exception as error:
        consequence = "goes on without it" if name in DISPENSABLE else "is not possible"
        logger.warning(
            "%s: %s cannot be pickled (%s), a restore of this experiment %s",
            type(config).__name__,
            name,
            error,
            consequence,
        )
        return None
    return content


def _can_pickle(value: object) -> bool:
    try:
        pickling.dumps(value)
    except Exception:
        return False
    return True


def readable(config: Any) -> Any:
    """A config in values of JSON, without what is secret; objects say what they are."""
    if dataclasses.is_dataclass(config):
        fields = dataclasses.fields(config)
        return {f.name: readable(getattr(config, f.name)) for f in fields if f.repr}  # no secrets
    if isinstance(config, (str, int, float, bool, type(None))):
        return config
    if isinstance(config, timedelta):
        return config.total_seconds()
    if isinstance(config, (list, tuple)):
        return [readable(item) for item in config]
    if isinstance(config, dict):
        return {str(key): readable(item) for key, item in config.items()}
    return repr(config)
