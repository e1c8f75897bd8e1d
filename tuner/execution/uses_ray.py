"""Finds out whether trials call Ray themselves."""

from __future__ import annotations

import dis
import functools
import inspect
import itertools
import os
import sys
import sysconfig
import types
from collections.abc import Iterable
from typing import Any

from tuner.search_space.domains import Domain
from tuner.trainable.parameters import Parameters
from tuner.trainable.wrappers import WrappedFunction

_LOADING = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "IMPORT_NAME"})
_PLAIN = frozenset({bool, int, float, complex, str, bytes, type(None)})
_MOST_VALUES = 1000  # of a list or a dictionary; more of them are data
_LIBRARIES = (
    *(sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep,
)


def uses_ray(trainable: Any, param_space: Any = None) -> bool:
    """Whether trials call Ray themselves, as far as can be told without running them.

    They do if the trainable says so (`uses_ray`), if its code or what this refers to in its module
    names the `ray` package, or if it carries something of it, such as an `ObjectRef`. So they do if
    a value in the search space does.

    Args:
        trainable: What is trained.
        param_space: Where trials get their configurations from.

    Example:
        >>> from tuner import Trainable
        >>> class Distributed(Trainable):
        ...     uses_ray = True
        >>> uses_ray(Distributed), uses_ray(lambda config: {"x": config["x"]})
        (True, False)
    """
    search = _Search()
    return search.finds(trainable) or search.finds(param_space)


class _Search:
    """Looks at everything once."""

    def __init__(self) -> None:
        self._seen: dict[int, Any] = {}  # by id; what was seen stays alive, and its id its own

    def finds(self, value: Any) -> bool:
        if type(value) in _PLAIN or id(value) in self._seen:
            return False
        self._seen[id(value)] = value
        if isinstance(value, types.ModuleType):
            return _is_ray(value.__name__)
        if isinstance(value, WrappedFunction):
            return self._any([value.function, value.parameters])
        if isinstance(value, Parameters):
            return self.finds(value.values)
        if isinstance(value, functools.partial):
            return self._any([value.func, *value.args, *value.keywords.values()])
        if isinstance(value, types.MethodType):
            return self._any([value.__func__, value.__self__])
        if isinstance(value, staticmethod | classmethod):
            return self.finds(value.__func__)
        if isinstance(value, property):
            return self._any([value.fget, value.fset])
        if inspect.isfunction(value):
            return self._finds_in_function(value)
        if inspect.isclass(value):
            return self._finds_in_class(value)
        if isinstance(value, Domain):
            return self._any(vars(value).values())
        if isinstance(value, dict):
            return self._any(value.values())
        if isinstance(value, list | tuple | set):
            return self._any(value)
        return self._finds_in_object(value)

    def _any(self, values: Iterable[Any]) -> bool:
        return any(self.finds(value) for value in itertools.islice(values, _MOST_VALUES))

    def _finds_in_function(self, function: types.FunctionType) -> bool:
        if getattr(function, "uses_ray", False) is True or _is_ray(function.__module__):
            return True
        if _is_of_library(function.__module__):
            return False
        loaded, names = _names(function.__code__)
        if any(map(_is_ray, loaded)):
            return True
        variables = [function.__globals__.get(name, sys.modules.get(name)) for name in loaded]
        variables += inspect.getclosurevars(function).nonlocals.values()
        defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
        return self._any([*variables, *defaults, *_members_of_modules(variables, names)])

    def _finds_in_class(self, value: type) -> bool:
        if getattr(value, "uses_ray", False) is True:
            return True
        for each in value.__mro__:
            if _is_ray(each.__module__):
                return True
            if not _is_of_library(each.__module__) and self._any(vars(each).values()):
                return True
        return False

    def _finds_in_object(self, value: Any) -> bool:
        module = type(value).__module__
        if _is_ray(module):
            return True
        if _is_of_library(module):
            return self.finds(inspect.getattr_static(value, "__wrapped__", None))
        return self._any([type(value), getattr(value, "__dict__", 0)])


def _members_of_modules(variables: Iterable[Any], names: set[str]) -> list[Any]:
    """What code may refer to by these names through modules of the user and their submodules."""
    found: list[Any] = []
    modules = [*filter(_is_module_of_user, variables)]
    for module in modules:
        members = [vars(module)[name] for name in names if name in vars(module)]
        found += members
        modules += [m for m in members if _is_module_of_user(m) and m not in modules]
    return found


def _names(code: types.CodeType) -> tuple[set[str], set[str]]:
    """The global variables and imports of code and the functions in it; these and attributes."""
    loaded = {each.argval for each in dis.get_instructions(code) if each.opname in _LOADING}
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            inner_loaded, inner_names = _names(constant)
            loaded |= inner_loaded
            names |= inner_names
    return loaded, names


def _is_module_of_user(value: Any) -> bool:
    return isinstance(value, types.ModuleType) and not _is_of_library(value.__name__)


def _is_ray(module: str | None) -> bool:
    return module is not None and module.partition(".")[0] == "ray"


@functools.cache
def _is_of_library(module: str) -> bool:
    """Whether a module is of an installed library, which is not looked into."""
    root = sys.modules.get(module.partition(".")[0])
    file = getattr(root, "__file__", None)
    if module == "__main__":
        return False
    if file is None:
        return module in sys.builtin_module_names
    return bool(os.path.abspath(file).startswith(_LIBRARIES))
