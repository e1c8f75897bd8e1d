"""What makes a class a config: frozen, keyword-only, and clear about wrong arguments."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from typing import Any, TypeVar, dataclass_transform

from tuner.errors import ConfigError
from tuner.validation import did_you_mean, reject, shorten

Config = TypeVar("Config")

_FIELD_OWNERS: dict[str, str] = {}
_REPLACED_FIELDS = {
    "local_dir": "use RunConfig(storage_path=...)",
    "upload_dir": "use RunConfig(storage_path=...)",
    "chdir_to_trial_dir": "set the environment variable TUNE_CHDIR_TO_TRIAL_DIR to 0 or 1",
}


@dataclass_transform(kw_only_default=True, frozen_default=True)
def config_class(cls: type[Config]) -> type[Config]:
    """Make `cls` a frozen dataclass that explains what was wrong with its arguments.

    A field whose default is another config takes None for that default.
    """
    built = dataclasses.dataclass(frozen=True, kw_only=True)(cls)
    generated = built.__init__
    fields = {field.name: field for field in dataclasses.fields(built)}  # type: ignore[arg-type]
    nested = {
        name for name, field in fields.items() if field.default_factory is not dataclasses.MISSING
    }

    @functools.wraps(generated)
    def __init__(self: Any, *args: Any, **given: Any) -> None:
        if args:
            raise ConfigError(
                f"{cls.__name__}({shorten(args[0])}): name the field, "
                f"as in {cls.__name__}({next(iter(fields))}=...)"
            )
        for name in given:
            if name not in fields:
                reject(cls.__name__, name, given[name], _where_it_belongs(name, fields))
        generated(self, **{k: v for k, v in given.items() if v is not None or k not in nested})

    built.__init__ = __init__  # type: ignore[method-assign]
    _FIELD_OWNERS.update(dict.fromkeys(fields, cls.__name__))
    return built


def _where_it_belongs(name: str, fields: Iterable[str]) -> str:
    if name in _REPLACED_FIELDS:
        return f"no such field; {_REPLACED_FIELDS[name]}"
    if name in _FIELD_OWNERS:
        return f"no such field; it belongs to {_FIELD_OWNERS[name]}"
    return f"no such field{did_you_mean(name, fields)}"
