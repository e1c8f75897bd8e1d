"""What the tests of kills share."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from harness import Chaos
from verdict import judge, outcome


@pytest.fixture(scope="session")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[tuple[Any, ...]]]:
    """The outcome, under a policy, of an experiment that nobody kills."""

    @cache
    def untouched(policy: str) -> list[tuple[Any, ...]]:
        with Chaos(tmp_path_factory.mktemp("untouched") / policy, policy) as chaos:
            chaos.finish()
            assert judge(chaos).is_clean
            return outcome(chaos)

    return untouched
