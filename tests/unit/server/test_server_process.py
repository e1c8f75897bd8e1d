"""The server process: how it begins, what it survives, and how it ends."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import psutil
import pytest
from server_harness import ENDED, TOKEN, Harness, accept, begin_journal, reported, running

from tuner.errors import ConfigError, MissingDependencyError
from tuner.experiment.requests import Outcome
from tuner.server import process as process_module
from tuner.server.config import ServerConfig
from tuner.server.limits import MAX_STREAMS
from tuner.server.process import ServerProcess
from tuner.server.token_file import find_token

pytestmark = pytest.mark.slow

PATIENCE_S = 120


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def refuses(address):
    host, port = address.removeprefix("http://").split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) != 0


def test_it_listens_when_start_returns_and_is_gone_when_stop_does(tmp_path):
    with Harness(tmp_path, running("a"), accept) as harness, harness.http() as http:
        pid = harness.server.pid
        assert http.get("/experiment").status_code == 200
        assert os.path.exists(harness.server.token_file)
        address = harness.server.address
    assert not psutil.pid_exists(pid)
    assert not os.path.exists(harness.server.token_file)
    assert refuses(address)
    harness.server.stop()


def test_it_may_be_stopped_before_it_serves(tmp_path):
    begin_journal(tmp_path, running("a"))
    server = ServerProcess(ServerConfig(port=0), str(tmp_path), "exp", lambda: None)
    server.start()
    pid = server.pid
    server.stop()
    assert not psutil.pid_exists(pid)


def test_it_runs_at_a_low_priority_and_in_a_session_of_its_own(tmp_path):
    with Harness(tmp_path, running("a"), accept) as harness, harness.http() as http:
        http.get("/experiment")
        pid = harness.server.pid
        assert os.getpriority(os.PRIO_PROCESS, pid) >= 10
        assert os.getsid(pid) == pid


def test_the_token_is_not_in_the_command_line_or_the_environment(tmp_path):
    with Harness(tmp_path, running("a"), accept) as harness, harness.http() as http:
        http.get("/experiment")
        process = psutil.Process(harness.server.pid)
        assert TOKEN not in " ".join(process.cmdline())
        assert TOKEN not in str(process.environ())


def test_a_token_is_made_up_anew_each_time(tmp_path):
    tokens = []
    begin_journal(tmp_path, running("a"))
    for _ in range(2):
        server = ServerProcess(ServerConfig(port=0), str(tmp_path), "exp", lambda: None)
        server.start()
        tokens.append(server.token)
        assert find_token(int(server.address.rpartition(":")[2])) == server.token
        server.stop()
    assert len(set(tokens)) == 2
    assert all(len(token) >= 40 for token in tokens)


def test_a_port_that_is_taken_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = ServerProcess(ServerConfig(port=port), str(tmp_path), "exp", lambda: None)
        with pytest.raises(ConfigError, match=rf"ServerConfig\(port={port}\): cannot be listened"):
            server.start()
        server.stop()
    assert find_token(port) is None


def test_a_host_that_is_not_this_machine_is_named(tmp_path):
    config = ServerConfig(host="host.invalid", token=TOKEN)
    server = ServerProcess(config, str(tmp_path), "exp", lambda: None)
    with pytest.raises(ConfigError, match=r"ServerConfig\(host='host.invalid'\): no such host"):
        server.start()


def test_libraries_that_are_missing_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(process_module, "_LIBRARIES", ("fastapi", "no_such_library"))
    server = ServerProcess(ServerConfig(port=0), str(tmp_path), "exp", lambda: None)
    with pytest.raises(
        MissingDependencyError, match=r'no_such_library: pip install "tuner\[server'
    ):
        server.start()


@pytest.mark.parametrize("host", ["localhost", "::1", "[::1]", "127.0.0.2"])
def test_other_addresses_of_this_machine(tmp_path, host):
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.create_server((host.strip("[]"), 0), family=family).close()
    except OSError:
        pytest.skip(f"this machine has no {host}")
    with Harness(tmp_path, running("a"), accept, host=host) as harness, harness.http() as http:
        assert http.get("/experiment").status_code == 200


def test_on_all_addresses_it_answers_under_any_name(tmp_path):
    with Harness(tmp_path, running("a"), accept, host="0.0.0.0") as harness:
        port = harness.server.address.rpartition(":")[2]
        with harness.http(base_url=f"http://127.0.0.1:{port}") as http:
            headers = {"Host": "cluster.example"}
            assert http.get("/experiment", headers=headers).status_code == 200
        with harness.http(base_url=f"http://127.0.0.1:{port}", headers={}) as http:
            assert http.get("/experiment").status_code == 401


def test_one_that_is_killed_is_started_again_at_the_same_address(tmp_path):
    with Harness(tmp_path, running("a"), accept) as harness:
        for _ in range(3):
            with harness.http() as http:
                assert http.get("/experiment").status_code == 200
                assert http.post("/trials/a/stop").status_code == 200
            pid = harness.server.pid
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda pid=pid: harness.server.pid != pid)


def test_one_that_dies_again_and_again_is_given_up(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(process_module, "_MODULE", "no.such.module")
    begin_journal(tmp_path, running("a"))
    server = ServerProcess(ServerConfig(port=0), str(tmp_path), "exp", lambda: None)
    server.start()
    port = int(server.address.rpartition(":")[2])
    wait_until(lambda: "the server died again" in caplog.text)
    assert server.pid is None
    assert refuses(server.address)
    assert find_token(port) is None
    server.stop()


def test_one_that_was_healthy_for_a_while_is_started_again_as_often_as_before(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(process_module, "_MAX_REVIVALS", 1)
    monkeypatch.setattr(process_module, "_HEALTHY_S", 0.0)
    with Harness(tmp_path, running("a"), accept) as harness:
        for _ in range(3):
            pid = harness.server.pid
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda pid=pid: harness.server.pid not in (pid, None))
        with harness.http() as http:
            assert http.get("/experiment").status_code == 200


def test_one_that_cannot_be_started_again_at_once_is_so_later(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(process_module, "_PAUSE_S", 0.05)
    with Harness(tmp_path, running("a"), accept) as harness:
        with monkeypatch.context() as patch:
            patch.setattr(process_module, "python_command", lambda *_: ["/no/such/interpreter"])
            os.kill(harness.server.pid, signal.SIGKILL)
            wait_until(lambda: "cannot be started again yet" in caplog.text)
        with harness.http() as http:
            assert http.get("/experiment").status_code == 200


def test_localhost_is_reached_by_the_older_protocol(tmp_path, monkeypatch):
    find = socket.getaddrinfo

    def newer_first(host, *args, **options):
        newer = find("::1", *args, **options) if host == "localhost" else []
        return [*newer, *find(host, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", newer_first)
    with Harness(tmp_path, running("a"), accept, host="localhost") as harness:
        port = harness.server.address.rpartition(":")[2]
        with harness.http(base_url=f"http://127.0.0.1:{port}") as http:
            assert http.get("/experiment").status_code == 200


def test_one_that_hangs_holds_nothing_up(tmp_path, monkeypatch):
    monkeypatch.setattr(process_module, "_KILL_AFTER_S", 0.1)
    with Harness(tmp_path, running("a"), accept) as harness, harness.http() as http:
        http.get("/experiment")
        os.kill(harness.server.pid, signal.SIGSTOP)
        for number in range(1000):  # more than the socket between them holds
            harness.server.respond(str(number), Outcome(refusal="x" * 10_000, kind="conflict"))
        pid = harness.server.pid
    assert not psutil.pid_exists(pid)


CONTROLLER = """
import os, signal, sys, time
sys.path.insert(0, {tests!r})
from pathlib import Path
from server_harness import Harness, accept, running
harness = Harness(Path({folder!r}), running("a"), accept).__enter__()
with harness.http() as http:
    http.get("/experiment")
print(harness.server.pid, harness.server.token_file, flush=True)
if os.fork() == 0:  # it holds copies of all sockets
    time.sleep(3600)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_it_dies_with_its_controller(tmp_path):
    script = CONTROLLER.format(tests=os.path.dirname(__file__), folder=str(tmp_path))
    controller = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        pid, token_file = controller.stdout.readline().split()
        controller.wait()
        wait_until(lambda: not psutil.pid_exists(int(pid)))
        assert not os.path.exists(token_file)
    finally:
        os.killpg(controller.pid, signal.SIGKILL)
        controller.stdout.close()


def test_what_is_still_asked_at_the_end_is_refused(tmp_path):
    asked = threading.Event()
    harness = Harness(tmp_path, running("a"), accept)
    harness.server.respond = lambda *_: asked.set()
    with ThreadPoolExecutor(1) as pool:
        with harness, harness.http() as http:
            answer = pool.submit(http.post, "/trials/a/stop")
            assert asked.wait(PATIENCE_S)
            harness.server.stop()
            response = answer.result(PATIENCE_S)
    assert response.status_code == 409
    assert response.json()["error"] == "the experiment is over"


def test_whoever_watches_sees_the_end(tmp_path):
    with Harness(tmp_path, running("a"), accept) as harness, harness.http() as http:
        with http.stream("GET", "/events") as response:
            chunks = response.iter_raw()
            next(chunks)
            harness.journal.append([reported("a", i=number) for number in range(3000)] + [ENDED])
            harness.server.stop()
            text = b"".join(chunks).decode()
    assert text.count("event: result") == 3000
    assert text.endswith('"reason":"done"}\n\nevent: end\ndata: {}\n\n')


def test_whoever_reads_slowly_sees_the_end_too(tmp_path):
    with Harness(tmp_path, running("a"), accept) as harness, harness.http() as http:
        with http.stream("GET", "/events") as response:
            chunks = response.iter_raw(2**20)
            harness.journal.append([reported("a", text="x" * 10_000) for _ in range(3000)])
            stopping = threading.Thread(target=harness.server.stop)
            stopping.start()
            end = b""
            for chunk in chunks:
                end = end[-100:] + chunk
                time.sleep(0.1)  # reading takes three seconds
            stopping.join()
    assert end.endswith(b"event: end\ndata: {}\n\n")


def test_whoever_reads_nothing_does_not_hold_up_the_end(tmp_path):
    with Harness(tmp_path, running("a"), accept) as harness, harness.http() as http:
        with http.stream("GET", "/events") as response:
            harness.journal.append([reported("a", text="x" * 10_000) for _ in range(3000)])
            pid = harness.server.pid
            harness.server.stop()
            assert not psutil.pid_exists(pid)
            assert response.status_code == 200


def test_many_who_read_nothing_leave_no_word_on_the_terminal(tmp_path, capfd):
    with Harness(tmp_path, running("a"), accept) as harness, ExitStack() as stack:
        host, port = harness.server.address.removeprefix("http://").split(":")
        request = (
            f"GET /events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        )
        for _ in range(40):
            watching = stack.enter_context(socket.create_connection((host, int(port))))
            watching.sendall(request.encode())
            assert watching.recv(12) == b"HTTP/1.1 200"
        harness.journal.append([reported("a", text="x" * 10_000) for _ in range(3000)])
        harness.server.stop()
    assert capfd.readouterr() == ("", "")


def test_an_interrupt_is_for_the_controller(tmp_path, capfd):
    with Harness(tmp_path, running("a"), accept) as harness, harness.http() as http:
        assert http.get("/experiment").status_code == 200
        pid = harness.server.pid
        os.kill(pid, signal.SIGINT)
        assert http.get("/experiment").status_code == 200
        with open(f"/proc/{pid}/status") as status:
            ignored = next(line.split()[1] for line in status if line.startswith("SigIgn:"))
        assert int(ignored, 16) & 1 << signal.SIGINT - 1
    assert capfd.readouterr() == ("", "")


def test_so_many_may_watch_and_no_more(tmp_path):
    with Harness(tmp_path, running("a"), accept) as harness, ExitStack() as stack:
        http = stack.enter_context(harness.http(limits=httpx.Limits(max_connections=None)))
        watching = []
        for _ in range(MAX_STREAMS):
            response = stack.enter_context(http.stream("GET", "/events"))
            watching.append(response.iter_raw())
            next(watching[-1])
        with http.stream("GET", "/events") as refused:
            assert refused.status_code == 503
        assert http.get("/experiment").status_code == 200
        watching.pop().close()
        wait_until(lambda: _can_watch(http))


def _can_watch(http):
    with http.stream("GET", "/events") as response:
        return response.status_code == 200
