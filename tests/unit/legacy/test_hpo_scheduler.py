"""`HyperOptScheduler`: the search algorithm that it stands for."""

from __future__ import annotations

from typing import Any

import pytest

from tuner.errors import ConfigError
from tuner.legacy.hpo_scheduler import HyperOptScheduler

pytestmark = pytest.mark.filterwarnings("ignore:.*older API:FutureWarning")


@pytest.mark.parametrize("config", [{}, {"space": 3}, {"x": 1}])
def test_a_space_is_needed(config: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="must have the search space as a dictionary"):
        HyperOptScheduler().as_searcher(config)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [({"max_concurrent": 0}, "max_concurrent=0"), ({"reward_attr": ""}, "reward_attr=''")],
)
def test_arguments_are_checked(arguments: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigError, match=f"HyperOptScheduler.*{word}"):
        HyperOptScheduler(**arguments)


def test_the_searcher() -> None:
    hp = pytest.importorskip("hyperopt").hp
    space = {"width": hp.uniform("width", 0, 20), "kind": hp.choice("kind", ["relu", "tanh"])}
    searcher, param_space = HyperOptScheduler(3, "reward").as_searcher({"space": space, "n": 7})
    assert (searcher.metric, searcher.mode, searcher.max_concurrent) == ("reward", "max", 3)
    assert param_space == {"n": 7}
    assert not searcher.set_search_properties(None, None, param_space, seed=1)
    config = searcher.suggest("a")
    assert isinstance(config, dict)
    assert config.keys() == {"width", "kind"}
    assert config["kind"] in ("relu", "tanh")
