"""How much memory of this machine, or of the container's share of it, is in use."""

from __future__ import annotations

from pathlib import Path

_GIB = 1024**3

# Limit, use, statistics and the name of the reclaimable file cache among them; cgroup v2, then v1.
_CGROUPS = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        "total_inactive_file",
    ),
)


def memory_line() -> str:
    """The line for the status, empty where the system does not tell."""
    usage = memory_usage()
    if usage is None:
        return ""
    used, total = usage
    return f"Memory usage on this node: {used / _GIB:.1f}/{total / _GIB:.1f} GiB"


def memory_usage(root: str = "/") -> tuple[int, int] | None:
    """Used and total bytes; None where the system does not tell."""
    try:
        fields = _fields(Path(root, "proc/meminfo"))
        total = fields["MemTotal:"] * 1024
        used = total - fields["MemAvailable:"] * 1024
    except (OSError, KeyError, ValueError):
        return None
    return _container_usage(Path(root, "sys/fs/cgroup"), total) or (used, total)


def _container_usage(folder: Path, machine_total: int) -> tuple[int, int] | None:
    for limit_file, use_file, statistics_file, cache in _CGROUPS:
        try:
            limit = int((folder / limit_file).read_text())
            if limit >= machine_total:
                return None
            used = int((folder / use_file).read_text())
            return used - _fields(folder / statistics_file).get(cache, 0), limit
        except (OSError, ValueError):
            continue
    return None


def _fields(file: Path) -> dict[str, int]:
    lines = (line.split() for line in file.read_text().splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) > 1}
