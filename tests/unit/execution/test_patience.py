"""What can be placed on a cluster, and how long it is waited for."""

from __future__ import annotations

import itertools
import logging
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.execution.cluster_survey import Survey
from tuner.execution.patience import Patience
from tuner.execution.process_executor import Needs

ONE = Needs("PACK", ((("CPU", 1.0),),))
THREE = Needs("PACK", ((("CPU", 1.0),),) * 3)
EIGHT = Needs("PACK", ((("CPU", 8.0),),))


def survey(*cpus: float, has_autoscaler: bool = False) -> Survey:
    nodes = [{"CPU": each} for each in cpus]
    return Survey({"CPU": sum(cpus)}, nodes, has_autoscaler, frozenset())


@pytest.mark.parametrize(
    ("bundles", "strategy", "fits"),
    [
        ([2, 2], "PACK", True),
        ([2, 2], "STRICT_PACK", False),
        ([1, 1], "STRICT_PACK", True),
        ([1, 1], "STRICT_SPREAD", True),
        ([1, 1, 1], "STRICT_SPREAD", False),
        ([1, 1, 1, 1], "SPREAD", True),
        ([1, 1, 1, 1, 1], "SPREAD", False),
        ([3], "PACK", False),
        ([1, 1, 2], "PACK", True),
        ([0.5] * 8, "PACK", True),
        ([0], "PACK", True),
    ],
)
def test_what_two_nodes_of_two_cpus_can_give(
    bundles: list[float], strategy: str, fits: bool
) -> None:
    placed = survey(2, 2).can_place([{"CPU": float(each)} for each in bundles], strategy)
    assert placed is fits


def test_a_resource_that_no_node_has() -> None:
    assert not survey(2).can_place([{"CPU": 1.0, "license": 1.0}], "PACK")
    assert not survey().can_place([{"CPU": 1.0}], "PACK")


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=3),
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
)
def test_what_is_said_to_fit_does(nodes: list[int], bundles: list[int]) -> None:
    """Beside all ways to lay bundles out: never too much, and a single bundle is never wrong."""
    ways = itertools.product(range(len(nodes)), repeat=len(bundles))
    possible = any(
        all(
            sum(size for size, at in zip(bundles, way, strict=True) if at == node) <= room
            for node, room in enumerate(nodes)
        )
        for way in ways
    )
    said = survey(*nodes).can_place([{"CPU": float(each)} for each in bundles], "PACK")
    assert possible or not said
    if len(bundles) == 1:
        assert said is possible


def test_others_that_use_the_resources_are_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    patience = Patience(5.0)
    assert patience.look(ONE, 9.0, survey(2)) is None
    assert caplog.messages == []
    assert patience.look(ONE, 1e6, survey(2)) is None
    assert patience.look(ONE, 1e6, survey(2)) is None
    assert caplog.messages == ["a trial waits for {CPU: 1}, which others use"]
    patience.forget(ONE)
    patience.look(ONE, 11.0, survey(2))
    assert len(caplog.messages) == 2


def test_what_the_nodes_cannot_give_is_waited_for_so_long(caplog: pytest.LogCaptureFixture) -> None:
    patience = Patience(30.0)
    assert patience.look(THREE, 1.0, survey(2)) is None
    assert caplog.messages == [
        "a trial asks for {CPU: 1} + {CPU: 1} + {CPU: 1}, more than the nodes have ({CPU: 2}); "
        "it waits 30 s at most for more nodes"
    ]
    assert patience.refuses(THREE, survey(2)) is None
    refusal = patience.look(THREE, 31.0, survey(2))
    assert refusal is not None
    assert refusal.endswith(
        "more than the nodes have ({CPU: 2}), and has waited 31 s for more nodes"
    )


def test_who_waits_for_ever_is_told_so(caplog: pytest.LogCaptureFixture) -> None:
    assert Patience(math.inf).look(EIGHT, 1e9, survey(2)) is None
    assert caplog.messages == [
        "a trial asks for {CPU: 8}, more than the nodes have ({CPU: 2}); it waits for more nodes"
    ]


def test_what_every_node_has_is_told_to_those_who_ask_for_it() -> None:
    node = {"CPU": 2.0, "memory": 100.0, "node:10.0.0.1": 1.0, "accelerator_type:T4": 1.0}
    seen = Survey(node, [node], False, frozenset())
    assert seen.shown_total(()) == {"CPU": 2.0}
    assert seen.shown_total({"memory"}) == {"CPU": 2.0, "memory": 100.0}
    assert seen.can_place([{"memory": 50.0, "node:10.0.0.1": 0.1}], "PACK")
    for name, amount in (("memory", 101.0), ("accelerator_type:T4", 2.0)):
        refusal = Patience(0.0).look(Needs("PACK", (((name, amount),),)), 0.0, seen)
        there_are = ", ".join(f"{each}: {node[each]:g}" for each in sorted(["CPU", name]))
        assert f"more than the nodes have ({{{there_are}}})" in str(refusal)


def test_what_is_asked_for_beyond_what_there_is_is_to_come() -> None:
    here = survey(2)
    assert here.with_more_to_come((), [{"CPU": 2.0}, {"CPU": 3.0}], {"CPU": 3.0}, 4) == {"CPU": 5.0}
    assert here.with_more_to_come((), [{"license": 1.0}], {}, 0) == {"CPU": 2.0, "license": 1.0}
    grows = survey(2, has_autoscaler=True)
    assert grows.with_more_to_come((), [], {"CPU": 1.0}, 0) == {"CPU": 3.0}
    assert grows.with_more_to_come((), [], {"CPU": 1.0}, 4) == {"CPU": 6.0}
    assert grows.with_more_to_come((), [{"CPU": 9.0}], {"CPU": 1.0}, 4) == {"CPU": 11.0}


def test_who_asks_for_the_same_waits_no_more_until_there_is_more() -> None:
    patience = Patience(0.0)
    patience.look(EIGHT, 0.0, survey(2))
    assert "asks for {CPU: 8}" in str(patience.refuses(EIGHT, survey(2)))
    assert patience.refuses(ONE, survey(2)) is None
    assert patience.refuses(EIGHT, survey(2, 8)) is None
    assert patience.refuses(EIGHT, survey(2)) is None, "it is given time again"


@pytest.mark.parametrize(
    ("limit", "autoscaler", "waits"),
    [(None, False, 60.0), (None, True, 900.0), (5.0, True, 5.0), (math.inf, False, math.inf)],
)
def test_with_an_autoscaler_there_is_more_time(
    limit: float | None, autoscaler: bool, waits: float, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    patience, seen = Patience(limit), survey(2, has_autoscaler=autoscaler)
    before = waits - 0.1 if waits < math.inf else 1e9
    assert patience.look(EIGHT, before, seen) is None
    if waits < math.inf:
        assert patience.look(EIGHT, waits, seen) is not None
