"""What is told of an experiment, from the journal of one that ran."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import pytest

import tuner as tune
from tuner.server.view import ExperimentView


def train(config):
    for i in range(3):
        tune.report({"loss": config["lr"] / (i + 1), "big": 2**70})
    if config["lr"] > 2:
        raise ValueError("too much")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return tune.Tuner(
        train,
        param_space={"lr": tune.grid_search([1.0, 2.0, 3.0]), "f": tune.choice([len])},
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            max_concurrent_trials=1,
            time_budget_s=timedelta(minutes=2),
        ),
        run_config=tune.RunConfig(
            name="exp",
            storage_path=str(tmp_path_factory.mktemp("view")),
            verbose=0,
            executor="inline",
        ),
    ).fit()


@pytest.fixture
def view(results):
    view = ExperimentView(results.experiment_path, "exp")
    asyncio.run(view.refresh())
    return view


def test_the_experiment(results, view):
    experiment = json.loads(view.experiment())
    best = results.get_best_result()
    assert experiment["status"] == "ENDED"
    assert experiment["counts"]["TERMINATED"] == 2
    assert experiment["counts"]["ERROR"] == 1
    assert experiment["best"]["trial_id"] == best.metrics["trial_id"]
    assert experiment["best"]["value"] == best.metrics["loss"]
    assert (experiment["trainable"], experiment["path"]) == ("train", results.experiment_path)
    limits = [experiment[name] for name in ("num_samples", "time_budget_s")]
    assert limits == [1, 120.0]
    assert experiment["max_concurrent_trials"] == 1


def test_trials_are_those_of_the_result_grid(results, view):
    page = json.loads(view.page(None, -1, 0, 10))
    assert page["total"] == 3
    for trial, result in zip(page["trials"], results, strict=True):
        assert trial["trial_id"] == result.metrics["trial_id"]
        assert trial["config"]["lr"] == result.config["lr"]
        assert "len" in trial["config"]["f"]
        assert trial["last_result"]["loss"] == result.metrics["loss"]
        assert trial["last_result"]["big"] == 2**70
        assert "config" not in trial["last_result"]
        assert (trial["error"] is None) == (result.error is None)


def test_it_keeps_up_with_a_journal_that_grows(results, tmp_path):
    """Read in pieces, it tells the same as read at once."""
    whole = ExperimentView(results.experiment_path, "exp")
    asyncio.run(whole.refresh())
    journal = (tmp_path / "journal") / "00000001.jsonl"
    journal.parent.mkdir()
    source = Path(results.experiment_path, "journal", "00000001.jsonl").read_bytes()
    pieces = ExperimentView(str(tmp_path), "exp")
    journal.touch()
    seqs = []
    for i in range(0, len(source), 500):
        with journal.open("ab") as file:
            file.write(source[i : i + 500])
        asyncio.run(pieces.refresh(0.0))
        pieces.page(None, -1, 0, 10)
        seqs.append(pieces.seq)
    assert seqs == sorted(seqs)
    assert seqs[-1] == whole.seq
    assert pieces.page(None, -1, 0, 10) == whole.page(None, -1, 0, 10)
