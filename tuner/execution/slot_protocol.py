"""What a slot of a Ray cluster and the controller say to each other; see `protocol` for frames.

A slot opens one connection to control it, and two for each worker that it starts: the line, and
what the worker prints. The first thing that is said on each is a hello, which tells which it is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from tuner.bundles import Bundles
from tuner.execution.launchers import WorkerExit, WorkerSetup
from tuner.execution.protocol import frame
from tuner.handshake import Address

# Controller to slot
LAUNCH = 20  # {"worker": id}
KILL = 21  # {"worker": id, "signal": number}

# Slot to controller
EXITED = 30  # {"worker_id": id, "code": number, "why": text or null}

Role = Literal["control", "line", "output"]


@dataclass(frozen=True, slots=True)
class SlotOrder:
    """What a slot is started with.

    Attributes:
        slot_id: Its number.
        address: Where the controller listens.
        secret: What proves that they belong together.
        setup: What workers take over from the user's script.
        is_shared: Whether slots see the experiment's folder; None if each is to look.
        probe: A file in that folder and its content, to look for.
        directory: The working directory of the user's script.
        import_path: Where the user's script imports from.
        bundles: The resources that the slot has.
    """

    slot_id: int
    address: Address
    secret: bytes
    setup: WorkerSetup
    is_shared: bool | None
    probe: tuple[str, str] | None
    directory: str
    import_path: list[str]
    bundles: Bundles

    def __repr__(self) -> str:
        return f"SlotOrder({self.slot_id})"  # the secret is in nobody's log


def hello(role: Role, slot_id: int, **more: Any) -> dict[str, Any]:
    """What a connection begins with."""
    return {"role": role, "slot": slot_id, **more}


def slot_frame(kind: int, **fields: Any) -> bytes:
    """A message between controller and slot."""
    return frame(kind, json.dumps(fields).encode())


def exited_frame(ended: WorkerExit) -> bytes:
    """The message that a worker is gone."""
    return slot_frame(EXITED, worker_id=ended.worker_id, code=ended.code, why=ended.why)


def parse_exited(body: bytes) -> WorkerExit:
    """The worker that is gone."""
    return WorkerExit(**json.loads(body))
