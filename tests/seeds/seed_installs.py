"""What `pip install` brings along with this library."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

_PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


def installed_with(extra: str | None = None) -> set[str]:
    """The packages that the library needs, or that an extra of it adds.

    Args:
        extra: Its name; None for what is there without any.
    """
    if extra is None:
        return set(map(_name, _PROJECT["dependencies"]))
    return set(map(_name, _PROJECT["optional-dependencies"][extra]))


def _name(requirement: str) -> str:
    return re.split(r"[^\w-]", requirement)[0]
