"""A text stream that does not fail: when nobody reads any more, it falls silent."""

from __future__ import annotations

import os
import shutil
from typing import TextIO


class Output:
    """What the console writes to.

    A closed pipe, a terminal that went away or an encoding without the character at hand never
    ends an experiment.

    Args:
        stream: Where text goes, None for nowhere.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = stream
        self.encoding = getattr(stream, "encoding", None) or "utf-8"
        self._broken = stream is None

    def write(self, text: str) -> int:
        """Writes text; drops it if the stream is gone."""
        if self._broken or self.stream is None:
            return len(text)
        try:
            self.stream.write(text)
        except UnicodeEncodeError:
            self.stream.write(text.encode(self.encoding, "replace").decode(self.encoding))
        except BlockingIOError:
            pass
        except (OSError, ValueError):
            self._broken = True
        return len(text)

    def flush(self) -> None:
        """Hands on what was written."""
        if self._broken or self.stream is None:
            return
        try:
            self.stream.flush()
        except BlockingIOError:
            pass
        except (OSError, ValueError):
            self._broken = True

    def isatty(self) -> bool:
        """Whether a terminal shows it."""
        try:
            return self.stream is not None and self.stream.isatty()
        except ValueError:  # closed
            return False

    def fileno(self) -> int:
        """The stream's file descriptor."""
        if self.stream is None:
            raise OSError("there is no stream")
        return self.stream.fileno()

    @property
    def colours(self) -> bool:
        """Whether escape sequences for colours are welcome."""
        return self.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"

    def paint(self, text: str, code: str) -> str:
        """Text in a colour (an SGR code such as `"31"`) where colours are welcome."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.colours else text

    def size(self) -> tuple[int, int]:
        """Columns and rows of the terminal; 80 and 24 if it does not say."""
        columns, rows = shutil.get_terminal_size()  # obeys COLUMNS and LINES
        if "COLUMNS" in os.environ:
            return columns, rows
        try:
            own = os.get_terminal_size(self.fileno())
        except (AttributeError, OSError, ValueError):
            return columns, rows
        return own.columns or 80, own.lines or 24

    def width(self) -> int | None:
        """Columns that a table may take; None where no terminal limits it."""
        if self.isatty() or "COLUMNS" in os.environ:
            return self.size()[0]
        return None
