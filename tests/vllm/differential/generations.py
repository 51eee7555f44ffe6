"""vLLM's coordinator modules: the installed one, and those of other versions whose source was fetched.

Another version's `coordinator.py` runs over the rest of the installed vLLM: what it imports from there (the decoder,
the message types, helpers) is in every version what it needs. No vLLM code is kept in this repository.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import warnings
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from unittest import mock

INSTALLED = "installed"
OTHERS = ("0.10.2", "0.16.0", "0.18.0", "0.26.0", "0.27.0", "0.28.0", "0.29.0", "0.30.0", "0.31.0", "0.32.0", "0.33.0")
"""At least one of each generation."""
SOURCES_VARIABLE = "DP_COORDINATOR_VLLM_SOURCES"
_MOVED_SINCE_0_10 = {
    "make_zmq_socket": "vllm.utils.network_utils",
    "get_mp_context": "vllm.utils.system_utils",
    "set_process_title": "vllm.utils.system_utils",
}


def sources() -> Path:
    """Where `python -m tests.vllm.differential.fetch` puts them: VERSION/coordinator.py."""
    return Path(os.environ.get(SOURCES_VARIABLE) or Path.home() / ".cache" / "dp-coordinator" / "vllm-sources")


def installed_version() -> str | None:
    """The vLLM of this Python, without a local part such as `+cpu`; None without one."""
    try:
        return version("vllm").partition("+")[0]
    except PackageNotFoundError:
        return None


def why_missing(which: str) -> str | None:
    """Why that version cannot be run here; None when it can."""
    if installed_version() is None:
        return "vLLM is not installed in this Python: `make test-vllm` has one that is"
    if which != INSTALLED and not (sources() / which / "coordinator.py").exists():
        return f"vLLM {which} is not fetched: python -m tests.vllm.differential.fetch {which}"
    return None


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """For an import of vLLM: what its dependencies deprecate is their affair."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@cache
def load(which: str) -> tuple[str, ModuleType]:
    """(version, its coordinator module)."""
    with importing():
        import vllm.v1.engine.coordinator as installed
    # It warns of every engine that is a little behind another.
    logging.getLogger("vllm").setLevel(logging.CRITICAL)
    if which == INSTALLED:
        return str(installed_version()), installed
    path = sources() / which / "coordinator.py"
    name = f"vllm_{which.replace('.', '_')}_coordinator"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with _names_where_0_10_looks_for_them():
        spec.loader.exec_module(module)
    logging.getLogger(name).setLevel(logging.CRITICAL)
    return which, module


@contextlib.contextmanager
def _names_where_0_10_looks_for_them() -> Iterator[None]:
    import vllm.utils

    names = {name: getattr(importlib.import_module(home), name) for name, home in _MOVED_SINCE_0_10.items()}
    with mock.patch.multiple(vllm.utils, create=True, **names):
        yield


def has_dense_mode(which: str) -> bool:
    """Whether its loop can leave waves alone (the argument came with 0.14)."""
    return tuple(int(part) for part in which.split(".")[:2]) >= (0, 14)
