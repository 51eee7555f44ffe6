"""Texts as whole WebSocket frames, made once for all viewers, compressed for those that can undo it."""

from __future__ import annotations

from functools import cached_property

from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode

WINDOW_BITS = 15
_WORTH_IT = 256
"""Bytes of text, below which the work is not."""


def offer() -> ServerPerMessageDeflateFactory:
    """permessage-deflate (RFC 7692) in the one way in which a frame means the same to all viewers: without memory."""
    return ServerPerMessageDeflateFactory(server_no_context_takeover=True, client_no_context_takeover=True)


def undone_by(extensions: object) -> bool:
    """Whether a viewer with these extensions can read what `Frames.deflated` holds."""
    agreed = extensions if isinstance(extensions, list | tuple) else ()
    return any(isinstance(each, PerMessageDeflate) and each.local_max_window_bits == WINDOW_BITS for each in agreed)


class Frames:
    """One text, ready to be written."""

    def __init__(self, text: bytes) -> None:
        self._text = text

    def of(self, deflated: bool) -> bytes:
        """The frame for a viewer that undoes compression, or for one that does not."""
        return self.deflated if deflated and len(self._text) >= _WORTH_IT else self.plain

    @cached_property
    def plain(self) -> bytes:
        """As it is."""
        return Frame(Opcode.TEXT, self._text).serialize(mask=False)

    @cached_property
    def deflated(self) -> bytes:
        """Compressed: 1,024 busy ranks take 1 ms of a core, in which the interpreter is free for START."""
        packer = PerMessageDeflate(True, True, WINDOW_BITS, WINDOW_BITS)
        return Frame(Opcode.TEXT, self._text).serialize(mask=False, extensions=[packer])
