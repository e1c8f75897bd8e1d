"""What is said of names of the older APIs."""

from __future__ import annotations

import warnings

import pytest

import tuner as tune
from tuner.legacy.deprecation import warn_once

pytestmark = pytest.mark.usefixtures("nothing_was_said")


def test_todays_form_is_named_once() -> None:
    with pytest.warns(FutureWarning, match="^old is of an older API; today's form is new$"):
        warn_once("old", "new")
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        warn_once("old", "new")


def test_what_needs_no_successor_says_why() -> None:
    expected = (
        r"^tune.track.init\(\) is of an older API and has no effect: tune.report\({…}\) needs"
    )
    with pytest.warns(FutureWarning, match=expected):
        tune.track.init()
