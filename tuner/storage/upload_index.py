"""What of an experiment is on remote storage, noted beside the journal."""

from __future__ import annotations

import os

import orjson

from tuner.layout import JOURNAL_FOLDER, UPLOADS_FILE

Signature = list[int]
"""Size and time of change of a file."""


class UploadIndex:
    """How far the upload of an experiment has come.

    Args:
        staging: The local folder that holds the experiment.

    Attributes:
        segments: So many segments of the journal are there.
        journaled: So many facts are in them.
        facts: The consequences of so many facts are there: files, checkpoints, deletions. They
            are no more than are in the journal there, which is all that another machine finds.
        snapshot: The snapshot that is there, as path in the experiment's folder.
        files: The files of other trials that are there, by their paths in the experiment's
            folder, as they were when they were sent.
    """

    PATH = f"{JOURNAL_FOLDER}/{UPLOADS_FILE}"

    def __init__(self, staging: str) -> None:
        self._path = os.path.join(staging, self.PATH)
        self.segments = 0
        self.journaled = 0
        self.facts = 0
        self.snapshot = ""
        self.files: dict[str, Signature] = {}
        if os.path.exists(self._path):
            with open(self._path, "rb") as file:
                content = orjson.loads(file.read())
            self.segments, self.journaled = content["segments"], content["journaled"]
            self.facts, self.snapshot = content["facts"], content["snapshot"]
            self.files = content["files"]

    def save(self) -> None:
        """Notes it in the staging folder."""
        content = {
            "segments": self.segments,
            "journaled": self.journaled,
            "facts": self.facts,
            "snapshot": self.snapshot,
            "files": self.files,
        }
        with open(f"{self._path}.new", "wb") as file:
            file.write(orjson.dumps(content))
        os.replace(f"{self._path}.new", self._path)
