"""What a Ray cluster has, as of a moment, and what could be placed on it if it were empty."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from tuner.bundles import Bundle, Bundles, sum_bundles

_EPSILON = 1e-6
_SELDOM_ASKED_FOR = ("node:", "object_store_memory", "accelerator_type:", "memory")


@dataclass(frozen=True, slots=True)
class Survey:
    """What a cluster has.

    Attributes:
        total: What all nodes together have.
        nodes: What each of them has.
        has_autoscaler: Whether there will be more nodes if more is asked for.
        placed: Numbers of the slots, of those asked about, whose resources are reserved.
    """

    total: dict[str, float]
    nodes: list[Bundle]
    has_autoscaler: bool
    placed: frozenset[int]

    def can_place(self, bundles: Bundles, strategy: str) -> bool:
        """Whether these nodes could give such bundles if nothing else ran there.

        Bundles are put where there is room, large ones first, as Ray does.

        Example:
            >>> two = Survey({"CPU": 4.0}, [{"CPU": 2.0}, {"CPU": 2.0}], False, frozenset())
            >>> two.can_place([{"CPU": 2.0}] * 2, "PACK"), two.can_place([{"CPU": 3.0}], "PACK")
            (True, False)
            >>> two.can_place([{"CPU": 1.0}] * 3, "STRICT_SPREAD")
            False
        """
        if strategy == "STRICT_PACK":
            bundles = [dict(sum_bundles(bundles))]
        rooms = [dict(node) for node in self.nodes]
        for bundle in sorted(bundles, key=lambda each: sum(each.values()), reverse=True):
            room = next((room for room in rooms if _fits(bundle, room)), None)
            if room is None:
                return False
            for name, amount in bundle.items():
                room[name] -= amount
            if strategy == "STRICT_SPREAD":
                rooms.remove(room)
        return True

    def shown_total(self, asked: Collection[str]) -> dict[str, float]:
        """What all nodes have of what users care for.

        Args:
            asked: Names of resources that trials have asked for.
        """
        return {name: n for name, n in self.total.items() if _is_shown(name, asked)}

    def with_more_to_come(
        self, asked: Collection[str], waiting: list[Bundle], last: Bundle, num_running: int
    ) -> dict[str, float]:
        """What trials may count on: what there is, and more where the cluster may yet grow.

        Args:
            asked: Names of resources that trials have asked for.
            waiting: What trials wait for; it counts where it is more than there is.
            last: What the last trial asked for; an autoscaler adds as much for other trials.
            num_running: How many trials run, by which it is decided for how many.
        """
        total = self.shown_total(asked)
        for bundle in waiting:
            for name, amount in bundle.items():
                if amount > self.total.get(name, 0.0):
                    total[name] = total.get(name, 0.0) + amount
        if self.has_autoscaler:
            for name, amount in last.items():
                more = self.total.get(name, 0.0) + max(1, num_running) * amount
                total[name] = max(more, total.get(name, 0.0))
        return total

    def nodes_in_words(self, asked: Collection[str]) -> str:
        """What the nodes have of what users care for, each kind of node once."""
        kinds = {
            str({name: f"{node[name]:g}" for name in sorted(node) if _is_shown(name, asked)})
            for node in self.nodes
        }
        return ", ".join(sorted(kinds)).replace("'", "")


def _is_shown(name: str, asked: Collection[str]) -> bool:
    """Whether users care for it: every node has some of the others, and no trial asks for them."""
    return name in asked or not name.startswith(_SELDOM_ASKED_FOR)


def _fits(bundle: Bundle, room: Bundle) -> bool:
    return all(amount <= room.get(name, 0.0) + _EPSILON for name, amount in bundle.items())
