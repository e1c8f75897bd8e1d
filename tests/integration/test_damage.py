"""Experiment folders that are damaged, or whose run was killed before it had begun."""

from __future__ import annotations

import functools
import json
import os
import pickle
import shutil
import signal
import sys
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tuner as tune
from tuner.errors import JournalError, StorageError
from tuner.experiment import snapshots
from tuner.experiment.journal_writer import JournalWriter
from tuner.schedulers import ASHAScheduler

SEGMENT_BYTES = 3000


def train(config: dict[str, Any]) -> None:
    start = 0
    checkpoint = tune.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            start = int(Path(folder, "n").read_text())
    for n in range(start + 1, 7):
        metrics = {"n": n, "loss": (config["x"] - 0.3) ** 2 + 1 / n}
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "n").write_text(str(n))
            checkpoint = tune.Checkpoint.from_directory(folder) if n % 2 == 0 else None
            tune.report(metrics, checkpoint=checkpoint)


def tuner(folder: Path, num_samples: int = 6) -> tune.Tuner:
    """A run whose outcome is always the same, but for the ids of its trials."""
    return tune.Tuner(
        train,
        param_space={"x": tune.uniform(0, 1)},
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            num_samples=num_samples,
            seed=1,
            scheduler=ASHAScheduler(max_t=6, grace_period=2, reduction_factor=2),
        ),
        run_config=tune.RunConfig(
            name="run", storage_path=str(folder), verbose=0, executor="inline"
        ),
    )


def picture(path: Path) -> list[Any]:
    """What a restored run must share with one that was never damaged."""
    return [
        (
            result.config,
            result.status,
            [row["n"] for row in result.history()],
            [
                json.loads(row)["n"]
                for row in Path(result.path, "result.json").read_text().split("\n")[:-1]
            ],
            sorted(p.name for p in Path(result.path).glob("*checkpoint_*")),
        )
        for result in tune.Tuner.restore(path).get_results()
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    folder = tmp_path_factory.mktemp("whole")
    tuner(folder).fit()
    return picture(folder / "run")


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with many segments and two snapshots."""
    folder = tmp_path_factory.mktemp("stored")
    with pytest.MonkeyPatch.context() as patch:
        small = functools.partial(JournalWriter, segment_bytes=SEGMENT_BYTES)
        patch.setattr("tuner.running.JournalWriter", small)
        patch.setattr(snapshots, "MIN_GROWTH_BYTES", 1)
        tuner(folder, 3).fit()
        tune.Tuner.restore(folder / "run", num_samples=4).fit()
    assert len(segments(folder / "run")) >= 4
    assert len(list((folder / "run" / "snapshots").iterdir())) == 2
    return folder / "run"


@pytest.fixture
def run(stored: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(stored, tmp_path / "run"))


def segments(run: Path) -> list[Path]:
    return sorted((run / "journal").glob("*.jsonl"))


def goes_on(run: Path, whole: list[Any]) -> None:
    assert tune.Tuner.can_restore(run)
    tune.Tuner.restore(run, num_samples=6).fit()
    assert picture(run) == whole


def is_refused(run: Path, words: str) -> None:
    """Nothing is read, run or changed."""
    for use in (tune.Tuner.get_results, tune.Tuner.fit):
        before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
        with pytest.raises(JournalError, match=words) as raised:
            use(tune.Tuner.restore(run, num_samples=6))
        assert "put back a copy of the file, or" in str(raised.value)
        after = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
        for name in (".lock", "results.parquet"):
            before.pop(run / name, None)
            after.pop(run / name, None)
        assert after == before


def cut(run: Path, segment: int, line: int) -> None:
    """What the message says: everything from a line on is given up."""
    path, *later = segments(run)[segment - 1 :]
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[: line - 1]))
    for each in later:
        each.unlink()
    shutil.rmtree(run / "snapshots", ignore_errors=True)


def test_what_is_undamaged_goes_on(run: Path, whole: list[Any]) -> None:
    goes_on(run, whole)


@pytest.mark.parametrize("share", [0.001, 0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_line_torn_by_a_kill_is_all_that_is_lost(
    share: float, tmp_path: Path, whole: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    tuner(tmp_path, 4).fit()
    run = tmp_path / "run"
    (path,) = segments(run)
    os.truncate(path, int(path.stat().st_size * share))
    text = path.read_bytes()
    lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith(b"\n")]
    assert not text.endswith(b"\n")
    grid = tune.Tuner.restore(run).get_results()
    assert "dropped a torn last line" in caplog.text
    assert path.read_bytes() == text, "looking at it changes nothing"
    last = {line["trial_id"]: line["result"]["n"] for line in lines if line["event"] == "result"}
    had = [result.metrics for result in grid if result.metrics.get("n")]
    assert {metrics["trial_id"]: metrics["n"] for metrics in had} == last
    goes_on(run, whole)


@pytest.mark.parametrize("segment", [1, 3, -1], ids=["first", "middle", "last"])
@pytest.mark.parametrize("has_snapshots", [True, False])
def test_a_flipped_bit_is_named_and_can_be_cut_out(
    segment: int, has_snapshots: bool, run: Path, whole: list[Any]
) -> None:
    if not has_snapshots:
        shutil.rmtree(run / "snapshots")
    filled = [path for path in segments(run) if path.stat().st_size]
    path = filled[segment - 1 if segment > 0 else segment]
    content = bytearray(path.read_bytes())
    place = len(content) // 2
    content[place] ^= 1
    path.write_bytes(content)
    line = content[:place].count(b"\n") + 1
    is_refused(run, rf"{path}, line {line}: does not match its checksum")
    cut(run, int(path.stem), line)
    goes_on(run, whole)


@pytest.mark.parametrize("segment", [1, 3, -1], ids=["first", "middle", "last"])
@pytest.mark.parametrize("has_snapshots", [True, False])
def test_a_missing_segment_is_named(
    segment: int, has_snapshots: bool, run: Path, whole: list[Any]
) -> None:
    """Without snapshots nothing tells of a last segment that is gone."""
    if not has_snapshots:
        shutil.rmtree(run / "snapshots")
    filled = [path for path in segments(run) if path.stat().st_size]
    path = filled[segment - 1 if segment > 0 else segment]
    if segment == -1:
        for later in segments(run)[int(path.stem) :]:
            later.unlink()
    path.unlink()
    if segment != -1 or has_snapshots:
        is_refused(run, f"{path} is missing; put back a copy")
        cut(run, int(path.stem) - 1, 10**6) if segment != 1 else None
    if segment != 1:
        goes_on(run, whole)


def test_a_journal_that_ends_before_a_snapshot_is_refused(run: Path, whole: list[Any]) -> None:
    path = [path for path in segments(run) if path.stat().st_size][-1]
    *lines, last = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines))
    seq = json.loads(last)["seq"]
    is_refused(run, rf"line {len(lines) + 1}: the facts {seq} to {seq} are missing")
    shutil.rmtree(run / "snapshots")
    goes_on(run, whole)


@pytest.mark.parametrize("is_there", [True, False])
def test_an_experiment_without_its_journal_is_refused(is_there: bool, run: Path) -> None:
    shutil.rmtree(run / "journal")
    shutil.rmtree(run / "snapshots")
    if is_there:
        (run / "journal").mkdir()
    is_refused(run, r"00000001\.jsonl is missing")


def damaged(content: bytes) -> bytes:
    place = len(content) // 2
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize("how", [damaged, lambda content: content[:-20], lambda content: b""])
@pytest.mark.parametrize("number", [1, 2])
def test_damaged_snapshots_are_done_without(
    how: Callable[[bytes], bytes],
    number: int,
    run: Path,
    whole: list[Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    latest = sorted((run / "snapshots").iterdir(), reverse=True)[:number]
    for path in latest:
        path.write_bytes(how(path.read_bytes()))
    goes_on(run, whole)
    for path in latest:
        assert f"{path}: not used, more of the journal is replayed instead" in caplog.text


def test_a_snapshot_of_a_class_that_is_gone_is_done_without(
    run: Path, whole: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    content = pickle.dumps(tune.Checkpoint).replace(b"Checkpoint", b"Checkpoinc")
    for path in (run / "snapshots").iterdir():
        path.write_bytes(b"%08x" % zlib.crc32(content) + content)
    goes_on(run, whole)
    assert "Checkpoinc" in caplog.text


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("name", ["tuner.pkl", "experiment.json"])
def test_a_cut_file_is_named(name: str, share: float, run: Path) -> None:
    path = run / name
    os.truncate(path, int(path.stat().st_size * share))
    with pytest.raises(StorageError, match=rf"{path} is damaged \(.*put back a copy"):
        tune.Tuner.restore(run)


def test_a_description_without_its_facts_is_named(run: Path) -> None:
    path = run / "experiment.json"
    description = json.loads(path.read_text())
    del description["seed"]
    path.write_text(json.dumps(description))
    with pytest.raises(StorageError, match=rf"{path} is damaged \(KeyError: 'seed'\)"):
        tune.Tuner.restore(run)


def test_an_event_of_a_later_version_is_refused(run: Path) -> None:
    path = [path for path in segments(run) if path.stat().st_size][-1]
    lines = path.read_bytes().splitlines(keepends=True)
    seq = json.loads(lines[-1])["seq"] + 1
    line = b'{"seq":%d,"time":1.0,"event":"trial_cloned"' % seq
    path.write_bytes(b"".join(lines) + line + b',"crc":"%08x"}\n' % zlib.crc32(line))
    is_refused(run, rf"line {len(lines) + 1}: holds the unknown event 'trial_cloned', perhaps of a")


def kill_at(event: int, folder: Path) -> int:
    """Begins a run in a child that is killed at the n-th of its doings in a folder; its status."""
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    left = event

    def count(name: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        path = str(arguments[0]) if arguments else ""
        if name in ("open", "os.mkdir", "os.rename", "os.remove") and path.startswith(str(folder)):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    try:
        sys.addaudithook(count)
        tuner(folder).fit()
    finally:
        os._exit(0)


EARLIER = ("journal/00000001.jsonl", "tuner.pkl", "experiment.json", "results.parquet")


@pytest.mark.parametrize("is_again", [False, True], ids=["first", "second"])
def test_killed_before_it_had_begun(is_again: bool, tmp_path: Path, whole: list[Any]) -> None:
    """At each file that is opened, made or moved until the journal has its first line."""
    seen = set()
    for event in range(1, 100):
        folder = tmp_path / str(event)
        run = folder / "run"
        earlier: list[bytes] = []
        if is_again:
            tuner(folder, 1).fit()
            earlier = [(run / name).read_bytes() for name in EARLIER]
        assert kill_at(event, folder) == signal.SIGKILL
        contents = [path.read_bytes() for path in segments(run)]
        if any(content and content not in earlier for content in contents):
            break
        if not tune.Tuner.can_restore(run):
            seen.add("nothing")
            with pytest.raises(StorageError, match="there is no experiment"):
                tune.Tuner.restore(run)
            tuner(folder).fit()
        elif any(contents):
            seen.add("the earlier run")
            assert len(tune.Tuner.restore(run).get_results()) == 1
            tuner(folder).fit()
        else:
            seen.add("the beginning")
            assert len(tune.Tuner.restore(run).get_results()) == 0
            tune.Tuner.restore(run).fit()
        assert picture(run) == whole
        contents = [path.read_bytes() for path in run.rglob("*") if path.is_file()]
        assert all(content in contents for content in earlier), "an earlier run loses nothing"
    assert event > 10
    assert seen == {"nothing", "the beginning", *(["the earlier run"] * is_again)}
