"""With this folder on PYTHONPATH a coordinator process, vLLM's own or ours, notes every message it takes or sends.

One file a process in the folder that DP_COORDINATOR_RECORD names: JSON lines {t, role, dir, frames}, times of the wall
clock, frames in hex. vLLM's code and ours stay as they are: their modules' sockets are of a class that takes notes.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from typing import Any, TextIO

FOLDER = os.environ.get("DP_COORDINATOR_RECORD")
ROLES = ("front_xpub", "back_pull", "back_xpub")  # in the order in which both coordinators bind them


class Notes:
    """The file of this process, opened with the first line."""

    def __init__(self) -> None:
        self._file: TextIO | None = None
        self.roles: dict[int, str] = {}

    def write(self, role: str, direction: str, frames: Sequence[bytes]) -> None:
        import json
        import time

        if self._file is None:
            path = os.path.join(FOLDER or ".", f"{time.time_ns()}-{os.getpid()}.jsonl")
            self._file = open(path, "w", buffering=1)  # noqa: SIM115  (open as long as the process lives)
        line = {"t": time.time(), "role": role, "dir": direction, "frames": [bytes(f).hex() for f in frames]}
        self._file.write(json.dumps(line) + "\n")

    def socket_class(self) -> Any:
        import zmq

        notes = self

        class RecordingSocket(zmq.Socket[bytes]):
            _in_multipart = False

            def recv(self, *arguments: Any, **options: Any) -> Any:
                frame = super().recv(*arguments, **options)
                notes.write(notes.roles[id(self)], "recv", [frame])
                return frame

            def send(self, frame: Any, *arguments: Any, **options: Any) -> Any:  # type: ignore[override]
                if not RecordingSocket._in_multipart:
                    notes.write(notes.roles[id(self)], "send", [frame])
                return super().send(frame, *arguments, **options)

            def send_multipart(self, frames: Any, *arguments: Any, **options: Any) -> Any:  # type: ignore[override]
                notes.write(notes.roles[id(self)], "send", frames)
                RecordingSocket._in_multipart = True
                try:
                    return super().send_multipart(frames, *arguments, **options)
                finally:
                    RecordingSocket._in_multipart = False

        return RecordingSocket

    def bound(self, socket: Any) -> None:
        self.roles[id(socket)] = ROLES[len(self.roles)]


notes = Notes()


def record_vllm(module: Any) -> None:
    make, begin = module.make_zmq_socket, module.DPCoordinatorProc.__init__

    def make_and_note(*arguments: Any, **options: Any) -> Any:
        options["ctx"]._socket_class = notes.socket_class()
        socket = make(*arguments, **options)
        notes.bound(socket)
        return socket

    def begin_and_note(self: Any, *arguments: Any, **options: Any) -> None:
        notes.write("proc", "args", [repr((arguments, options)).encode()])
        begin(self, *arguments, **options)

    module.make_zmq_socket = make_and_note
    module.DPCoordinatorProc.__init__ = begin_and_note


def record_our_sockets(module: Any) -> None:
    bind = module.Sockets._bind

    def bind_and_note(self: Any, name: str, kind: str, address: str) -> Any:
        self.context._socket_class = notes.socket_class()
        socket = bind(self, name, kind, address)
        notes.bound(socket)
        return socket

    module.Sockets._bind = bind_and_note


def record_our_arguments(module: Any) -> None:
    begin = module.Coordinator.__init__

    def begin_and_note(self: Any, engine_count: int, dialect: str, **options: Any) -> None:
        told = {"engine_count": engine_count, "enable_wave_coordination": options["wave_coordination"]}
        notes.write("proc", "args", [repr(((), told)).encode()])
        begin(self, engine_count, dialect, **options)

    module.Coordinator.__init__ = begin_and_note


HOOKS = {
    "vllm.v1.engine.coordinator": record_vllm,
    "dp_coordinator.transport.sockets": record_our_sockets,
    "dp_coordinator.core.coordinator": record_our_arguments,
}


class Finder(importlib.abc.MetaPathFinder):
    """Lets the ordinary finders find these modules, and changes them when they have been executed."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        hook = HOOKS.get(name)
        if hook is None:
            return None
        spec: Any = importlib.machinery.PathFinder.find_spec(name, path, target)
        execute = spec.loader.exec_module

        def execute_and_hook(module: Any) -> None:
            execute(module)
            hook(module)

        spec.loader.exec_module = execute_and_hook
        return spec


if FOLDER:
    sys.meta_path.insert(0, Finder())
