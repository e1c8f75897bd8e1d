"""Searchers and schedulers by their names."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path

import pytest
from searchers import SEARCHERS as LIBRARIES

import tuner as tune
from tuner.by_name import SCHEDULERS, SEARCHERS
from tuner.errors import ConfigError, MissingDependencyError
from tuner.schedulers.async_hyperband import AsyncHyperBandScheduler
from tuner.search import BasicVariantGenerator


@pytest.mark.parametrize("place", [*SEARCHERS.values(), *SCHEDULERS.values()])
def test_every_name_leads_to_a_class(place: str) -> None:
    module, _, name = place.partition(":")
    assert isinstance(getattr(importlib.import_module(module), name), type)


def test_every_searcher_of_a_library_has_a_name_and_an_extra() -> None:
    places = {f"{kind.__module__}:{kind.__name__}" for kind in LIBRARIES.values()}
    assert places <= set(SEARCHERS.values())
    pyproject = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    extras = pyproject["project"]["optional-dependencies"]
    assert {kind.extra for kind in LIBRARIES.values()} <= extras.keys()


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name, kind in LIBRARIES.items():
        with pytest.raises(MissingDependencyError, match=rf"pip install 'tuner\[{kind.extra}\]'"):
            tune.create_searcher(name)


def test_arguments_are_passed_on() -> None:
    scheduler = tune.create_scheduler("ASHA", max_t=7)
    assert isinstance(scheduler, AsyncHyperBandScheduler)
    assert isinstance(tune.create_searcher("random", max_concurrent=2), BasicVariantGenerator)


def test_errors_name_what_there_is() -> None:
    with pytest.raises(ConfigError, match=r"search_alg='optun' must be one of .*'optuna'\?"):
        tune.create_searcher("optun")
    with pytest.raises(ConfigError, match=r"search_alg='HEBO' must be one of .*: HEBO cannot be"):
        tune.create_searcher("HEBO")
    with pytest.raises(
        ConfigError, match=r"is a PopulationBasedTrainingReplay, and missing .*policy"
    ):
        tune.create_scheduler("pbt_replay")
    with pytest.raises(ConfigError, match="unexpected keyword argument 'max'"):
        tune.create_scheduler("asha", max=1)
