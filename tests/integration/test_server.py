"""A live experiment is watched and steered over HTTP, as by `TuneClient` and `curl`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fit_helpers import fit, wait_until
from steered_experiment import steered

import tuner as tune
from tuner.errors import ConfigError, ServerError
from tuner.experiment.journal_reader import JournalReader
from tuner.server import TuneClient
from tuner.server.config import TOKEN_VARIABLE
from tuner.server.event_source import Event


def status_of(client: TuneClient, trial_id: str) -> Any:
    return client.get_trial(trial_id)["status"]


def until_status(client: TuneClient, trial_id: str, status: str) -> None:
    wait_until(lambda: status_of(client, trial_id) == status)


def listened_to(client: TuneClient) -> Iterator[Event]:
    """The events but for the first, of a connection that is there before the experiment ends."""
    events = client.events(after=0)
    next(events)
    return events


def test_an_experiment_is_steered_from_its_start_to_its_end(tmp_path: Path) -> None:
    with steered(tmp_path) as (client, _):
        wait_until(lambda: client.get_experiment()["counts"]["RUNNING"] == 2)
        first, second = (trial["trial_id"] for trial in client.get_all_trials())

        assert client.pause_trial(first) == [first]
        until_status(client, first, "PAUSED")
        with pytest.raises(ServerError, match="resume it first"):
            client.pause_trial(first)

        added = client.add_trial("mine", {"config": {"lr": {"grid_search": [7.0, 8.0]}}})
        assert [client.get_trial(each)["config"]["lr"] for each in added] == [7.0, 8.0]
        until_status(client, added[0], "RUNNING")
        assert status_of(client, added[1]) == "PENDING"
        client.set_max_concurrent_trials(3)
        assert client.get_experiment()["max_concurrent_trials"] == 3

        assert client.stop_trial(second) == [second]
        until_status(client, second, "TERMINATED")
        with pytest.raises(ServerError, match="has ended already"):
            client.stop_trial(second)
        until_status(client, added[1], "RUNNING")

        client.stop_trial(added[0])
        client.resume_trial(first)
        until_status(client, first, "RUNNING")
        assert client.get_trial(first)["attempt"] == 2

        client.set_num_samples(3)
        client.stop_trial(added[1])
        wait_until(lambda: len(client.get_all_trials()) == 5)
        events = listened_to(client)
        client.stop_experiment()
        assert list(events)[-1].data["status"] == "ENDED"

    grid = tune.Tuner.restore(str(tmp_path / "steered")).get_results()
    assert len(grid) == 5
    assert {7.0, 8.0} < {result.config["lr"] for result in grid}


def test_the_events_are_the_journal(tmp_path: Path) -> None:
    """Each result of every trial, once and in order, by somebody who comes later."""
    with steered(tmp_path) as (client, _):
        stream = client.events(after=0)
        events = [next(stream) for _ in range(200)]
        client.stop_experiment()
        events += stream
    facts = list(JournalReader(str(tmp_path / "steered"), unpickle=False).read_all())
    results = [
        (seq, fact.trial_id, fact.result["i"])
        for seq, fact in enumerate(facts, 1)
        if fact.event == "result"
    ]
    seen = [event for event in events if event.kind == "result"]
    assert [(e.seq, e.data["trial_id"], e.data["result"]["i"]) for e in seen] == results
    assert seen[0].data["result"]["worst"] is None


def test_a_time_budget_that_is_used_up_ends_it(tmp_path: Path) -> None:
    with steered(tmp_path) as (client, _):
        events = listened_to(client)
        client.set_time_budget(0.001)
        assert list(events)[-1].data["status"] == "ENDED"


def test_curl_is_all_that_it_takes(tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")

    with steered(tmp_path) as (client, token):

        def curl(path: str, *options: str) -> Any:
            header = f"Authorization: Bearer {token}"
            command = ["curl", "--silent", "--noproxy", "*", "--header", header, *options]
            done = subprocess.run(
                [*command, client.address + path], capture_output=True, check=True
            )
            return json.loads(done.stdout)

        assert curl("/experiment")["name"] == "steered"
        added = curl("/trials", "--json", '{"spec": {"config": {"lr": 5}}}')["trial_ids"]
        assert curl(f"/trials/{added[0]}")["config"] == {"lr": 5}
        assert curl(f"/trials/{added[0]}/stop", "--request", "POST") == {"trial_ids": added}
        curl("/experiment/stop", "--json", "{}")


def test_what_was_asked_survives_a_restore(tmp_path: Path) -> None:
    with steered(tmp_path, num_samples=1) as (client, _):
        (added,) = client.add_trial("mine", {"config": {"lr": 7.0}})
        client.set_num_samples(2)
        client.stop_experiment(resumable=True)
    restored = tune.Tuner.restore(str(tmp_path / "steered"), stop={"i": 0}).fit()
    assert len(restored) == 3
    lrs = {result.metrics["trial_id"]: result.config["lr"] for result in restored}
    assert lrs[added] == 7.0


def tell_names(config: dict[str, Any]) -> dict[str, Any]:
    return {"names": list(os.environ)}


def test_the_token_is_kept_from_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "a-token-for-the-tests")
    (result,) = fit(tell_names, tmp_path, run={"server": tune.ServerConfig(port=0)})
    assert os.environ[TOKEN_VARIABLE] == "a-token-for-the-tests"
    assert TOKEN_VARIABLE not in result.metrics["names"]


def train_little(config: dict[str, Any]) -> None:
    tune.report({"i": 0, "loss": config["lr"]})


def test_a_port_that_is_taken_ends_the_experiment_at_once(tmp_path: Path) -> None:
    with steered(tmp_path) as (client, _):
        port = int(client.address.rpartition(":")[2])
        (tmp_path / "second").mkdir()
        with pytest.raises(ConfigError, match=rf"ServerConfig\(port={port}\)"):
            fit(train_little, tmp_path / "second", run={"server": tune.ServerConfig(port=port)})
        assert client.get_experiment()["status"] == "RUNNING"
        client.stop_experiment()
