"""Where to look from: the operator's side, at the host's mesh address, or the host itself where that is impossible."""

from __future__ import annotations

import dataclasses
from threading import Thread
from typing import TYPE_CHECKING

from meshfab.host import certificate, tls_client
from meshfab.host.tls_client import Served

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshfab.host.facts import HostState
    from meshfab.ssh.root_shell import RootShell


# How long the first look may keep a run waiting whose host has answered already.
_PATIENCE = 1.0


class Eye:
    """Looks at what clients of one name get on one host.

    The first look starts with the object, beside the SSH handshake: on most days the name resolves to the host, and the
    answer is there by the time the host's state is.
    """

    def __init__(self, shell: RootShell, fqdn: str) -> None:
        self.shell, self.fqdn = shell, fqdn
        self.last: Served | None = None
        self._resolved: tuple[str, ...] = ()
        self._early: Served | None = None
        self._is_filtered = False
        self._looking = Thread(target=self._first, name="eye", daemon=True)
        self._looking.start()

    def look(self, state: HostState, port: int, addresses: tuple[str, ...] = ()) -> Served:
        """Ask for the leaf at the host's mesh address, or at one of those that only the service listens on."""
        self._looking.join(_PATIENCE)
        # Packets that vanish are a wall between here and the mesh, and the host is asked at once.
        is_walled = self._is_filtered or bool(self._resolved and self._looking.is_alive())
        early, self._early = self._early, None
        address = self._address(state, addresses)
        if early and early.der and (early.address, early.port) == (address, port):
            self.last = dataclasses.replace(early, resolved=self._resolved)
            return self.last
        found = Served(None, address, port, why="no answer") if is_walled else tls_client.ask(address, self.fqdn, port)
        if found.der is None:
            found = self._from_host(found)
            # Once the host has seen what we could not, it goes on looking for us.
            self._is_filtered = is_walled or bool(found.via)
        self.last = dataclasses.replace(found, resolved=self._resolved)
        return self.last

    def _first(self) -> None:
        self._resolved = tls_client.resolve(self.fqdn)
        if self._resolved:
            found = tls_client.ask(self._resolved[0], self.fqdn)
            self._early = dataclasses.replace(found, resolved=self._resolved)
        certificate.warm_up()

    def _address(self, state: HostState, addresses: tuple[str, ...]) -> str:
        """The mesh address: the one the name resolves to if it is the host's, else the one that SSH reached."""
        c = self.shell.c
        peer = str(c.transport.getpeername()[0]) if not c.gateway else ""
        return mesh_address(self._resolved, addresses or state.addresses, peer)

    def _from_host(self, failed: Served) -> Served:
        """The same question through the root shell, for an operator who is not on the mesh."""
        at = f"[{failed.address}]:{failed.port}" if ":" in failed.address else f"{failed.address}:{failed.port}"
        answer = self.shell.run("served", at, self.fqdn)
        leaf = certificate.leaf_of(answer.text)
        return Served(leaf.der, failed.address, failed.port, via=self.shell.host) if leaf else failed


def mesh_address(resolved: Sequence[str], own: Sequence[str], peer: str) -> str:
    """The host's address among those that its name resolves to, else the one that SSH reached, else its first.

    >>> mesh_address(["10.0.0.9"], ["192.168.1.2", "10.0.0.9"], "192.168.1.2")
    '10.0.0.9'
    """
    found = [address for address in resolved if address in own]
    if found:
        return found[0]
    return peer if peer in own else next(iter(own), peer or "127.0.0.1")
