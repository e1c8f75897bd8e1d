"""What it takes to upload an experiment while it runs."""

from __future__ import annotations

from dataclasses import dataclass

from tuner.config import SyncConfig
from tuner.storage.lease import Lease
from tuner.storage.storage import Storage


@dataclass(frozen=True, slots=True)
class UploadPlan:
    """How an experiment is brought to remote storage.

    Attributes:
        storage: Where it goes.
        config: How often, and what.
        lease: The right to write there.
        outputs: Names of the files that take what trials print.
    """

    storage: Storage
    config: SyncConfig
    lease: Lease
    outputs: tuple[str, ...]
