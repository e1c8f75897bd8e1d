"""What trials print, as whole lines with the trial's name in front."""

from __future__ import annotations

from collections.abc import Callable

from tuner.console.text import clean, strip_escapes

_LINE_LIMIT = 64 * 1024


class TrialOutput:
    """Joins the pieces that arrive from each trial into lines.

    Of a progress bar that returns to the start of its line (carriage return), the last state
    is kept. Only unfinished lines are held.

    Args:
        prefix: Makes from a trial's name, which need not be its own, what stands before each of
            its lines.
        keep_colours: Whether colours that a trial prints are kept.
        line_limit: Bytes after which a line without an end is cut.

    Example:
        >>> output = TrialOutput(lambda name: f"({name}) ")
        >>> output.feed("id_1", "t1", b"10%\\r20%\\nhello, wor")
        '(t1) 20%\\n'
        >>> output.flush("id_1")
        '(t1) hello, wor\\n'
    """

    def __init__(
        self,
        prefix: Callable[[str], str],
        *,
        keep_colours: bool = False,
        line_limit: int = _LINE_LIMIT,
    ) -> None:
        self._prefix = prefix
        self._keep_colours = keep_colours
        self._line_limit = line_limit
        self._unfinished: dict[str, tuple[str, LineSplitter]] = {}  # by trial id

    def feed(self, trial_id: str, trial_name: str, data: bytes) -> str:
        """The lines that `data` completes, ready to be printed."""
        _, splitter = self._unfinished.get(trial_id, ("", LineSplitter(self._line_limit)))
        lines = splitter.feed(data)
        if splitter.pending:
            self._unfinished[trial_id] = trial_name, splitter
        else:
            self._unfinished.pop(trial_id, None)
        return self._format(trial_name, lines)

    def flush(self, trial_id: str) -> str:
        """The trial's unfinished line."""
        if trial_id not in self._unfinished:
            return ""
        trial_name, splitter = self._unfinished.pop(trial_id)
        return self._format(trial_name, splitter.flush())

    def flush_all(self) -> str:
        """The unfinished lines of all trials."""
        return "".join([self.flush(trial_id) for trial_id in list(self._unfinished)])

    def _format(self, trial_name: str, lines: list[str]) -> str:
        if not lines:
            return ""
        prefix = self._prefix(clean(trial_name))
        texts = (strip_escapes(line, keep_colours=self._keep_colours) for line in lines)
        return "".join([f"{prefix}{text}\n" for text in texts])


class LineSplitter:
    """Lines of text out of pieces of bytes that may end anywhere, also within a character.

    Args:
        limit: Bytes that are held at most; a longer line is cut in pieces.
    """

    def __init__(self, limit: int = _LINE_LIMIT) -> None:
        self._limit = limit
        self._rest = bytearray()

    @property
    def pending(self) -> int:
        """Bytes of the unfinished line."""
        return len(self._rest)

    def feed(self, data: bytes) -> list[str]:
        """The lines that are whole now."""
        *whole, rest = data.split(b"\n")
        lines: list[str] = []
        for piece in whole:
            self._add(piece, lines)
            lines.append(self._take())
        self._add(rest, lines)
        return lines

    def flush(self) -> list[str]:
        """The unfinished line, if it shows anything."""
        line = self._take()
        return [line] if line.strip() else []

    def _add(self, piece: bytes, lines: list[str]) -> None:
        rest = self._rest
        rest += piece
        if b"\r" in piece:
            _keep_after_return(rest)
        while len(rest) > self._limit:
            cut = _before_character(rest, self._limit)
            lines.append(_decode(rest[:cut]))
            del rest[:cut]

    def _take(self) -> str:
        _keep_after_return(self._rest)
        line = _decode(self._rest.rstrip(b"\r"))
        self._rest.clear()
        return line


def _keep_after_return(line: bytearray) -> None:
    """Drops what a carriage return overwrote; one at the end has not overwritten anything yet."""
    end = len(line)
    while end and line[end - 1] == 0x0D:
        end -= 1
    del line[: line.rfind(b"\r", 0, end) + 1]


def _before_character(line: bytearray, place: int) -> int:
    """The last place up to `place` where no UTF-8 character is torn."""
    cut = place
    while cut > max(place - 3, 1) and line[cut] & 0xC0 == 0x80:
        cut -= 1
    return cut


def _decode(line: bytes | bytearray) -> str:
    return line.decode("utf-8", "replace")
