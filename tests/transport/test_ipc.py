"""Sockets that are files: whose they are, and what becomes of them."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from dp_coordinator.transport import BindError, Sockets
from dp_coordinator.transport.ipc import file_of


@pytest.fixture
def addresses(tmp_path: Path) -> Any:
    return [f"ipc://{tmp_path}/{name}" for name in ("front", "output", "back")]


def test_a_path_at_which_a_living_process_listens_is_refused(addresses: list[str]) -> None:
    with Sockets(*addresses), pytest.raises(BindError, match=r"ipc://.*/front: a living process listens there"):
        Sockets(*addresses)


def test_one_whose_listener_is_busy_is_refused_too(addresses: list[str], tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as waiting:
        listener.bind(f"{tmp_path}/front")
        listener.listen(0)
        waiting.connect(f"{tmp_path}/front")
        with pytest.raises(BindError, match="a living process listens there"):
            Sockets(*addresses)


def test_what_a_dead_process_left_is_taken_over(addresses: list[str], tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tmp_path}/front")
    with Sockets(*addresses) as sockets:
        assert sockets.unreachable() == {}


def test_a_file_that_is_no_socket_is_left_alone(addresses: list[str], tmp_path: Path) -> None:
    (tmp_path / "front").write_text("precious")
    with pytest.raises(BindError, match="a file that is no socket is there"):
        Sockets(*addresses)
    assert (tmp_path / "front").read_text() == "precious"


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_the_loss_of_ones_own_file_is_noticed(addresses: list[str], tmp_path: Path, how: str) -> None:
    with Sockets(*addresses) as sockets:
        assert sockets.unreachable() == {}
        os.rename(tmp_path / "output", tmp_path / "away")
        if how == "replaced":
            (tmp_path / "output").write_text("")
        assert sockets.unreachable() == {"back_output": f"{tmp_path}/output was {how} by somebody else"}
        os.rename(tmp_path / "away", tmp_path / "output")
        assert sockets.unreachable() == {}


@pytest.mark.parametrize("kind", ["ipc", "tcp"])
def test_a_patient_one_takes_an_address_as_soon_as_it_is_free(addresses: list[str], tmp_path: Path, kind: str) -> None:
    taken = socket.socket(socket.AF_UNIX) if kind == "ipc" else socket.socket()
    with taken:
        taken.bind(f"{tmp_path}/front" if kind == "ipc" else ("127.0.0.1", 0))
        taken.listen()
        if kind == "tcp":
            addresses[0] = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        sockets = Sockets(*addresses, patient=True)
        assert sockets.unreachable()["front_publish"].startswith(f"cannot bind front_publish to {addresses[0]}: ")
        assert sockets.endpoints().front_publish == addresses[0]
    with sockets:
        assert sockets.unreachable() == {}
        assert sockets.endpoints().front_publish == addresses[0]


def test_only_names_with_a_file_are_watched() -> None:
    assert [file_of(name) for name in ("tcp://127.0.0.1:1", "ipc://*", "ipc://@abstract")] == [None] * 3
