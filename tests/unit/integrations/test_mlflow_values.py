"""Keys, texts and numbers as MLflow takes them, checked by MLflow's own rules."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.integrations.mlflow_values import (
    MAX_KEY,
    PARENT_RUN_ID,
    absolute_uri,
    changed,
    clean_key,
    clean_keys,
    metrics_of,
    number_of,
    params_of,
    shortened,
)

validation = pytest.importorskip("mlflow.utils.validation")


@given(st.text())
def test_every_name_becomes_one_that_mlflow_takes(name: str) -> None:
    key = clean_key(name)
    validation._validate_metric_name(key)
    assert 0 < len(key) <= MAX_KEY


@given(st.from_regex(r"[a-z]\w*(/[a-z][\w. :-]*\w)?", fullmatch=True))
def test_a_name_that_mlflow_takes_stays(name: str) -> None:
    if len(name) <= MAX_KEY and name.isascii():
        assert clean_key(name) == name


def test_long_names_with_the_same_beginning_stay_different() -> None:
    assert clean_key("x" * 300 + "a") != clean_key("x" * 300 + "b")


@given(st.lists(st.text("ab?!/.", max_size=4), unique=True))
def test_names_that_differ_stay_different(names: list[str]) -> None:
    keys = clean_keys(names)
    assert list(keys) == names
    assert len(set(keys.values())) == len(names)


def test_a_name_that_mlflow_takes_stays_beside_one_that_would_become_it() -> None:
    keys = clean_keys(["dup_", "dup?"])
    assert keys["dup_"] == "dup_" != keys["dup?"]
    assert len(metrics_of({"dup!": 1, "dup?": 2})) == 2
    assert len(params_of({"dup!": 1, "dup?": 2})) == 2


@given(st.text(st.characters()), st.integers(1, 20))
def test_every_text_can_be_sent(text: str, limit: int) -> None:
    sent = shortened(text, limit)
    sent.encode()
    assert len(sent) <= limit
    params_of({"text": text})["text"].encode()


def test_metrics_are_the_numbers_of_a_result() -> None:
    result = {
        "loss": 0.5,
        "nested": {"acc": 1, "text": "no"},
        "flag": True,
        "huge": 10**400,
        "nan": math.nan,
        "list": [1, 2],
        "none": None,
        "config": {"lr": 1},
        "training_iteration": 3,
        "pid": 12,
        "timestamp": 99,
        "done": False,
    }
    metrics = metrics_of(result)
    assert math.isnan(metrics.pop("nan"))
    assert metrics == {
        "loss": 0.5,
        "nested/acc": 1.0,
        "flag": 1.0,
        "huge": math.inf,
        "training_iteration": 3.0,
    }


def test_params_are_texts_of_flat_values() -> None:
    config = {"a": {"b": [1, {"c": math.inf}], 3: None}, "text": "x", "empty": {}, "t": (1, 2)}
    assert params_of(config) == {
        "a/b": '[1, {"c": Infinity}]',
        "a/3": "None",
        "text": "x",
        "empty": "{}",
        "t": "[1, 2]",
    }


def test_what_changed_has_both_values() -> None:
    before = {"lr": 0.1, "model": {"act": "relu", "n": 2}, "gone": 1}
    after = {"lr": 0.2, "model": {"act": "tanh", "n": 2}, "new": 5}
    assert changed(before, after) == {
        "config/lr": (0.1, 0.2),
        "config/model/act": ("relu", "tanh"),
        "config/gone": (1, None),
        "config/new": (None, 5),
    }


def test_a_truth_value_is_no_number_in_a_series() -> None:
    assert number_of(True) is None
    assert number_of(2) == 2.0


@pytest.mark.parametrize(
    ("uri", "absolute"),
    [
        ("sqlite:///a.db", "sqlite:////home/a.db"),
        ("sqlite:////x/a.db", "sqlite:////x/a.db"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("mlruns", "/home/mlruns"),
        ("file:///x", "file:///x"),
        ("azureml://westus", "azureml://westus"),
        ("databricks", "databricks"),
        ("databricks://profile", "databricks://profile"),
    ],
)
def test_uris_mean_the_same_everywhere(uri: str, absolute: str) -> None:
    assert absolute_uri(uri, "/home") == absolute


def test_the_tag_of_parents_is_mlflows_own() -> None:
    tags = pytest.importorskip("mlflow.utils.mlflow_tags")
    assert tags.MLFLOW_PARENT_RUN_ID == PARENT_RUN_ID
