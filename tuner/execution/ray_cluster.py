"""What the Ray executor asks of Ray: the cluster, its resources, and actors placed on them."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from tuner.bundles import Bundles, sum_bundles
from tuner.errors import MissingDependencyError, TrainableError
from tuner.execution.cluster_survey import Survey
from tuner.execution.ray_amounts import OF_PLACEMENTS, actor_options, check_amounts
from tuner.execution.ray_head import Head, NoAnswer
from tuner.execution.ray_pointer import dead_address, pointer_file

logger = logging.getLogger(__name__)

ADDRESS_VARIABLE = "RAY_ADDRESS"
_AUTO_VARIABLE = "RAY_ENABLE_AUTO_CONNECT"
_NOT_HERE = "a trial that calls Ray needs RunConfig(executor=RayExecutor(uses_ray=True))"
_AUTOSCALER_STATUS = "__autoscaling_status"
_NOTES = b"tuner"
_LARGE = 1024 * 1024  # bytes
_NEXT_TO_NOTHING = {"memory": 1.0}  # a byte, as Ray places nothing that asks for nothing


def is_wanted() -> bool:
    """Whether this process is connected to Ray, or was told where to connect."""
    if os.environ.get(ADDRESS_VARIABLE, _NOT_HERE) != _NOT_HERE:
        return True
    ray = sys.modules.get("ray")
    return ray is not None and bool(getattr(ray, "is_initialized", bool)())


def connect(address: str | None) -> None:
    """Connects to a cluster, unless this process is connected; without one, starts one here.

    Args:
        address: The cluster; by default `RAY_ADDRESS`, else one that runs on this machine.

    Raises:
        MissingDependencyError: Ray is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingDependencyError(
            f"the Ray executor needs ray ({error}); install it with: pip install 'tuner[ray]'"
        ) from error
    if ray.is_initialized():
        return
    if not (address or os.environ.get(ADDRESS_VARIABLE)) and (dead := dead_address()):
        logger.warning(
            "starting a Ray cluster here, as nobody answers at %s, where %s says that one is: "
            "remove that file, or set RAY_ADDRESS to a cluster",
            dead,
            pointer_file(),
        )
        address = "local"
    with _own_signals_kept():
        ray.init(address=address, log_to_driver=True)


@contextlib.contextmanager
def _own_signals_kept() -> Iterator[None]:
    """Undoes that Ray takes SIGTERM as its own when it connects, and ends the process at it."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


def refuse() -> None:
    """Has Ray refuse to be used in processes that this one starts; it would start a cluster there.

    An address that is none makes `ray.init` fail, and tells why.
    """
    os.environ[_AUTO_VARIABLE] = "0"
    os.environ[ADDRESS_VARIABLE] = _NOT_HERE


def explained(error: BaseException) -> BaseException:
    """Returns an error of a trial; for one of Ray's after `refuse`, one that says what to do."""
    is_of_ray = type(error).__module__.startswith("ray.") and "has not been started" in str(error)
    if not is_of_ray or os.environ.get(ADDRESS_VARIABLE) != _NOT_HERE:
        return error
    return TrainableError(
        "Ray was called in a process that is not connected to it, as neither the trainable's code "
        f"nor the param_space shows that trials call it: {_NOT_HERE}, or uses_ray = True on the "
        "function or class"
    ).with_traceback(error.__traceback__)


def node_ip() -> str:
    """The address of this machine in the cluster."""
    import ray

    return str(ray.util.get_node_ip_address())


def survey(placements: dict[int, Placement]) -> Survey:
    """What the cluster has; Ray may take its time to tell.

    Args:
        placements: What is waited for, by the number of its slot.
    """
    import ray

    nodes = [
        {name: n for name, n in node["Resources"].items() if OF_PLACEMENTS not in name}
        for node in ray.nodes()
        if node["Alive"]
    ]
    total = dict(sum_bundles(nodes))
    for name, amount in _most_by_autoscaler().items():
        total[name] = max(amount, total.get(name, 0.0))
    return Survey(
        total={"CPU": 0.0, "GPU": 0.0, **total},
        nodes=nodes,
        has_autoscaler=_has_autoscaler(),
        placed=frozenset(number for number, each in placements.items() if each.is_placed()),
    )


def first_survey(head: Head) -> Survey:
    """What the cluster has; nothing if its head does not answer, which is to be asked again."""
    try:
        return head.ask(partial(survey, {}))
    except NoAnswer:
        return Survey({"CPU": 0.0, "GPU": 0.0}, [], has_autoscaler=False, placed=frozenset())


def is_lost(node_id: str, head: Head) -> bool:
    """Whether a node belongs to the cluster no more, or nobody tells."""
    import ray

    try:
        nodes = head.ask(ray.nodes)
    except NoAnswer:
        return True
    return not any(node["NodeID"] == node_id and node["Alive"] for node in nodes)


def _most_by_autoscaler() -> dict[str, float]:
    """What there can be at most, as far as an autoscaler has told."""
    from ray._private.state import state

    try:
        most = state.get_max_resources_from_cluster_config()
    except AttributeError:  # no public function tells, and this one may go
        return {}
    return {name: float(amount) for name, amount in (most or {}).items() if amount}


def _has_autoscaler() -> bool:
    """Whether nodes are added to the cluster when more is asked for than there is."""
    from ray.autoscaler.v2.utils import is_autoscaler_v2
    from ray.experimental.internal_kv import _internal_kv_get

    status = json.loads(_internal_kv_get(_AUTOSCALER_STATUS) or "{}")
    kinds = status.get("autoscaler_report", {}).get("node_type_mapping") or {}
    # One that only looks on names each node as a type of its own.
    return is_autoscaler_v2() or any(kind != f"node_{node}" for node, kind in kinds.items())


@dataclass(frozen=True, slots=True)
class Placement:
    """Resources of the cluster, reserved or asked for.

    Attributes:
        bundles: What they are.
        group: Ray's placement group.
        head: The head of the cluster.
    """

    bundles: Bundles
    group: Any
    head: Head

    @classmethod
    def ask(cls, bundles: Bundles, strategy: str, head: Head) -> Placement:
        """Asks for bundles; they are given when the cluster has them.

        Raises:
            ResourceError: No cluster gives them.
            NoAnswer: The head may be gone.
        """
        from ray.util import placement_group, remove_placement_group

        check_amounts(bundles)
        asked = [bundle for bundle in bundles if bundle] or [_NEXT_TO_NOTHING]
        group = head.ask(partial(placement_group, asked, strategy), undo=remove_placement_group)
        return cls(bundles, group, head)

    def is_placed(self) -> bool:
        """Whether it is reserved; Ray may take its time to tell."""
        from ray.util import placement_group_table

        return bool(placement_group_table(self.group).get("state") == "CREATED")

    def start(self, actor_class: type, runtime_env: dict[str, Any] | None) -> Any:
        """Starts an actor in the first bundle, and returns it.

        Args:
            actor_class: Its class.
            runtime_env: What Ray is to prepare for it beside the job's own.

        Raises:
            NoAnswer: The head, which gets the class, may be gone.
        """
        import ray
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        options: dict[str, Any] = {
            **actor_options(self.bundles[0]),
            "max_restarts": 0,
            "scheduling_strategy": PlacementGroupSchedulingStrategy(
                self.group,
                placement_group_capture_child_tasks=True,
                placement_group_bundle_index=0 if self.bundles[0] else -1,
            ),
        }
        if runtime_env is not None:
            options["runtime_env"] = runtime_env
        return self.head.ask(ray.remote(actor_class).options(**options).remote, undo=ray.kill)

    def remove(self) -> None:
        """Gives it back; what runs there is killed. This is not waited for."""
        from ray.util import remove_placement_group

        self.head.tell(partial(remove_placement_group, self.group))


def note_group(trial_id: str, attempt: int) -> None:
    """Notes the placement group of this process, for `remove_noted_group` in another one."""
    from ray.experimental.internal_kv import _internal_kv_put
    from ray.util import get_current_placement_group

    group = pickle.dumps(get_current_placement_group())
    _internal_kv_put(f"{trial_id}/{attempt}", group, namespace=_NOTES)


def remove_noted_group(trial_id: str, attempt: int, head: Head) -> None:
    """Gives back a placement group that an attempt has noted, if it was killed and left it."""
    from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_get
    from ray.util import remove_placement_group

    key = f"{trial_id}/{attempt}"

    def remove() -> None:
        noted = _internal_kv_get(key, namespace=_NOTES)
        if noted is not None:
            _internal_kv_del(key, namespace=_NOTES)
            remove_placement_group(pickle.loads(noted))

    head.tell(remove)


def serve(
    actor: Any, order: Any, content: Any, on_end: Callable[[BaseException | None], None]
) -> Any:
    """Calls the `serve` of an actor, and returns the reference of what it returns.

    Args:
        actor: The actor, which may be on its way.
        order: What `serve` gets.
        content: A reference that it gets, too.
        on_end: Called in some thread when `serve` has ended, or the actor is gone.
    """
    running = actor.serve.remote(order, [content])  # in a list, Ray does not load it
    running.future().add_done_callback(lambda future: on_end(future.exception()))
    return running


def is_unavailable(error: BaseException) -> bool:
    """Whether an actor could not be reached, and Ray does not know yet what became of it."""
    from ray.exceptions import ActorUnavailableError

    return isinstance(error, ActorUnavailableError)


def ask_for_end(actor: Any, on_end: Callable[[BaseException | None], None]) -> None:
    """Has Ray tell when it knows what became of an actor; `on_end` is called in some thread."""
    asked = actor.__ray_ready__.remote()
    asked.future().add_done_callback(lambda future: on_end(future.exception()))


def kill(actor: Any, head: Head) -> None:
    """Has an actor killed; this is not waited for, as Ray does where the head knows none of it."""
    import ray

    head.tell(partial(ray.kill, actor))


def storable(blobs: list[Any]) -> list[Any]:
    """Buffers in a form in which Ray's store is read without a copy, if that is worth it."""
    is_large = sum(memoryview(blob).nbytes for blob in blobs) > _LARGE
    return [_as_array(blob) if is_large else bytes(blob) for blob in blobs]


def _as_array(blob: Any) -> Any:
    import numpy as np  # which takes longer to import than small blobs to copy

    return np.frombuffer(blob, dtype=np.uint8)


def store(value: Any) -> Any:
    """Puts a value into Ray's object store, once for all nodes; returns its reference."""
    import ray

    return ray.put(value)


def wait_for(references: list[Any], timeout_s: float) -> None:
    """Waits until all tasks are over, but not for long."""
    import ray

    if references:
        ray.wait(references, num_returns=len(references), timeout=timeout_s)
