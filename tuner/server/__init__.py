"""A server beside the controller by which a live experiment is watched and steered.

Names are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuner.server.client import TuneClient
    from tuner.server.config import ServerConfig

_HOMES = {
    "ServerConfig": "tuner.server.config",
    "TuneClient": "tuner.server.client",
}

__all__ = ["ServerConfig", "TuneClient"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tuner.server' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
