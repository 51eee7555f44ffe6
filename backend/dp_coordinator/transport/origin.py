"""What libzmq tells of where a frame came from, when it is received with `copy=False`."""

from __future__ import annotations

import zmq

from dp_coordinator.transport.zap import NUMBER


def descriptor_of(frame: zmq.Frame) -> int:
    """The descriptor of the connection that a frame came through; -1 where libzmq made it up."""
    return int(_property(frame, "__fd") or -1)


def number_of(frame: zmq.Frame) -> int:
    """What its connection was given at the door; 0 where there is none."""
    return int(_property(frame, NUMBER) or 0)


def socket_type_of(frame: zmq.Frame) -> str:
    """What its sender says it is, such as `XSUB`."""
    return _property(frame, "Socket-Type")


def _property(frame: zmq.Frame, name: str) -> str:
    try:
        return str(frame.get(name))
    except zmq.ZMQError:
        return ""
