"""Addresses: who counts as one."""

from __future__ import annotations

import pytest

from dp_coordinator.hosts import neighbourhood


@pytest.mark.parametrize(
    ("client", "counts_as"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:4711", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2:ffff::1]:443", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("unknown", "unknown"),
    ],
)
def test_who_counts_as_one(client: str, counts_as: str) -> None:
    assert neighbourhood(client) == counts_as
