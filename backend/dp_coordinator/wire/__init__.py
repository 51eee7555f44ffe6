"""Bytes to events and effects to bytes: every frame layout, on either side of the coordinator's sockets."""
