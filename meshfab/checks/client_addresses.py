"""The addresses at which a service is asked for, and which of them this machine may connect to."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fabric import Connection

# Of the addresses that only the host itself claims.
_MOST_DIALLED = 8


def peer(c: Connection) -> str:
    """The address that SSH reached; empty behind a jump host, where it is not the host's own."""
    return "" if c.gateway else str(c.transport.getpeername()[0])


def may_dial(address: str, host_addresses: Sequence[str]) -> bool:
    """Whether this machine may connect to an address that nobody but the host says is its own.

    The host may say anything: an address of this machine, of its cloud's metadata service (169.254.169.254), or
    thousands. What is not dialled from here the host is asked to ask itself.

    >>> may_dial("10.87.0.12", ["10.87.0.12"]), may_dial("169.254.169.254", ["169.254.169.254"])
    (True, False)
    """
    if address not in host_addresses[:_MOST_DIALLED]:
        return False
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    # ::/8 with its IPv4 addresses is reserved.
    return not (ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip.is_reserved)


def choose_addresses(
    resolved: Sequence[str], host_addresses: Sequence[str], listen_addresses: Sequence[str], peer: str
) -> tuple[str, ...]:
    """The addresses at which clients reach a service.

    Clients go where the name leads, whatever nginx listens on: every address of the host that the name resolves to.
    Where it leads nowhere or astray, the addresses that nginx listens on for the service alone; else the address that
    SSH reached, else the host's first.

    >>> choose_addresses(["10.0.0.9"], ["192.168.1.2", "10.0.0.9"], ["192.168.1.2"], "192.168.1.2")
    ('10.0.0.9',)
    """
    named = tuple(address for address in resolved if address in host_addresses)
    if named or listen_addresses:
        return named or tuple(listen_addresses)
    return (peer if peer in host_addresses else next(iter(host_addresses), peer or "127.0.0.1"),)
