"""Which of a host's addresses its services' names lead to. Pure."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from meshfab.errors import DnsError

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_SHOWN = 8


def choose(host: str, host_addresses: Sequence[str], reached: str, mesh_network: Sequence[str]) -> tuple[str, ...]:
    """The host's own address in each network of the mesh; at least one.

    The address that SSH reached is surely the host's, because its key was verified there. For any other there is only
    the host's word, which is taken where it names one address of the network.

    >>> choose("h2", ["192.168.1.5", "10.87.0.12"], "192.168.1.5", ["10.87.0.0/16"])
    ('10.87.0.12',)

    Args:
        host: the host, as it was named.
        host_addresses: what it says are its own.
        reached: the address that SSH reached; empty behind a jump host.
        mesh_network: the networks of the mesh.

    Raises:
        DnsError: it has none there, or several.
    """
    chosen = []
    for network in map(ip_network, mesh_network):
        addresses = map(ip_address, dict.fromkeys(host_addresses))
        inside = [str(address) for address in addresses if address in network and not address.is_global]
        if reached in inside:
            inside = [reached]
        if len(inside) > 1:
            what = f"it has several addresses in {network}: {', '.join(inside[:_MOST_SHOWN])}"
            raise DnsError(what, host=host, remedy="reach it by the right one over SSH, or set a narrower mesh_network")
        chosen += inside
    if not chosen:
        found = ", ".join(host_addresses[:_MOST_SHOWN]) or "none"
        what = f"it has no address in meshfab.mesh_network, {', '.join(mesh_network)} (it has {found})"
        raise DnsError(what, host=host, remedy="is its mesh interface up? a name leads to the mesh, or nowhere")
    return tuple(chosen)
