"""What a Ray executor is configured with."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from tuner.validation import check_flag, check_number, reject


@dataclass(frozen=True, kw_only=True)
class RayOptions:
    """The arguments of `RayExecutor`, which describes them, checked.

    Raises:
        ConfigError: An argument cannot work.
    """

    address: str | None = None
    runtime_env: dict[str, Any] | None = None
    uses_ray: bool | None = None
    shared_storage: bool | None = None
    idle_timeout_s: float = 60.0
    infeasible_timeout_s: float | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is None and name != "idle_timeout_s":
                continue
            if name == "address" and not isinstance(value, str):
                fix = "use an address such as 'auto', '10.0.0.1:6379' or 'ray://10.0.0.1:10001'"
                reject("RayExecutor", name, value, fix)
            elif name == "runtime_env" and not isinstance(value, dict):
                reject("RayExecutor", name, value, "use a dictionary")
            elif name in ("uses_ray", "shared_storage"):
                check_flag("RayExecutor", name, value)
            elif name.endswith("_timeout_s") and value != math.inf:
                check_number("RayExecutor", name, value, "use seconds >= 0, or math.inf", least=0)

    def __str__(self) -> str:
        """What is not the default, as it would be given."""
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        given = {name: getattr(self, name) for name in defaults}
        return ", ".join(f"{k}={v!r}" for k, v in given.items() if v != defaults[k])
