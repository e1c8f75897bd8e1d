"""A worker started as a fresh interpreter, where forking is not safe."""

from __future__ import annotations

import json
import signal
import sys

from tuner.execution.forkserver import run_worker
from tuner.execution.payload import load_payload
from tuner.execution.process import die_with_parent


def main() -> None:
    """Loads the trainable and serves; all that it needs comes as one JSON argument."""
    arguments = json.loads(sys.argv[1])
    die_with_parent(arguments["parent"], signal.SIGKILL)
    trainable = load_payload(arguments["payload"])
    run_worker(arguments["line"], trainable, arguments["settings"])
