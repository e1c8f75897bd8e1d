"""What MLflow takes: its limits, and configurations and results brought within them."""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from tuner.flatten import flatten
from tuner.metrics import as_number
from tuner.recording.json import plain
from tuner.result_fields import AUTOFILLED
from tuner.utf8 import encoded, escaped

PARENT_RUN_ID = "mlflow.parentRunId"
"""The tag that nests a run; `mlflow.utils.mlflow_tags.MLFLOW_PARENT_RUN_ID`."""

MAX_METRICS = 1000  # in one request, everything together
MAX_PARAMS = MAX_TAGS = 100
MAX_KEY = 250
MAX_PARAM = 6000
MAX_TAG = 5000
OLDER_MAX_PARAMS = (500, 250)  # of older servers, longest first

_INVALID = re.compile(r"[^/\w.\- :]")
_SHOWN = frozenset({"episodes_total", "time_this_iter_s", "time_total_s", "timesteps_total"})
_NOT_METRICS = AUTOFILLED - _SHOWN - {"training_iteration"} | {"config"}


def metrics_of(result: dict[str, Any]) -> dict[str, float]:
    """The numbers of a result, flat; of the autofilled fields those that tell something.

    Example:
        >>> metrics_of({"eval": {"acc": 0.5, "ok": True}, "note": "x", "pid": 7, "loss?": 1})
        {'eval/acc': 0.5, 'eval/ok': 1.0, 'loss_': 1.0}
    """
    own = {name: value for name, value in result.items() if name not in _NOT_METRICS}
    numbers = {name: as_number(value) for name, value in flatten(own).items()}
    keys = clean_keys(name for name, number in numbers.items() if number is not None)
    return {key: number for name, key in keys.items() if (number := numbers[name]) is not None}


def params_of(config: dict[str, Any]) -> dict[str, str]:
    """A configuration as flat texts, of any length.

    Example:
        >>> params_of({"model": {"layers": [64, 64], "act": "relu"}, "lr": 0.1})
        {'model/layers': '[64, 64]', 'model/act': 'relu', 'lr': '0.1'}
    """
    flat = flatten(config)
    return {key: _text(flat[name]) for name, key in clean_keys(flat).items()}


def changed(before: dict[str, Any], after: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The parameters that differ in two configurations: old and new value, None where missing.

    Example:
        >>> changed({"lr": 0.1, "n": 2}, {"lr": 0.2, "n": 2})
        {'config/lr': (0.1, 0.2)}
    """
    old, new = flatten(before), flatten(after)
    pairs = {f"config/{name}": (old.get(name), new.get(name)) for name in [*old, *new]}
    keys = clean_keys(pairs)
    return {keys[name]: pair for name, pair in pairs.items() if _text(pair[0]) != _text(pair[1])}


def number_of(value: Any) -> float | None:
    """A parameter as a number, None if it is none; truth values are none here."""
    return None if isinstance(value, bool) else as_number(value)


def clean_keys(names: Iterable[str]) -> dict[str, str]:
    """The names as MLflow allows them; those that would become the same get short hashes.

    Example:
        >>> clean_keys(["a[0]", "b?", "b!"])
        {'a[0]': 'a_0_', 'b?': 'b__b1d92f8c', 'b!': 'b__9beaf403'}
    """
    keys = {name: clean_key(name) for name in names}
    counts = Counter(keys.values())
    if len(counts) == len(keys):
        return keys
    return {
        name: key if counts[key] == 1 or name == key else _with_hash(key, name)
        for name, key in keys.items()
    }


def clean_key(name: str) -> str:
    """The name as MLflow allows it: what it refuses becomes `_`, a long one gets a short hash.

    Example:
        >>> clean_key("a//b[0]"), clean_key("../x"), len(clean_key("x" * 300))
        ('a/b_0_', '_/x', 250)
    """
    cleaned = _INVALID.sub("_", name)
    if cleaned != posixpath.normpath(cleaned) or cleaned[0] in "./":
        parts = (re.sub(r"^\.\.?$", "_", part) for part in cleaned.split("/"))
        cleaned = "/".join(part for part in parts if part) or "_"
    return cleaned if len(cleaned) <= MAX_KEY else _with_hash(cleaned, name)


def _with_hash(key: str, name: str) -> str:
    digest = hashlib.sha256(encoded(name)).hexdigest()[:8]
    return f"{key[: MAX_KEY - 9]}_{digest}"


def shortened(text: str, limit: int) -> str:
    """The text as it can be sent, cut to a number of characters; an ellipsis tells that it was.

    Example:
        >>> shortened("abcdef", 4)
        'abc…'
    """
    text = escaped(text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def absolute_uri(uri: str | os.PathLike[str], base: str) -> str:
    """A tracking URI that means the same in every working directory.

    Example:
        >>> absolute_uri("sqlite:///mlflow.db", "/home/ada"), absolute_uri("./mlruns", "/home/ada")
        ('sqlite:////home/ada/mlflow.db', '/home/ada/mlruns')
        >>> absolute_uri("http://localhost:5000", "/home/ada")
        'http://localhost:5000'
    """
    text = os.fspath(uri)
    scheme, separator, path = text.partition(":///")
    if scheme == "sqlite" and separator and path != ":memory:":
        return f"sqlite:///{os.path.join(base, path)}"
    if ":" in text or text in ("databricks", "uc", "databricks-uc"):
        return text
    return os.path.normpath(os.path.join(base, os.path.expanduser(text)))


def _text(value: Any) -> str:
    if isinstance(value, list | tuple | dict):
        return json.dumps(plain(value))
    return escaped(str(value))
