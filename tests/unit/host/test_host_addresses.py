"""The addresses that a host gives, in the form in which they are compared with others."""

from __future__ import annotations

from meshfab.host import host_addresses


def test_a_host_without_ipv4_gives_the_ipv4_addresses_of_a_name_as_mapped_ones() -> None:
    rows = "tea ::ffff:10.87.0.13\ntea fd87::c\n"
    assert host_addresses.resolved(rows) == {"tea": {"10.87.0.13", "fd87::c"}}
