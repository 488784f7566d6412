"""Python imports this by itself when this folder is on PYTHONPATH: it breaks the product's functions as they are imported.

`DRILL_MUTATIONS` names a file with the names of the mutations that are on. Each process of a scratch shop reads it once,
when it starts; a test changes the file and kills the processes that should come back broken (or whole). The product knows
nothing of this, and without the variable nothing happens."""

from __future__ import annotations

import os
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType


class _Patched(Loader):
    def __init__(self, loader, patches):  # type: ignore[no-untyped-def]
        self._loader, self._patches = loader, patches

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        created: ModuleType | None = self._loader.create_module(spec)
        return created

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        for patch in self._patches:
            patch(module)

    def __getattr__(self, name: str) -> object:
        return getattr(self._loader, name)  # resources, source


class _Finder(MetaPathFinder):
    def __init__(self, patches):  # type: ignore[no-untyped-def]
        self._patches = patches

    def find_spec(self, fullname, path=None, target=None):  # type: ignore[no-untyped-def]
        if fullname not in self._patches:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Patched(spec.loader, self._patches[fullname])
        return spec


def _install(file: str) -> None:
    with open(file, encoding="utf-8") as names:
        wanted = [name.strip() for name in names if name.strip()]
    if not wanted:
        return
    from drill_mutations import MUTATIONS

    patches: dict[str, list[object]] = {}
    for name in wanted:
        for module, patch in MUTATIONS[name].items():
            patches.setdefault(module, []).append(patch)
    sys.meta_path.insert(0, _Finder(patches))


if os.environ.get("DRILL_MUTATIONS"):
    _install(os.environ["DRILL_MUTATIONS"])
