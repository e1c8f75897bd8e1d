"""Which result belongs to a checkpoint that `ray.tune` wrote, of any version."""

from __future__ import annotations

import io
import logging
import pickle
import posixpath
from typing import Any

from tuner.layout import CHECKPOINT

logger = logging.getLogger(__name__)

_DIGITS_OF_A_COUNT = 6


def row_beside(
    name: str, rows: list[dict[str, Any]], iterations: dict[str, int] | None = None
) -> dict[str, Any]:
    """The result beside which a checkpoint was saved, `{}` if nothing says which that is.

    Functions' results name their checkpoints since Ray 2.5. Otherwise checkpoints are known by
    the iteration: what the experiment's file says of it, or a number that is not padded. One of
    six digits is a count of checkpoints in today's Ray.

    Args:
        name: The name of the checkpoint's folder.
        rows: The results of its trial.
        iterations: By the names of checkpoints, as `recorded_iterations` has them.

    Example:
        >>> rows = [{"training_iteration": 1}, {"training_iteration": 2}]
        >>> row_beside("checkpoint_2", rows), row_beside("checkpoint_000002", rows)
        ({'training_iteration': 2}, {})
        >>> row_beside("checkpoint_000000", rows, {"checkpoint_000000": 2})
        {'training_iteration': 2}
    """
    by: tuple[str, str | int | None] = ("checkpoint_dir_name", name)
    if not any(row.get("checkpoint_dir_name") for row in rows):
        by = ("training_iteration", (iterations or {}).get(name, _iteration_in(name)))
    if by[1] is None:
        return {}
    return next((row for row in reversed(rows) if row.get(by[0]) == by[1]), {})


def _iteration_in(name: str) -> int | None:
    number = CHECKPOINT.fullmatch(name)
    if number is None or len(number[1]) >= _DIGITS_OF_A_COUNT:
        return None
    return int(number[1])


def recorded_iterations(record: dict[str, Any]) -> dict[str, int]:
    """The iterations after which a trial's checkpoints were saved, by their names.

    Args:
        record: What `experiment_state-*.json` says about the trial.
    """
    manager = record.get("checkpoint_manager")
    if not isinstance(manager, dict) or not isinstance(manager.get("value"), str):
        return {}
    try:
        state = _Inspector(io.BytesIO(bytes.fromhex(manager["value"]))).load().state
        saved = [*state["_checkpoint_results"], state["_latest_checkpoint_result"]]
        found = {}
        for each in saved:
            if each is not None:
                name = posixpath.basename(each.state["checkpoint"].state["path"].rstrip("/"))
                found[name] = each.state["metrics"]["training_iteration"]
    except Exception as error:
        logger.warning(
            "experiment_state-*.json says nothing readable of the checkpoints of trial %s (%r)",
            record.get("trial_id"),
            error,
        )
        return {}
    return {name: number for name, number in found.items() if isinstance(number, int)}


class _Inspector(pickle.Unpickler):
    """Reads a pickle without importing or calling anything that it names."""

    def find_class(self, module: str, name: str) -> type[_Inert]:
        return _Inert


class _Inert:
    """Stands for every object in a pickle, and has what was to be set as its state."""

    def __new__(cls, *args: Any, **kwargs: Any) -> _Inert:
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        """Items of dictionaries' subclasses are left out."""

    def append(self, item: Any) -> None:
        """Items of lists' subclasses are left out."""
