"""What can go wrong on the way to a coordinator."""

from __future__ import annotations


class ClientError(Exception):
    """Base of this package's errors."""


class NotReadyError(ClientError, TimeoutError):
    """READY did not come in time: the coordinator is not there, or other engines are missing."""


class NoEngineError(ClientError, LookupError):
    """There is no engine to choose: no load was published yet, or every engine was excluded."""


class ProtocolError(ClientError):
    """The peer sent something that the protocol does not have: it is no coordinator, or speaks another dialect."""
