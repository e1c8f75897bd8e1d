"""What there is about each trial, by the trial's folder."""

from __future__ import annotations

from typing import TypeVar

_Value = TypeVar("_Value")


class ByFolder(dict[str, _Value]):
    """A dictionary with a key for each trial's folder, where `[…]` takes a trial's id as well.

    Some versions of `ray.tune` have the folder as the key, others the id.

    Args:
        values: By folder.
        folders: The folder of each trial, by its id.

    Example:
        >>> configs = ByFolder({"/exp/t1": {"lr": 0.1}}, {"7f_00001": "/exp/t1"})
        >>> configs["7f_00001"], [*configs]
        ({'lr': 0.1}, ['/exp/t1'])
    """

    def __init__(self, values: dict[str, _Value], folders: dict[str, str]) -> None:
        super().__init__(values)
        self._folders = folders

    def __missing__(self, trial_id: str) -> _Value:
        if trial_id not in self._folders:
            raise KeyError(trial_id)
        return self[self._folders[trial_id]]
