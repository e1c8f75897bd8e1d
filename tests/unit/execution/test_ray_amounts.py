"""Which bundles are refused before Ray is asked for them."""

from __future__ import annotations

import pytest

from tuner.bundles import Bundle
from tuner.errors import ResourceError
from tuner.execution.ray_amounts import actor_options, check_amounts

pytest.importorskip("ray")


@pytest.mark.parametrize(
    ("bundle", "problem"),
    [
        ({"CPU": 0.00009}, "CPU=9e-05: Ray counts in steps of 0.0001"),
        ({"CPU": 1.0, "license": 1e-6}, "license=1e-06: Ray counts in steps of 0.0001"),
        ({"GPU": 2.5}, "GPU=2.5: Ray gives a part of one, or whole ones; ask for 2 or 3"),
        ({"TPU": 3.0}, "TPU=3: Ray refuses this"),
        ({"object_store_memory": 1e6}, r"object_store_memory=1e\+06: Ray reserves none of it"),
    ],
)
def test_what_an_actor_never_gets_is_refused_by_name(bundle: Bundle, problem: str) -> None:
    with pytest.raises(ResourceError, match=f"the trial asks for {problem}"):
        check_amounts([bundle])
    check_amounts([{}, bundle])  # a trial may share it out among several actors


@pytest.mark.parametrize("name", ["bundle", "CPU_group_0_1234"])
def test_names_of_ray_are_refused_in_every_bundle(name: str) -> None:
    with pytest.raises(ResourceError, match=f"{name}=1: Ray uses such a name itself"):
        check_amounts([{"CPU": 1.0}, {name: 1.0}])


def test_what_can_be_given_is_asked_for() -> None:
    bundle = {"CPU": 0.0001, "GPU": 2.0, "memory": 0.5, "license": 1.5, "TPU": 4.0}
    check_amounts([bundle])
    assert actor_options(bundle) == {
        "num_cpus": 0.0001,
        "num_gpus": 2.0,
        "memory": 0,
        "resources": {"license": 1.5, "TPU": 4.0},
    }
