"""`TuneClient` against a server process."""

import os
import signal
import warnings
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import numpy as np
import pytest
from server_harness import (
    ENDED,
    TOKEN,
    Harness,
    accept,
    created,
    ended,
    reported,
    running,
)

from tuner.errors import ConfigError, ServerError
from tuner.experiment.requests import (
    AddTrials,
    ChangeLimits,
    Outcome,
    PauseTrial,
    ResumeTrial,
    StopExperiment,
    StopTrial,
)
from tuner.server import client as client_module
from tuner.server.client import TuneClient
from tuner.server.config import TOKEN_VARIABLE

pytestmark = pytest.mark.slow

PATIENCE_S = 120


@pytest.fixture
def harness(tmp_path):
    with Harness(tmp_path, [*running("a"), reported("a", loss=1.0)], accept) as harness:
        yield harness


@pytest.fixture
def client(harness):
    with TuneClient(harness.server.address, TOKEN) as client:
        yield client


@pytest.mark.parametrize(
    ("call", "request_", "returned"),
    [
        (
            lambda client: client.add_trial("n", {"config": {"lr": np.float64(1)}, "repeat": 2}),
            AddTrials({"lr": 1.0}, 2),
            ["a"],
        ),
        (lambda client: client.stop_trial("ä ?"), StopTrial("ä ?"), ["a"]),
        (lambda client: client.pause_trial("a"), PauseTrial("a"), ["a"]),
        (lambda client: client.resume_trial("a"), ResumeTrial("a"), ["a"]),
        (lambda client: client.stop_experiment(), StopExperiment(), None),
        (lambda client: client.stop_experiment(resumable=True), StopExperiment(True), None),
        (lambda client: client.set_num_samples(-1), ChangeLimits(num_samples=-1), None),
        (lambda client: client.set_time_budget(9), ChangeLimits(time_budget_s=9.0), None),
        (
            lambda client: client.set_max_concurrent_trials(2),
            ChangeLimits(max_concurrent_trials=2),
            None,
        ),
    ],
)
def test_commands(harness, client, call, request_, returned):
    assert call(client) == returned
    assert harness.asked == [request_]


def test_what_it_reads(client):
    assert client.get_experiment()["name"] == "exp"
    trials = client.get_all_trials()
    assert trials == [client.get_trial("a")]
    assert trials[0]["last_result"] == {"loss": 1.0}
    assert client.get_all_trials(status="PAUSED") == []


def test_all_trials_are_read_page_by_page(tmp_path):
    names = [f"t{number}" for number in range(1203)]
    facts = [created(name, number=number) for number, name in enumerate(names)]
    with Harness(tmp_path, facts, accept) as harness:
        with TuneClient(harness.server.address, TOKEN) as client:
            assert [trial["trial_id"] for trial in client.get_all_trials()] == names


def test_no_trial_is_passed_over_while_others_end(tmp_path, monkeypatch):
    monkeypatch.setattr(client_module, "_PAGE", 2)

    def end_it(request):
        harness.journal.append([ended(request.trial_id)])
        return accept(request)

    harness = Harness(tmp_path, running("a", "b", "c", "d", "e"), end_it)
    with harness, TuneClient(harness.server.address, TOKEN) as client:
        ask = client._ask

        def ask_and_end_one(method, path, **options):
            answer = ask(method, path, **options)
            ask("POST", f"/trials/{answer['trials'][0]['trial_id']}/stop")
            return answer

        monkeypatch.setattr(client, "_ask", ask_and_end_one)
        names = [trial["trial_id"] for trial in client.get_all_trials("RUNNING")]
    assert names == ["a", "b", "c", "d", "e"]


def test_refusals_are_told_in_the_servers_words(tmp_path):
    def refuse(request):
        return Outcome(refusal="it has ended", kind="conflict")

    with Harness(tmp_path, running("a"), refuse) as harness:
        with TuneClient(harness.server.address, TOKEN) as client:
            with pytest.raises(ServerError, match="it has ended") as caught:
                client.stop_trial("a")
            assert (caught.value.status, caught.value.field) == (409, None)
            with pytest.raises(ServerError, match="there is no trial 'b'") as caught:
                client.get_trial("b")
            assert caught.value.status == 404
            with pytest.raises(ServerError, match=r"spec\.conifg: no such field") as caught:
                client.add_trial("n", {"conifg": {}})
            assert (caught.value.status, caught.value.field) == (422, "spec.conifg")
            with pytest.raises(ConfigError, match="cannot be sent as JSON"):
                client.add_trial("n", {"config": {"a": object()}})
        with TuneClient(harness.server.address, "another-token-entirely") as stranger:
            with pytest.raises(ServerError, match="the token is another one"):
                stranger.get_experiment()


def test_a_server_that_is_gone(tmp_path, monkeypatch):
    with Harness(tmp_path, running("a"), accept) as harness:
        client = TuneClient(harness.server.address, TOKEN)
    with pytest.raises(ServerError, match="is the experiment still running") as caught:
        client.get_experiment()
    assert caught.value.status is None
    monkeypatch.setattr(client_module, "_PATIENCE_S", 0.0)
    with pytest.raises(ServerError, match="is the experiment still running"):
        next(client.events())
    client.close()


def test_another_program_at_the_address():
    class Other(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(502)
            self.end_headers()
            self.wfile.write(b"<html>")

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Other) as other:
        Thread(target=other.handle_request, daemon=True).start()
        with TuneClient(f"127.0.0.1:{other.server_port}", TOKEN) as client:
            with pytest.raises(ServerError, match="answered 502: '<html>'"):
                client.get_experiment()


def test_the_token_is_found_by_itself(harness, monkeypatch):
    port = harness.server.address.rpartition(":")[2]
    for address in (f"localhost:{port}", f"http://127.0.0.1:{port}/"):
        with TuneClient(address) as client:
            assert client.get_experiment()["name"] == "exp"
    monkeypatch.setenv(TOKEN_VARIABLE, "another-token-entirely")
    with TuneClient(f"localhost:{port}") as client:
        with pytest.raises(ServerError, match="the token is another one"):
            client.get_experiment()


def test_no_token_of_this_machine_is_sent_to_another(harness):
    port = harness.server.address.rpartition(":")[2]
    with pytest.raises(ConfigError, match="no token is found for it"):
        TuneClient(f"http://elsewhere.invalid:{port}")


@pytest.mark.parametrize("address", ["", "ftp://a", "http://", "a:b:c", "http://a:99999"])
def test_what_is_no_address_is_named(address):
    with pytest.raises(ConfigError, match=r"TuneClient\(address="):
        TuneClient(address, TOKEN)


def test_older_forms(harness, nothing_was_said):
    port = int(harness.server.address.rpartition(":")[2])
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        TuneClient(f"localhost:{port}").close()
    with pytest.warns(FutureWarning) as warned:
        clients = [
            TuneClient("localhost", port),
            TuneClient("localhost", port_forward=port),
            TuneClient(tune_address="localhost", port_forward=port),
        ]
    named = [str(warning.message).partition("=")[0] for warning in warned]
    assert named == ["TuneClient(port_forward", "TuneClient(tune_address"]
    for client in clients:
        assert client.get_experiment()["name"] == "exp"
        client.close()


def test_events_come_until_the_end(harness, client):
    with ThreadPoolExecutor(1) as pool:
        stream = client.events(after=0)
        first = [next(stream) for _ in range(4)]
        assert [event.kind for event in first] == ["experiment", "trial", "trial", "result"]
        rest = pool.submit(list, stream)
        harness.journal.append([reported("a", loss=0.5), ended("a"), ENDED])
        harness.server.stop()
        events = rest.result(PATIENCE_S)
    assert [event.kind for event in events] == ["result", "trial", "experiment"]
    assert events[0].data["result"] == {"loss": 0.5}


def test_events_of_a_server_that_is_killed_go_on(harness, client):
    """Each once, although the process that sends them is killed again and again."""
    seen = []
    stream = client.events(after=0)
    for i in range(5):
        harness.journal.append([reported("a", i=i * 100 + j) for j in range(100)])
        while not seen or seen[-1] != i * 100 + 99:
            event = next(stream)
            if event.kind == "result" and "i" in event.data["result"]:
                seen.append(event.data["result"]["i"])
                if seen[-1] == i * 100 + 50:
                    os.kill(harness.server.pid, signal.SIGKILL)
    assert seen == [*range(500)]


def test_events_of_one_trial(harness, client):
    harness.journal.append([created("b", number=1), reported("a", loss=0.5)])
    stream = client.events("a", after=0)
    assert [next(stream).data["trial_id"] for _ in range(4)] == ["a"] * 4
    with pytest.raises(ServerError, match="there is no trial 'c'"):
        next(client.events("c"))
