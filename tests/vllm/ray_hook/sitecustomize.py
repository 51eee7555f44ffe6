"""Lets vLLM's Ray backend run on CPUs: on the PYTHONPATH of Ray and of vLLM.

vLLM places its engines by the name that Ray has for the platform's device, and its CPU platform has none. Here it gets
"GPU", of which a Ray node may be told any number. It is one attribute of one class, set when vLLM imports that module;
importing vLLM from here would cost every Python process of Ray's seconds.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType

PLATFORM = "vllm.platforms.cpu"


class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        vars(module)["CpuPlatform"].ray_device_key = "GPU"


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != PLATFORM:
            return None
        found = PathFinder.find_spec(fullname, path, target)
        if found is not None and found.origin is not None:
            found.loader = _Loader(fullname, found.origin)
        return found


sys.meta_path.insert(0, _Finder())
