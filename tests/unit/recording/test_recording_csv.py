import csv
import math

import numpy as np
import pandas as pd
import pytest
import torch
from recording_helpers import csv_rows, log, make_trial

from tuner.recording.csv import CSVLoggerCallback


def frame(folder):
    return pd.read_csv(folder / "progress.csv")


def test_nested_keys_are_flat_and_the_config_is_left_out(tmp_path):
    result = {"loss": 0.5, "eval": {"acc": 0.9, "top": {"five": 1}}, "config": {"lr": 1}}
    log(CSVLoggerCallback(), make_trial(tmp_path), result)
    assert frame(tmp_path).to_dict("records") == [
        {"loss": 0.5, "eval/acc": 0.9, "eval/top/five": 1}
    ]


def test_all_kinds_of_values(tmp_path):
    result = {
        "nan": math.nan,
        "inf": -math.inf,
        "none": None,
        "text": 'with, comma "quote"\nand line',
        "lone": "\ud800",
        "list": [1, 2],
        "numpy": np.float32(0.5),
        "torch": torch.tensor(2),
        "huge": 10**30,
        "bytes": b"x",
        "empty": {},
        3: "number as key",
    }
    log(CSVLoggerCallback(), make_trial(tmp_path), result, result)
    table = frame(tmp_path)
    assert len(table) == 2
    row = table.iloc[1]
    assert math.isnan(row["nan"])
    assert row["inf"] == -math.inf
    assert math.isnan(row["none"])
    assert row["text"] == result["text"]
    assert row["list"] == "[1, 2]"
    assert row["numpy"] == 0.5
    assert row["huge"] == "1000000000000000019884624838656" or float(row["huge"]) == 1e30
    assert row["3"] == "number as key"


def test_a_later_key_widens_the_file(tmp_path):
    log(
        CSVLoggerCallback(),
        make_trial(tmp_path),
        {"loss": 1, "note": "a\nb"},
        {"extra": 5, "loss": 2},
        {"loss": 3, "note": "c", "third": 7},
        {"loss": 4},
    )
    assert csv_rows(tmp_path) == [
        {"loss": "1", "note": "a\nb", "extra": "", "third": ""},
        {"loss": "2", "note": "", "extra": "5", "third": ""},
        {"loss": "3", "note": "c", "extra": "", "third": "7"},
        {"loss": "4", "note": "", "extra": "", "third": ""},
    ]


def test_order_of_keys_does_not_matter(tmp_path):
    log(CSVLoggerCallback(), make_trial(tmp_path), {"a": 1, "b": 2}, {"b": 4, "a": 3})
    assert frame(tmp_path).values.tolist() == [[1, 2], [3, 4]]


def test_rewinding_drops_the_superseded_rows(tmp_path):
    logger, trial = CSVLoggerCallback(), make_trial(tmp_path)
    log(logger, trial, *({"training_iteration": i, "text": "x\ny"} for i in (1, 2, 3)))
    logger.on_trial_rewound(trial, 1)
    log(logger, trial, {"training_iteration": 2, "text": "again"})
    assert frame(tmp_path).values.tolist() == [[1, "x\ny"], [2, "again"]]


def test_rewinding_to_the_start_keeps_the_header(tmp_path):
    logger, trial = CSVLoggerCallback(), make_trial(tmp_path)
    log(logger, trial, {"training_iteration": 1})
    logger.on_trial_rewound(trial, 0)
    log(logger, trial, {"training_iteration": 1, "more": 2})
    assert frame(tmp_path).values.tolist() == [[1, 2]]


@pytest.mark.parametrize("rows", [[], [{"loss": 1}]])
def test_rewinding_where_there_is_nothing_to_drop(tmp_path, rows):
    logger, trial = CSVLoggerCallback(), make_trial(tmp_path)
    log(logger, trial, *rows)
    logger.on_trial_rewound(trial, len(rows))
    log(logger, trial, {"loss": 2})
    assert frame(tmp_path)["loss"].tolist() == [row["loss"] for row in rows] + [2]


def test_a_new_logger_goes_on_under_the_header_of_the_file(tmp_path):
    trial = make_trial(tmp_path)
    log(CSVLoggerCallback(), trial, {"a": 1, "b": 2})
    log(CSVLoggerCallback(), trial, {"b": 4, "a": 3}, {"c": 5})
    assert csv_rows(tmp_path)[1:] == [
        {"a": "3", "b": "4", "c": ""},
        {"a": "", "b": "", "c": "5"},
    ]


def test_a_trial_that_ends_leaves_nothing_open(tmp_path):
    logger = CSVLoggerCallback()
    for i in range(300):
        trial = make_trial(tmp_path / str(i), trial_id=str(i))
        log(logger, trial, {"i": i})
        logger.on_trial_complete(0, [], trial)
    assert logger.files.num_open == 0
    assert frame(tmp_path / "299")["i"].tolist() == [299]


def test_what_utf8_cannot_say_is_escaped_also_after_a_restart(tmp_path):
    trial = make_trial(tmp_path)
    log(CSVLoggerCallback(), trial, {"lone\ud800": "a\ud800"}, {"lone\ud800": 2, "late": 3})
    log(CSVLoggerCallback(), trial, {"lone\ud800": 4, "late": 5})
    assert csv_rows(tmp_path) == [
        {"lone\\ud800": "a\\ud800", "late": ""},
        {"lone\\ud800": "2", "late": "3"},
        {"lone\\ud800": "4", "late": "5"},
    ]


@pytest.mark.parametrize("text", ["x" * 200_000, "a\rb", "\r", "\r\n", "a\0b", ""])
def test_a_file_with_any_text_can_be_widened(tmp_path, text):
    log(CSVLoggerCallback(), make_trial(tmp_path), {"text": text}, {"text": text, "late": 1})
    with (tmp_path / "progress.csv").open(newline="") as file:
        csv.field_size_limit(max(csv.field_size_limit(), len(text)))
        assert list(csv.reader(file)) == [["text", "late"], [text, ""], [text, "1"]]
