"""Random streams of a trial: each attempt its own, the same ones again under the same seed."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import random
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any


def derive_seed(seed: int, number: int, attempt: int) -> int:
    """The 32-bit seed of one attempt at the trial with this number."""
    digest = hashlib.blake2b(f"{seed}:{number}:{attempt}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big")


def seed_everything(seed: int) -> None:
    """Seeds `random`, numpy and torch; those not yet imported, as soon as they are."""
    random.seed(seed)
    later: dict[str, Callable[[int], None]] = {}
    for name, seeder in (("numpy.random", _seed_numpy), ("torch", _seed_torch)):
        if name in sys.modules:
            seeder(seed)
        else:
            later[name] = seeder
    _seed_no_more_imports()
    if later:
        sys.meta_path.insert(0, _SeedOnImport(seed, later))


@contextlib.contextmanager
def streams_restored() -> Iterator[None]:
    """Puts the streams of `random`, numpy and torch back as they were on entry."""
    stream = random.getstate()
    numpy_random, torch = sys.modules.get("numpy.random"), sys.modules.get("torch")
    numpy_stream = None if numpy_random is None else numpy_random.get_state()
    torch_stream = None if torch is None else torch.get_rng_state()
    try:
        yield
    finally:
        _seed_no_more_imports()
        random.setstate(stream)
        if numpy_random is not None:
            numpy_random.set_state(numpy_stream)
        if torch is not None:
            torch.set_rng_state(torch_stream)


def _seed_no_more_imports() -> None:
    sys.meta_path[:] = [f for f in sys.meta_path if not isinstance(f, _SeedOnImport)]


class _SeedOnImport(importlib.abc.MetaPathFinder):
    """Seeds a library right after its first import."""

    def __init__(self, seed: int, seeders: dict[str, Callable[[int], None]]) -> None:
        self._seed = seed
        self._seeders = seeders

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: types.ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        seeder = self._seeders.pop(fullname, None)
        if seeder is None:
            return None
        spec: importlib.machinery.ModuleSpec | None = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _SeedingLoader(spec.loader, lambda: seeder(self._seed))
        return spec


class _SeedingLoader(importlib.abc.Loader):
    """Another loader, followed by a seed; it serves one import and is not kept by the module."""

    def __init__(self, loader: Any, seed: Callable[[], None]) -> None:
        self._loader = loader
        self._seed = seed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType | None:
        module: types.ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        self._loader.exec_module(module)
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._seed()


def _seed_numpy(seed: int) -> None:
    sys.modules["numpy.random"].seed(seed)


def _seed_torch(seed: int) -> None:
    sys.modules["torch"].manual_seed(seed)
