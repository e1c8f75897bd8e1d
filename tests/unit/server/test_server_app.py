"""What the server answers, asked over HTTP as anybody would."""

import json
import socket

import pytest
from server_harness import (
    TOKEN,
    Harness,
    accept,
    created,
    ended,
    launched,
    reported,
    running,
)

from tuner.experiment.requests import (
    AddTrials,
    ChangeLimits,
    Outcome,
    PauseTrial,
    ResumeTrial,
    StopExperiment,
    StopTrial,
)
from tuner.server.limits import MAX_BODY_BYTES, MAX_PAGE_BYTES

pytestmark = pytest.mark.slow

JSON = {"Content-Type": "application/json"}


def answer(request):
    """A controller that refuses what concerns the trials of these names."""
    kind = getattr(request, "trial_id", None)
    if kind in ("unknown", "conflict", "invalid"):
        return Outcome(refusal=f"that is {kind}", kind=kind, field="that")
    return Outcome(trial_ids=("a", "b"))


@pytest.fixture(scope="module")
def harness(tmp_path_factory):
    facts = [
        *running("a", "b"),
        reported("a", loss=0.5, big=2**70, nan=float("nan"), raw=b"x"),
        reported("b", loss=0.25),
        ended("b", "Traceback …"),
    ]
    with Harness(tmp_path_factory.mktemp("app"), facts, answer) as harness:
        yield harness


@pytest.fixture(scope="module")
def http(harness):
    with harness.http() as http:
        yield http


def test_the_experiment(http):
    experiment = http.get("/experiment").json()
    assert experiment.pop("path")
    assert experiment == {
        "name": "exp",
        "trainable": "train",
        "status": "RUNNING",
        "reason": None,
        "start_time": 1_700_000_000.0,
        "seq": 8,
        "counts": {"PENDING": 0, "RUNNING": 1, "PAUSED": 0, "TERMINATED": 0, "ERROR": 1},
        "num_samples": 4,
        "time_budget_s": 60.0,
        "max_concurrent_trials": None,
        "metric": "loss",
        "mode": "min",
        "best": {"trial_id": "b", "value": 0.25, "config": {"lr": 0.5}},
    }


def test_trials(http):
    page = http.get("/trials").json()
    assert (page["total"], page["offset"]) == (2, 0)
    first, second = page["trials"]
    assert (first["trial_id"], first["name"], first["number"]) == ("a", "train_a", 0)
    assert (first["status"], first["attempt"], first["num_results"]) == ("RUNNING", 1, 1)
    assert (first["config"], first["resources"]) == ({"lr": 0.5}, [{"CPU": 1}])
    assert (second["status"], second["error"]) == ("ERROR", "Traceback …")
    assert http.get("/trials/a").json() == first


def test_answers_are_json_that_every_program_reads(http):
    text = http.get("/trials/a").text
    result = json.loads(text, parse_constant=pytest.fail)["last_result"]
    assert result == {"loss": 0.5, "big": 2**70, "nan": None, "raw": "b'x'"}


def test_pages(http):
    page = http.get("/trials", params={"offset": 1, "limit": 1}).json()
    assert page["total"] == 2
    assert [trial["trial_id"] for trial in page["trials"]] == ["b"]
    page = http.get("/trials", params={"status": "RUNNING"}).json()
    assert (page["total"], page["next"]) == (1, None)
    assert [trial["trial_id"] for trial in page["trials"]] == ["a"]
    assert http.get("/trials", params={"limit": 1}).json()["next"] == 0
    page = http.get("/trials", params={"after": 0}).json()
    assert (page["total"], page["next"]) == (2, None)
    assert [trial["trial_id"] for trial in page["trials"]] == ["b"]


def test_what_is_known_is_not_sent_again(http):
    first = http.get("/trials")
    again = http.get("/trials", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("method", "path", "body", "request_", "status"),
    [
        ("POST", "/trials", {"spec": {}}, AddTrials({}), 201),
        (
            "POST",
            "/trials",
            {"name": "n", "spec": {"config": {"a": [1, {"b": None}]}, "repeat": 3, "run": "train"}},
            AddTrials({"a": [1, {"b": None}]}, 3),
            201,
        ),
        (
            "POST",
            "/trials",
            {"spec": {"config": {"a": {"grid_search": [1, 2]}}, "num_samples": 500.0}},
            AddTrials({"a": {"grid_search": [1, 2]}}, 500),
            201,
        ),
        ("POST", "/trials/x/stop", None, StopTrial("x"), 200),
        ("POST", "/trials/%C3%A4%20/pause", None, PauseTrial("ä "), 200),
        ("POST", "/trials/x/resume", None, ResumeTrial("x"), 200),
        ("PATCH", "/experiment", {"num_samples": -1}, ChangeLimits(num_samples=-1), 200),
        (
            "PATCH",
            "/experiment",
            {"num_samples": 9, "time_budget_s": 5, "max_concurrent_trials": 0},
            ChangeLimits(9, 5.0, 0),
            200,
        ),
        ("POST", "/experiment/stop", {}, StopExperiment(), 200),
        ("POST", "/experiment/stop", {"resumable": True}, StopExperiment(True), 200),
    ],
)
def test_commands_reach_the_controller(harness, http, method, path, body, request_, status):
    response = http.request(method, path, json=body)
    assert (response.status_code, response.json()) == (status, {"trial_ids": ["a", "b"]})
    assert harness.asked[-1] == request_


@pytest.mark.parametrize(
    ("path", "body", "field", "words"),
    [
        ("/trials", {}, "spec", "spec: Field required"),
        (
            "/trials",
            {"spec": {"conifg": {}}},
            "spec.conifg",
            "no such field; did you mean 'config'?",
        ),
        ("/trials", {"spec": {"stop": {"a": 1}}}, "spec.stop", "RunConfig(stop=…)"),
        ("/trials", {"spec": {"config": []}}, "spec.config", "valid dictionary"),
        ("/trials", {"spec": {"num_samples": 0}}, "spec.num_samples", "greater than"),
        ("/trials", {"spec": {"num_samples": "1"}}, "spec.num_samples", "valid integer"),
        ("/trials", {"spec": {"num_samples": True}}, "spec.num_samples", "valid integer"),
        ("/trials", {"spec": {"num_samples": None}}, "spec.num_samples", "valid integer"),
        ("/trials", {"spec": {"num_samples": 1, "repeat": 1}}, "spec", "repeat is the old name"),
        (
            "/trials",
            {"spec": {"config": {"a": {"grid_search": [1, 2]}}, "num_samples": 501}},
            "spec.num_samples",
            "more than 1000 trials",
        ),
        (
            "/trials",
            {"spec": {"config": {"a": {"grid_search": [*range(1001)]}}}},
            "spec.config",
            "more than 1000 trials",
        ),
        (
            "/trials",
            {"spec": {"config": {"a": "x" * 20_000}, "num_samples": 1000}},
            "spec.num_samples",
            "longer than 16777216 bytes",
        ),
        (
            "/trials",
            {"spec": {"config": {"a": "x" * 40_000, "b": {"grid_search": [0] * 500}}}},
            "spec.config",
            "longer than 16777216 bytes",
        ),
        ("/experiment", {}, "body", "say what to change: num_samples"),
        ("/experiment", {"num_samples": 0}, "num_samples", "-1 for no limit"),
        ("/experiment", {"time_budget_s": 0}, "time_budget_s", "greater than 0"),
        ("/experiment", {"time_budget_s": None}, "time_budget_s", "valid number"),
        ("/experiment", {"max_concurrent_trials": -1}, "max_concurrent_trials", "greater than"),
        ("/experiment/stop", {"resumable": 1}, "resumable", "valid boolean"),
    ],
)
def test_a_wrong_body_is_refused_by_the_name_of_its_field(harness, http, path, body, field, words):
    before = len(harness.asked)
    response = http.request("PATCH" if path == "/experiment" else "POST", path, json=body)
    assert response.status_code == 422
    problem = response.json()
    assert problem["field"] == field
    assert problem["error"].startswith(f"{field}: ")
    assert words in problem["error"]
    assert "\n" not in problem["error"]
    assert len(harness.asked) == before


@pytest.mark.parametrize(
    ("path", "field", "words"),
    [
        ("/trials?status=DONE", "status", "Input should be 'PENDING'"),
        ("/trials?limit=0", "limit", "greater than or equal to 1"),
        ("/trials?stauts=RUNNING", "stauts", "no such parameter; did you mean 'status'?"),
        ("/experiment?limit=1", "limit", "no such parameter"),
        ("/events?follow=perhaps", "follow", "valid boolean"),
    ],
)
def test_a_wrong_parameter_is_refused_by_its_name(http, path, field, words):
    response = http.get(path)
    assert response.status_code == 422
    assert response.json()["field"] == field
    assert response.json()["error"].startswith(f"{field}: ")
    assert words in response.json()["error"]


def test_a_parameter_of_a_command_is_refused(harness, http):
    before = len(harness.asked)
    assert http.post("/trials/a/stop?force=1").json()["field"] == "force"
    assert len(harness.asked) == before


def test_a_wrong_header_is_refused_by_its_name(http):
    response = http.get("/events", headers={"Last-Event-ID": "-1"})
    assert (response.status_code, response.json()["field"]) == (422, "last-event-id")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "Field required"),
        (b"{", "no JSON"),
        (b"null", "body: "),
        (b'"text"', "valid dictionary"),
        (b'{"spec": {"config": {"a": NaN}}}', "no JSON"),
        (b'{"spec": {"config": {"a": "\\ud800"}}}', "no JSON"),
        (b'{"spec": {"config": ' + b'{"a":' * 40 + b"1" + b"}" * 42, "nested more than 32"),
        (b"[" * 100_000, "no JSON"),
    ],
)
def test_what_is_no_json_is_refused(http, content, words):
    response = http.post("/trials", content=content, headers=JSON)
    assert response.status_code == 422
    assert words in response.json()["error"]


def test_a_pickle_is_refused(harness, http):
    before = len(harness.asked)
    octets = {"Content-Type": "application/octet-stream"}
    response = http.post("/trials", content=b"\x80\x04N.", headers=octets)
    assert response.status_code == 422
    assert len(harness.asked) == before


def chunks():
    yield b'{"spec": {"config": {"a": "'
    for _ in range(MAX_BODY_BYTES // 65536 + 1):
        yield b"x" * 65536
    yield b'"}}}'


@pytest.mark.parametrize("content", [b"".join(chunks()), chunks()], ids=["length", "chunked"])
def test_a_body_that_is_too_large_is_refused(http, content):
    response = http.post("/trials", content=content, headers=JSON)
    assert response.status_code == 413
    assert response.json()["error"] == "the body is larger than 1048576 bytes"


def test_a_body_of_nearly_that_size_is_taken(harness, http):
    config = {"a": "x" * (MAX_BODY_BYTES - 100)}
    assert http.post("/trials", json={"spec": {"config": config}}).status_code == 201
    assert harness.asked[-1] == AddTrials(config)


@pytest.mark.parametrize(
    ("kind", "status"), [("unknown", 404), ("conflict", 409), ("invalid", 422)]
)
def test_a_refusal_is_told_in_the_controllers_words(http, kind, status):
    response = http.post(f"/trials/{kind}/stop")
    assert response.status_code == status
    assert response.json() == {"error": f"that is {kind}", "field": "that"}


@pytest.mark.parametrize("path", ["/trials/c", "/events?trial_id=c"])
def test_a_trial_that_there_is_not(http, path):
    response = http.get(path)
    assert response.status_code == 404
    assert response.json() == {"error": "there is no trial 'c'", "field": "trial_id"}


def test_the_trainable_of_a_spec_is_that_of_the_experiment(http):
    response = http.post("/trials", json={"spec": {"run": "other"}})
    assert response.status_code == 409
    assert response.json() == {
        "error": "spec.run: this experiment trains 'train': leave it out",
        "field": "spec.run",
    }


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("PUT", "/trials", "GET, POST"), ("DELETE", "/experiment", "GET, PATCH")],
)
def test_what_cannot_be_done_at_a_path(http, method, path, allowed):
    response = http.request(method, path)
    assert (response.status_code, response.headers["Allow"]) == (405, allowed)


@pytest.mark.parametrize("path", ["/", "/docs", "/redoc", "/trials/", "/docs/oauth2-redirect"])
def test_other_paths_are_unknown(http, path):
    response = http.get(path)
    assert response.status_code == 404
    assert response.json()["error"] == f"there is no '{path}'; see /openapi.json"


PATHS = ["/experiment", "/trials", "/trials/a", "/events", "/openapi.json", "/nothing"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "authorization", [None, "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x"]
)
def test_the_token_is_asked_for_on_every_call(harness, path, authorization):
    headers = {} if authorization is None else {"Authorization": authorization}
    with harness.http(headers=headers) as http:
        response = http.get(path)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="tuner"'
    assert "token" in response.json()["error"]
    assert TOKEN not in response.text


def test_commands_ask_for_the_token_too(harness):
    before = len(harness.asked)
    with harness.http(headers={}) as http:
        assert http.post("/trials", json={"spec": {}}).status_code == 401
        assert http.patch("/experiment", json={"num_samples": 3}).status_code == 401
        assert http.post("/trials/a/stop").status_code == 401
    assert len(harness.asked) == before


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:99", 200),
        ("127.0.0.1:5", 200),
        ("[::1]:5", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example:5", 421),
        ("localhost.evil.example", 421),
    ],
)
def test_a_page_of_another_host_that_leads_here_is_refused(http, host, status):
    assert http.get("/experiment", headers={"Host": host}).status_code == status


def test_pages_of_other_origins_get_no_leave(http):
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    response = http.options("/trials", headers=headers)
    assert response.status_code == 405
    assert not [name for name in response.headers if name.lower().startswith("access-control")]


def test_the_document_names_all_answers_and_the_token(http):
    document = http.get("/openapi.json").json()
    assert document["components"]["securitySchemes"] == {
        "HTTPBearer": {"type": "http", "scheme": "bearer"}
    }
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["security"] == [{"HTTPBearer": []}]
            expected = {"401", "421"} | ({"409", "504"} if method != "get" else set())
            assert expected <= set(operation["responses"]), path
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_a_page_of_large_trials_is_shorter(tmp_path):
    text = {"text": "x" * (MAX_PAGE_BYTES // 3)}
    facts = [created(str(number), text, number) for number in range(4)]
    facts.append(created("large", {"text": "x" * 2 * MAX_PAGE_BYTES}, 4))
    with Harness(tmp_path, facts, accept) as harness, harness.http() as http:
        first, second, third = (
            http.get("/trials", params={"after": after}).json() for after in (-1, 1, 3)
        )
    assert [trial["number"] for trial in first["trials"]] == [0, 1]
    assert [trial["number"] for trial in second["trials"]] == [2, 3]
    assert [trial["number"] for trial in third["trials"]] == [4]
    assert [page["next"] for page in (first, second, third)] == [1, 3, None]


def test_a_grid_of_many_small_values_is_taken(harness, http):
    config = {"a": {"grid_search": [*range(1000)]}, "b": "x" * 1000}
    assert http.post("/trials", json={"spec": {"config": config}}).status_code == 201
    assert harness.asked[-1] == AddTrials(config)


def test_many_trials(tmp_path):
    names = [f"t{number}" for number in range(2500)]
    with Harness(tmp_path, [created(name) for name in names], accept) as harness:
        with harness.http() as http:
            pages = [
                http.get("/trials", params={"offset": offset, "limit": 1000}).json()["trials"]
                for offset in (0, 1000, 2000, 3000)
            ]
            assert [trial["trial_id"] for page in pages for trial in page] == names
            assert http.get("/trials", params={"limit": 1001}).status_code == 422


def test_an_answer_tells_what_came_before_it(tmp_path):
    """What a command brought about is in what is read after it."""

    def journal_it(request):
        harness.journal.append([launched(request.trial_id)])
        return accept(request)

    names = [f"t{number}" for number in range(20)]
    harness = Harness(tmp_path, [created(name) for name in names], journal_it)
    with harness, harness.http() as http:
        for name in names:
            assert http.get(f"/trials/{name}").json()["status"] == "PENDING"
            assert http.post(f"/trials/{name}/resume").status_code == 200
            assert http.get(f"/trials/{name}").json()["status"] == "RUNNING"


def test_a_damaged_journal_is_told(tmp_path):
    with Harness(tmp_path, running("a"), accept) as harness, harness.http() as http:
        assert http.get("/experiment").status_code == 200
        with open(tmp_path / "journal" / "00000001.jsonl", "ab") as file:
            file.write(b'{"seq":4,"crc":"00000000"}\n')
        http.post("/trials/a/stop")
        response = http.get("/experiment")
        assert response.status_code == 500
        assert "line 4: does not match its checksum" in response.json()["error"]


def test_a_controller_that_does_not_answer(tmp_path, monkeypatch):
    monkeypatch.setattr("tuner.server.process.ServerProcess.ANSWER_TIMEOUT_S", 0.1)
    harness = Harness(tmp_path, running("a"), accept)
    monkeypatch.setattr(harness.server, "respond", lambda *_: None)
    with harness, harness.http() as http:
        response = http.post("/trials/a/stop")
        assert response.status_code == 504
        assert "did not answer in time and may still do it" in response.json()["error"]


def test_headers_without_end_are_refused(harness):
    host, port = harness.server.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 200_000)
        assert client.recv(100).startswith(b"HTTP/1.1 400")
