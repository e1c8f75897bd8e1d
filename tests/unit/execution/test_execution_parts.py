"""The parts of the execution layer that need no process."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tuner.errors import ConfigError
from tuner.execution import machine
from tuner.execution.attempt import format_error
from tuner.execution.gpus import GpuPool
from tuner.execution.local import LocalExecutor
from tuner.execution.payload import load_payload, pickle_trainable, write_payload
from tuner.execution.protocol import Connection, FrameReader, frame, parse_result, result_frame
from tuner.execution.seeding import derive_seed, seed_everything, streams_restored
from tuner.execution.worker import SocketChannel
from tuner.layout import staged_path
from tuner.trainable.session import TrialStopped


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=50))), st.integers(1, 20))
def test_frames_survive_any_chunking(messages: list[tuple[int, bytes]], size: int) -> None:
    stream = b"".join(frame(kind, body) for kind, body in messages)
    reader = FrameReader()
    read = []
    for start in range(0, len(stream), size):
        read += reader.feed(stream[start : start + size])
    assert read == messages


@pytest.mark.parametrize("unread", [b"", b"an answer"])
def test_a_report_to_a_controller_that_is_gone_stops_the_trial(unread: bytes) -> None:
    ours, theirs = socket.socketpair()
    ours.send(unread)
    theirs.send(b"unread, so that the line is reset")
    ours.close()
    with theirs, pytest.raises(TrialStopped):
        SocketChannel(Connection(theirs)).deliver({"n": 1}, None)


@given(st.binary(), st.none() | st.integers(0, 10**6).map(lambda n: f"checkpoint_{n:06d}"))
def test_results_survive_framing(raw: bytes, checkpoint: str | None) -> None:
    ((_, body),) = FrameReader().feed(result_frame(raw, checkpoint))
    assert parse_result(body) == (raw, checkpoint)


def test_a_payload_keeps_large_arrays_apart_and_writeable() -> None:
    arrays = [np.arange(n, dtype=np.float64) for n in (0, 1, 1000, 100_000)]
    trainable = {"arrays": arrays, "function": lambda value: value + 1}
    payload = write_payload(pickle_trainable(trainable, "name"))
    one, other = load_payload(payload), load_payload(payload)
    os.close(payload)
    one["arrays"][2][:] = -1
    for array, loaded in zip(arrays, other["arrays"], strict=True):
        assert np.array_equal(array, loaded)
        assert loaded.flags.writeable
    assert one["function"](1) == 2


@given(st.lists(st.sampled_from([0.25, 0.5, 1.0, 2.0, 0.0]), max_size=30), st.data())
def test_gpus_are_never_given_twice(amounts: list[float], data: st.DataObject) -> None:
    pool = GpuPool(["0", "1", "2"])
    out: list[dict[str, float]] = []
    for amount in amounts:
        if out and data.draw(st.booleans()):
            pool.give_back(out.pop(data.draw(st.integers(0, len(out) - 1))))
        shares = pool.take(amount)
        if shares is not None:
            assert sum(shares.values()) == amount
            assert amount < 1 or all(share == 1 for share in shares.values())
            out.append(shares)
        for gpu in ("0", "1", "2"):
            assert sum(shares.get(gpu, 0) for shares in out) <= 1
    for shares in out:
        pool.give_back(shares)
    assert pool.take(3.0) == {"0": 1.0, "1": 1.0, "2": 1.0}


def test_seeds_differ_by_trial_and_attempt() -> None:
    seeds = {derive_seed(s, t, a) for s in range(5) for t in range(200) for a in range(1, 4)}
    assert len(seeds) == 3000
    assert derive_seed(1, 2, 3) == derive_seed(1, 2, 3)


def test_seeding_covers_what_is_loaded() -> None:
    state, numpy_state = random.getstate(), np.random.get_state()
    try:
        drawn = []
        for seed in (1, 2, 1):
            seed_everything(seed)
            drawn.append((random.random(), float(np.random.rand())))
    finally:
        random.setstate(state)
        np.random.set_state(numpy_state)
    assert drawn[0] == drawn[2] != drawn[1]


def test_seeding_leaves_no_trace_in_what_is_imported_later() -> None:
    script = """
import sys
from tuner.execution.seeding import seed_everything
assert "numpy" not in sys.modules
seed_everything(5)
import numpy
first = numpy.random.rand()
numpy.random.seed(5)
print(first == numpy.random.rand(), type(numpy.random.__loader__).__name__, numpy.random.__spec__)
"""
    printed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    assert printed.startswith("True SourceFileLoader")
    assert "Seeding" not in printed


def test_errors_are_shown_from_the_code_of_the_user() -> None:
    def outer() -> None:
        raise KeyError("x") from ValueError("cause")

    try:
        outer()
    except KeyError as error:
        text = format_error(error)
    assert text.endswith("KeyError: 'x'")
    assert "ValueError: cause" in text


def test_an_error_of_the_librarys_own_is_shown_whole() -> None:
    try:
        FrameReader().feed("no bytes")  # type: ignore[arg-type]
    except TypeError as error:
        error.__traceback__ = error.__traceback__.tb_next if error.__traceback__ else None
        text = format_error(error)
    assert "protocol.py" in text
    assert text.startswith("Traceback")


def test_staged_checkpoints_are_hidden_and_belong_to_an_attempt() -> None:
    assert staged_path("/e/t", "checkpoint_000001", 2) == "/e/t/.checkpoint_000001.attempt2"


def test_this_machine_has_something() -> None:
    assert 1 <= machine.num_cpus() <= (os.cpu_count() or 1)
    assert machine.hostname()
    assert machine.node_ip().count(".") == 3


@pytest.mark.parametrize(("visible", "ids"), [("", []), ("0,2", ["0", "2"]), ("-1", [])])
def test_visible_gpus(monkeypatch: pytest.MonkeyPatch, visible: str, ids: list[str]) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert machine.gpu_ids() == ids


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"num_cpus": -1}, r"num_cpus=-1\): use a number >= 0"),
        ({"num_cpus": "a"}, r"num_cpus='a'\): use a number >= 0"),
        ({"num_cpus": float("nan")}, r"num_cpus=nan\): use a number >= 0"),
        ({"resources": {"license": -2}}, r"resources\['license'\]=-2\): use a number >= 0"),
        ({"resources": 3}, "use a dictionary"),
        ({"resources": {"cpu": 3}}, "give num_cpus=… and num_gpus=… instead"),
        ({"start_method": "thread"}, "start_method='thread' must be 'fork' or 'spawn'"),
    ],
)
def test_a_local_executor_checks_what_it_gets(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        LocalExecutor(**arguments)


def test_the_drivers_streams_are_put_back() -> None:
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    finders = [*sys.meta_path]
    with streams_restored():
        seed_everything(7)
        assert torch.initial_seed() == 7
    drawn = float(torch.rand(1)), random.random(), np.random.rand()
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    assert drawn == (float(torch.rand(1)), random.random(), np.random.rand())
    assert sys.meta_path == finders
