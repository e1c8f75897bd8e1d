"""What a `sample_from` function sees: the configuration, each value resolved when it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, overload


class ConfigView(Mapping[str, Any]):
    """A dict of the configuration, readable by item and by attribute.

    A parameter that is named like a method of a dict, such as `items`, is read by item only.

    Args:
        children: What stands behind each key.
        read: Turns one child into the value that the user sees.

    Example:
        >>> view = plain_spec({"model": {"depth": 3}}).config
        >>> view.model.depth, view["model"]["depth"], view.get("width", 8)
        (3, 3, 8)
    """

    __slots__ = ("_children", "_read")

    def __init__(self, children: Mapping[Any, Any], read: Callable[[Any], Any]) -> None:
        self._children = children
        self._read = read

    def __getitem__(self, key: Any) -> Any:
        if key not in self._children:
            known = ", ".join(map(repr, self._children)) or "none"
            raise KeyError(f"no parameter {key!r} here; there are: {known}")
        return self._read(self._children[key])

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(error.args[0]) from None

    def __contains__(self, key: object) -> bool:
        return key in self._children

    def __iter__(self) -> Iterator[Any]:
        return iter(self._children)

    def __len__(self) -> int:
        return len(self._children)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(str, self._children))})"


class Spec(ConfigView):
    """The argument of a `sample_from` function: `spec.config.x`; also `spec["x"]`, as a config.

    Example:
        >>> spec = plain_spec({"x": 2})
        >>> spec.config.x, spec["config"]["x"], spec["x"]
        (2, 2, 2)
    """

    __slots__ = ()

    @property
    def config(self) -> ConfigView:
        """The whole configuration."""
        return ConfigView(self._children, self._read)

    def __getitem__(self, key: Any) -> Any:
        return self.config if key == "config" else super().__getitem__(key)


class ListView(Sequence[Any]):
    """A list or tuple of the configuration that cannot be given whole.

    It holds dicts, whose values are read by attribute, or the very parameter being decided.

    Args:
        children: What stands behind each index.
        read: Turns one child into the value that the user sees.
        rebuild: Makes the list or tuple that this is a view of from its values.
    """

    __slots__ = ("_children", "_read", "rebuild")

    def __init__(
        self,
        children: Sequence[Any],
        read: Callable[[Any], Any],
        rebuild: Callable[[list[Any]], Any] = list,
    ) -> None:
        self._children = children
        self._read = read
        self.rebuild = rebuild

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self._read(child) for child in self._children[index]]
        return self._read(self._children[index])

    def __len__(self) -> int:
        return len(self._children)

    def __repr__(self) -> str:
        return repr(self.rebuild(list(self)))


def plain_spec(config: Mapping[Any, Any]) -> Spec:
    """Returns the view of a configuration that has nothing left to resolve."""
    return Spec(config, _read_plain)


def _read_plain(value: Any) -> Any:
    return ConfigView(value, _read_plain) if isinstance(value, dict) else value
