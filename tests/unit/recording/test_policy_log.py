"""Who went on from whom: the files of a population's schedules."""

import json

from recording_helpers import (
    END,
    created,
    ended,
    exploited,
    json_rows,
    launched,
    reported,
    write_journal,
)

from tuner.recording.csv import CSVLoggerCallback
from tuner.recording.json import JsonLoggerCallback
from tuner.recording.recorder import Recorder


def population():
    """`b` goes on from `a`, and later `c` from `b`."""
    facts = [created(trial, {"lr": number / 10}, number) for number, trial in enumerate("abc")]
    facts += [launched(trial) for trial in "abc"]
    facts += [reported("a", 1, checkpoint="checkpoint_000000")]
    facts += [reported("b", 1), reported("b", 2), ended("b", status="PAUSED")]
    facts += [exploited("b", "a", "checkpoint_000000", 0.7)]
    facts += [launched("b", 2, 2, "checkpoint_000000", "a")]
    facts += [reported("b", 2, 2, "checkpoint_000000")]
    facts += [reported("c", 1), ended("c", status="PAUSED")]
    facts += [exploited("c", "b", "checkpoint_000000", 0.9)]
    facts += [launched("c", 2, 1, "checkpoint_000000", "b"), reported("c", 3, 2)]
    return facts


def record(folder, facts):
    write_journal(folder, facts)
    recorder = Recorder(str(folder), [CSVLoggerCallback(), JsonLoggerCallback()])
    recorder.resume()
    recorder.finish()
    assert recorder.messages == []


def lines(folder, name):
    return [json.loads(line) for line in (folder / f"pbt_{name}.txt").read_text().splitlines()]


def test_each_file_begins_with_what_the_donor_was_trained_with(tmp_path):
    record(tmp_path, [*population(), END])
    first = ["1_lr=0.5", "0_lr=0.5", 2, 1, {"lr": 0.0}, {"lr": 0.7, "net": {"layers": 2}}]
    after = {"lr": 0.9, "net": {"layers": 2}}
    second = ["2_lr=0.5", "1_lr=0.5", 1, 2, first[-1], after]
    assert lines(tmp_path, "policy_b") == [first]
    assert lines(tmp_path, "policy_c") == [first, second]
    assert lines(tmp_path, "global") == [first, second]
    assert not (tmp_path / "pbt_policy_a.txt").exists()


def test_what_a_trial_was_trained_with_before_is_not_in_its_file(tmp_path):
    facts = [*population(), ended("b", 2, "PAUSED"), exploited("b", "a", "checkpoint_000000", 0.2)]
    record(tmp_path, [*facts, END])
    (line,) = lines(tmp_path, "policy_b")
    assert line[-1]["lr"] == 0.2
    assert len(lines(tmp_path, "policy_c")) == 2
    assert len(lines(tmp_path, "global")) == 3


def test_changes_that_are_not_to_be_logged_are_not(tmp_path):
    facts = population()
    at = next(i for i, fact in enumerate(facts) if fact.event == "trial_changed")
    facts[at] = exploited("b", "a", "checkpoint_000000", 0.7, is_logged=False)
    record(tmp_path, [*facts, END])
    assert not (tmp_path / "pbt_policy_b.txt").exists()
    assert len(lines(tmp_path, "policy_c")) == len(lines(tmp_path, "global")) == 1


def test_every_row_has_the_configuration_of_its_time(tmp_path):
    import pyarrow.parquet as pq

    record(tmp_path, [*population(), END])
    folder = tmp_path / "train_b"
    rows = [row["config"]["lr"] for row in json_rows(folder)]
    assert rows == [0.1, 0.1, 0.7]
    assert json.loads((folder / "params.json").read_text())["lr"] == 0.7
    table = pq.read_table(tmp_path / "results.parquet").to_pylist()
    assert [row["config/lr"] for row in table if row["trial_id"] == "b"] == rows
    assert [row["config/net/layers"] for row in table if row["trial_id"] == "b"] == [None, None, 2]
