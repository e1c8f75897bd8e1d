import random

from hypothesis import given
from hypothesis import strategies as st

from tuner.console.trial_output import LineSplitter, TrialOutput


def feed_all(splitter, pieces):
    return [line for piece in pieces for line in splitter.feed(piece)]


@given(st.lists(st.text(st.characters(exclude_characters="\r\n", codec="utf-8"))), st.randoms())
def test_pieces_may_end_anywhere(lines, randomness):
    data = "".join(f"{line}\n" for line in lines).encode()
    pieces = []
    while data:
        size = randomness.randint(1, 7)
        pieces.append(data[:size])
        data = data[size:]
    splitter = LineSplitter()
    assert feed_all(splitter, pieces) == lines
    assert splitter.pending == 0


@given(st.binary(), st.integers(1, 5))
def test_where_bytes_are_cut_does_not_matter(data, size):
    whole, cut = LineSplitter(), LineSplitter()
    pieces = [data[i : i + size] for i in range(0, len(data), size)]
    assert feed_all(cut, pieces) + cut.flush() == whole.feed(data) + whole.flush()


@given(st.binary(max_size=300), st.integers(4, 20), st.integers(1, 40))
def test_memory_is_bounded(data, limit, size):
    splitter = LineSplitter(limit)
    for i in range(0, len(data), size):
        splitter.feed(data[i : i + size])
        assert splitter.pending <= limit


def test_a_line_without_end_is_cut_between_characters():
    text = "".join(random.Random(1).choices("aé模😀", k=500))
    splitter = LineSplitter(10)
    lines = splitter.feed(text.encode()) + splitter.flush()
    assert "".join(lines) == text
    assert max(len(line.encode()) for line in lines) <= 10


def test_bytes_that_are_no_text_are_replaced():
    assert LineSplitter().feed(b"\xff\xfe ok\n") == ["�� ok"]


def test_progress_bars_leave_their_last_state():
    splitter = LineSplitter()
    assert splitter.feed(b"\r  0%|  |\r 50%|# |") == []
    assert splitter.feed(b"\r100%|##|\nnext\r\n") == ["100%|##|", "next"]


def test_a_bar_that_returns_at_the_end_of_each_state():
    splitter = LineSplitter()
    assert splitter.feed(b"10%\r") == []
    assert splitter.feed(b"20%\r") == []
    assert splitter.pending == 4
    assert splitter.feed(b"\n") == ["20%"]


def test_a_bar_that_runs_for_hours_holds_one_state():
    splitter = LineSplitter()
    for step in range(10_000):
        splitter.feed(b"\rstep %06d" % step)
        assert splitter.pending <= 12
    assert splitter.flush() == ["step 009999"]


def test_a_line_break_after_a_return_in_the_next_piece_is_one_line_break():
    splitter = LineSplitter()
    assert splitter.feed(b"windows\r") == []
    assert splitter.feed(b"\nunix\n") == ["windows", "unix"]


def test_a_wiped_bar_shows_nothing():
    splitter = LineSplitter()
    splitter.feed(b"50%\r      \r")
    assert splitter.flush() == []


def test_trials_do_not_mix():
    output = TrialOutput(lambda name: f"[{name}] ")
    assert output.feed("1", "same", b"one ") == ""
    assert output.feed("2", "same", b"two\nthree") == "[same] two\n"
    assert output.feed("1", "same", b"line\n\n") == "[same] one line\n[same] \n"
    assert output.flush("1") == ""
    assert output.flush_all() == "[same] three\n"
    assert output.flush_all() == ""


def test_escape_sequences():
    plain = TrialOutput(lambda name: "")
    colours = TrialOutput(lambda name: "", keep_colours=True)
    data = b"\x1b[1;31mred\x1b[0m\x1b[3A\x1b[K\x1b]8;;url\x1b\\link\n"
    assert plain.feed("1", "t", data) == "redlink\n"
    assert colours.feed("1", "t", data) == "\x1b[1;31mred\x1b[0mlink\x1b[0m\n"
