import json
import math
import pickle

import numpy as np
import pandas as pd
import torch
from recording_helpers import json_rows, log, make_trial

from tuner import codec
from tuner.recording.json import JsonLoggerCallback


def test_a_line_per_result_with_the_config(tmp_path):
    trial = make_trial(tmp_path, config={"lr": 0.1, "net": {"layers": [1, 2]}})
    log(JsonLoggerCallback(), trial, {"loss": 1.0, "eval": {"acc": 0.5}}, {"loss": 0.5}, {})
    assert json_rows(tmp_path) == [
        {"loss": 1.0, "eval": {"acc": 0.5}, "config": trial.config},
        {"loss": 0.5, "config": trial.config},
        {"config": trial.config},
    ]


def test_a_config_in_the_result_is_not_written_twice(tmp_path):
    log(JsonLoggerCallback(), make_trial(tmp_path), {"loss": 1, "config": {"lr": 2}})
    assert (tmp_path / "result.json").read_text().count('"config"') == 1


def test_pandas_reads_it(tmp_path):
    log(JsonLoggerCallback(), make_trial(tmp_path), {"loss": 0.5, "n": 1}, {"loss": 2.0, "n": 2})
    table = pd.read_json(tmp_path / "result.json", lines=True)
    assert table["loss"].tolist() == [0.5, 2.0]
    assert table["n"].tolist() == [1, 2]


def test_all_kinds_of_values(tmp_path):
    result = {
        "nan": math.nan,
        "inf": math.inf,
        "minus": -math.inf,
        "none": None,
        "null": "the word null",
        "deep": {"nan": [math.nan, None], "none": None},
        "huge": 10**30,
        "numpy": np.int64(3),
        "array": np.arange(3),
        "torch": torch.tensor([1.5]),
        "bytes": b"x",
        "tuple": (1, 2),
        4: "number as key",
        "lone": "\ud800",
    }
    log(JsonLoggerCallback(), make_trial(tmp_path), result)
    (row,) = json_rows(tmp_path)
    assert math.isnan(row["nan"])
    assert math.isnan(row["deep"]["nan"][0])
    assert row["deep"]["nan"][1] is None
    assert (row["inf"], row["minus"], row["none"]) == (math.inf, -math.inf, None)
    assert (row["huge"], row["numpy"], row["array"], row["torch"]) == (10**30, 3, [0, 1, 2], [1.5])
    assert (row["bytes"], row["tuple"], row["4"]) == ("b'x'", [1, 2], "number as key")
    assert row["null"] == "the word null"
    assert row["lone"] == "\ud800"


def test_nan_alone_is_not_taken_for_none(tmp_path):
    log(JsonLoggerCallback(), make_trial(tmp_path), {"a": None, "b": math.nan}, {"b": math.nan})
    assert [math.isnan(row["b"]) for row in json_rows(tmp_path)] == [True, True]
    assert json_rows(tmp_path)[0]["a"] is None


def test_params_are_readable_and_exact(tmp_path):
    config = {"lr": 0.1, "betas": (0.9, 0.999), "nan": math.inf, "net": {"layers": [1, 2]}}
    log(JsonLoggerCallback(), make_trial(tmp_path, config=config))
    text = (tmp_path / "params.json").read_text()
    assert json.loads(text) == {**config, "betas": [0.9, 0.999]}
    assert '\n  "lr": 0.1' in text
    assert pickle.loads((tmp_path / "params.pkl").read_bytes()) == config


class StandIn(str):
    pass


def test_no_pickle_of_a_config_that_is_not_known_exactly(tmp_path):
    config = {"net": [StandIn("module.Net")]}
    log(JsonLoggerCallback(), make_trial(tmp_path, config=config), {"loss": 1})
    assert json.loads((tmp_path / "params.json").read_text()) == {"net": ["module.Net"]}
    assert not (tmp_path / "params.pkl").exists()
    assert json_rows(tmp_path)[0]["config"] == {"net": ["module.Net"]}


def test_what_the_recorder_did_not_unpickle_is_exact_in_the_pickle(tmp_path):
    raw = codec.encode_exact({"net": [dict], "f": lambda x: x + 1, "n": np.int64(3)})
    trial = make_trial(tmp_path, config=codec.decode(raw, unpickle=False))
    log(JsonLoggerCallback(), trial, {"loss": 1})
    config = pickle.loads((tmp_path / "params.pkl").read_bytes())
    assert config["net"] == [dict]
    assert config["f"](1) == 2
    assert json.loads((tmp_path / "params.json").read_text())["n"] == 3


def test_rewinding_drops_the_superseded_lines(tmp_path):
    logger, trial = JsonLoggerCallback(), make_trial(tmp_path)
    log(logger, trial, *({"training_iteration": i, "x": math.nan} for i in (1, 2, 3)))
    logger.on_trial_rewound(trial, 1)
    log(logger, trial, {"training_iteration": 2, "x": 5})
    rows = json_rows(tmp_path)
    assert [row["training_iteration"] for row in rows] == [1, 2]
    assert rows[1]["x"] == 5
