"""Functions of `ray.tune` that a trial calls in place of ours, such as for one forgotten import.

They belong to no trial here: Ray warns once, and results would be lost. They become errors.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from tuner.errors import TrainableError
from tuner.trainable.session import get_session

_MODULE = "ray.train._internal.session"  # that of `ray.tune`, too
_NOTICE = "log_once"  # which it asks whether to warn, where there is no trial of Ray's
_OF_CONTEXT = "get_experiment_name get_trial_dir get_trial_id get_trial_name get_trial_resources"
_OURS = {name: f"tuner.{name}" for name in ("report", "get_checkpoint")} | {
    name: f"tuner.get_context().{name}" for name in _OF_CONTEXT.split()
}


def refuse() -> None:
    """Makes such calls errors in this process; imports nothing, also later ones are caught."""
    module = sys.modules.get(_MODULE)
    if module is not None:
        _mend(module)
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def _mend(module: ModuleType) -> None:
    original = getattr(module, _NOTICE, None)
    if original is None or hasattr(original, "is_ours"):
        return

    def is_to_warn(key: str) -> Any:
        name = key.rpartition("-")[2]
        if name in _OURS and get_session() is not None:
            raise TrainableError(
                f"{name} of ray.tune knows nothing of this trial, which tuner runs; call "
                f"{_OURS[name]} instead (import tuner as tune)"
            )
        return original(key)

    is_to_warn.__dict__["is_ours"] = True
    setattr(module, _NOTICE, is_to_warn)


class _Finder:
    """Finds that one module, as the import system would."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != _MODULE:
            return None
        spec = PathFinder.find_spec(name, path, target)
        loader = None if spec is None else spec.loader
        if loader is not None:
            execute = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                _mend(module)

            loader.__dict__["exec_module"] = exec_module
        return spec
