"""What fifty clients that poll cost an experiment: seconds of training, with them and without.

    python benchmarks/server_load.py [--pairs 5] [--clients 50] [--period 1.0]

Each client asks for `/experiment` and for `/trials` in turn, once per period, over a connection
that it keeps; each begins at another moment. They run on the same cores as the trials, of which
there is one for each core; a trial computes without a pause and reports a hundred times a second.
The other run of a pair has no server at all. Which of a pair comes first alternates. The first
fifth of the results is left out, in which the processes of the server and of the clients start;
trials wait at its end until every client had both answers.
Where the machine has other work to do, the ratios scatter; how much of it the server takes says
more then.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil

import tuner as tune
from tuner.callbacks import Callback

REPORT_S = 0.01
TOKEN = "a-token-for-the-benchmark"


def train(config: dict[str, Any]) -> None:
    """Does the same work before each of its reports, about `REPORT_S` of one core."""
    for i in range(config["results"]):
        compute(config["rounds"])
        while i + 1 == config["results"] // 5 and not os.path.exists(config["may_go_on"]):
            time.sleep(REPORT_S)
        tune.report({"loss": 1 / (i + 1)})


def compute(rounds: int) -> None:
    """So many rounds of work, always the same."""
    total = 0
    for number in range(rounds * 1000):
        total += number * number


def rounds_per_report() -> int:
    """How many rounds take one core as long as `REPORT_S`."""
    began = time.perf_counter()
    compute(1000)
    return max(1, round(1000 * REPORT_S / (time.perf_counter() - began)))


class Stopwatch(Callback):
    """Measures an experiment once a trial has reported a fifth of its results.

    Attributes:
        seconds: From there to the end of the first trial that ends.
        server_seconds: How long the server has computed meanwhile, on one core.
    """

    def __init__(self, num_results: int) -> None:
        self.seconds = self.server_seconds = 0.0
        self._begin_at = num_results // 5

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any) -> None:
        if result["training_iteration"] == self._begin_at and not self.seconds:
            self.seconds, self.server_seconds = -time.monotonic(), -server_time()

    def on_trial_complete(self, *args: Any, **info: Any) -> None:
        if self.seconds < 0:
            self.seconds += time.monotonic()
            self.server_seconds += server_time()


def server_time() -> float:
    """How long the server has computed so far."""
    children = psutil.Process().children()
    servers = (each for each in children if "tuner.server.service" in " ".join(each.cmdline()))
    return sum(sum(each.cpu_times()[:2]) for each in servers)


def run(work: dict[str, Any], clients: int, period: float) -> tuple[float, int, float]:
    """Runs an experiment: seconds of training, answers to clients, seconds of the server."""
    watch = Stopwatch(work["results"])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    answers: list[int] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        polling(port, clients, period, may_go_on := f"{folder}/may_go_on", answers),
    ):
        tune.Tuner(
            train,
            param_space={**work, "may_go_on": may_go_on},
            tune_config=tune.TuneConfig(
                num_samples=len(os.sched_getaffinity(0)), metric="loss", mode="min"
            ),
            run_config=tune.RunConfig(
                name="load",
                storage_path=folder,
                verbose=0,
                callbacks=[watch],
                server=tune.ServerConfig(port=port, token=TOKEN) if clients else None,
            ),
        ).fit()
    return watch.seconds, sum(answers), watch.server_seconds


@contextlib.contextmanager
def polling(
    port: int, clients: int, period: float, may_go_on: str, answers: list[int]
) -> Iterator[None]:
    """Clients in a process of their own; how many answers they got is added to `answers`.

    The file `may_go_on` says that all of them poll.
    """
    if not clients:
        Path(may_go_on).touch()
        yield
        return
    command = [sys.executable, __file__, "--poll", str(port), str(clients), str(period), may_go_on]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    yield
    output, _ = process.communicate()
    answers.append(int(output))


async def poll_all(port: int, clients: int, period: float, may_go_on: str) -> int:
    """Polls until the standard input ends; the number of answers."""
    counts = [0] * clients

    def count(index: int) -> None:
        counts[index] += 1
        if counts[index] == 2 and min(counts) >= 2:
            Path(may_go_on).touch()

    tasks = [
        asyncio.create_task(poll(port, period, partial(count, index))) for index in range(clients)
    ]
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return sum(counts)


async def poll(port: int, period: float, count: Callable[[], None]) -> None:
    """One client: asks again and again, and counts the answers."""
    await asyncio.sleep(period * random.random())
    reader, writer = await connect(port)
    for path in itertools.cycle(["experiment", "trials"]):
        asked = time.monotonic()
        head = f"GET /{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        writer.write(head.encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(answer.decode())
        length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        count()
        await asyncio.sleep(max(0.0, asked + period - time.monotonic()))


async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to the server, once it is up."""
    while True:
        with contextlib.suppress(OSError):
            return await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(0.1)


def main() -> None:
    """Prints a line for each pair, and the median of the ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--period", type=float, default=1.0, help="seconds, for each client")
    parser.add_argument("--results", type=int, default=1500, help="of each trial")
    parser.add_argument("--poll", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.poll:
        port, clients, period, may_go_on = options.poll
        print(asyncio.run(poll_all(int(port), int(clients), float(period), may_go_on)))
        return
    work = {"results": options.results, "rounds": rounds_per_report()}
    ratios = []
    titles = "seconds alone", "watched", "ratio", "answers", "server, % of all cores"
    print(f"| pair | {' | '.join(titles)} |\n|{'---|' * 6}")
    for pair in range(options.pairs):
        measured = {}
        for clients in sorted([0, options.clients], reverse=bool(pair % 2)):
            measured[clients] = run(work, clients, options.period)
        alone, (watched, answers, server) = measured[0][0], measured[options.clients]
        ratios.append(watched / alone)
        share = 100 * server / watched / len(os.sched_getaffinity(0))
        times = f"{alone:.2f} | {watched:.2f} | {ratios[-1]:.3f}"
        print(f"| {pair + 1} | {times} | {answers} | {share:.1f} |", flush=True)
    print(f"median ratio: {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    main()
