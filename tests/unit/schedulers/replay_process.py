"""Replays what a scheduler was told, in a process of its own: see test_schedulers_contract.py."""

import pickle
import sys
from pathlib import Path

import cloudpickle
from scheduler_harness import replay

if __name__ == "__main__":
    scheduler, calls = pickle.loads(Path(sys.argv[1]).read_bytes())
    sys.stdout.buffer.write(pickle.dumps(replay(cloudpickle.loads(scheduler), calls)))
