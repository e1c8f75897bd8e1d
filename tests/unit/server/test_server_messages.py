import pytest

from tuner.experiment.requests import (
    AddTrials,
    ChangeLimits,
    Outcome,
    PauseTrial,
    ResumeTrial,
    StopExperiment,
    StopTrial,
)
from tuner.server.messages import decode_outcome, decode_request, encode_outcome, encode_request


@pytest.mark.parametrize(
    "request_",
    [
        AddTrials({"a": [1, {"b\n": "\u2028"}], "c": None}, 3),
        StopTrial("a"),
        PauseTrial("a"),
        ResumeTrial("ä\n"),
        ChangeLimits(num_samples=-1, time_budget_s=1.5),
        StopExperiment(resumable=True),
    ],
)
def test_requests_travel_on_a_line(request_):
    line = encode_request("7-1", request_)
    assert line.count(b"\n") == 1
    assert decode_request(line) == ("7-1", request_)


@pytest.mark.parametrize(
    "outcome", [Outcome(("a", "b")), Outcome(refusal="it has\nended", kind="conflict")]
)
def test_outcomes_travel_on_a_line(outcome):
    line = encode_outcome("7-1", outcome)
    assert line.count(b"\n") == 1
    assert decode_outcome(line) == ("7-1", outcome)
