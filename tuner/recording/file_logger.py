"""The base of the loggers that write files into the trials' folders."""

from __future__ import annotations

from typing import ClassVar

from tuner.callbacks.logger import LoggerCallback
from tuner.recording.bookmarks import Bookmarks
from tuner.recording.files import LogFiles


class FileLogger(LoggerCallback):
    """A logger in the recorder whose files survive a crash of the recorder unharmed.

    Attributes:
        files: The files that it writes.
    """

    in_recorder: ClassVar[bool] = True

    def __init__(self) -> None:
        self.files = LogFiles()

    def keep_bookmarks(self, bookmarks: Bookmarks) -> None:
        """Has the lengths of its files kept there; called before anything is logged."""
        self.files = LogFiles(bookmarks)

    def flush(self) -> None:
        self.files.flush()

    def close(self) -> None:
        self.files.close()
