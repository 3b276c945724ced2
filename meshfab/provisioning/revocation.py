"""Revoke certificates at the CA: with a token that is signed here, or on the host, with the certificate's own pair.

A revocation is passive at step-ca: the certificate stays valid until it expires, and is renewed no more.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from meshfab.config import validation
from meshfab.config.settings import Settings
from meshfab.errors import InputError, RevokeError
from meshfab.host import certificate, discovery, history
from meshfab.provisioning import service_lock
from meshfab.provisioning.request import revoking_means
from meshfab.ssh.root_shell import RootShell
from meshfab.ssh.script import Request

if TYPE_CHECKING:
    from fabric import Connection

    from meshfab.config.service import Service
    from meshfab.host.certificate import Leaf
    from meshfab.host.facts import HostState
    from meshfab.ssh.script import Answer


@dataclass(frozen=True)
class Revocation:
    """A certificate that the CA renews no more.

    Attributes:
        serial: its serial number.
        way: "token" if the provisioner's key revoked it from here, "pair" if its own pair did, on the host.
        was_revoked: whether it was revoked before.
        fqdn: the service whose certificate it is on the host that was asked; empty if that is not known.
    """

    serial: int
    way: Literal["token", "pair"]
    was_revoked: bool
    fqdn: str = ""


def revoke(c: Connection | None, serial: int | str, *, settings: Settings | None = None) -> Revocation:
    """Have the CA renew a certificate no more. One that is revoked already counts as done.

    Where `settings.signing` puts the provisioner's key on this side, a token revokes the serial, whatever host has the
    certificate. The CA takes any number, and does not say whether it ever issued a certificate with it. Otherwise the
    pair with that serial revokes itself, on the host.

    Args:
        c: a Fabric connection to the host that has the pair; None if a token is to revoke it.
        serial: the serial number; as text in decimal, as `step` prints it, or in hex, as openssl does.
        settings: the mesh's conventions; None reads them from `c.config`.

    Raises:
        InputError: the serial is none, or nothing that could revoke it was given; nothing was connected.
        ConnectError: the host cannot be reached.
        LockedError: another run or the renewal works on the service.
        RevokeError: the CA is not reached or refuses, or no service of the host has a pair with that serial.
    """
    number = validation.serial(str(serial))
    settings = settings or Settings.load(c.config if c is not None else {})
    with closing(revoking_means(settings)) as means:
        if means.signer is not None:
            return Revocation(number, "token", was_revoked=not means.signer.revoke(number, c))
    if c is None:
        what = "nothing here can sign a revocation, since the hosts mint (signing: host)"
        raise InputError(what, remedy="give the host that has the pair, or --signing operator")
    return _by_pair_on_host(c, number, settings)


def revoke_pair(state: HostState, cert: str, key: str, serial: int, settings: Settings) -> Request:
    """The request that revokes the certificate of this serial with its own pair, on the host."""
    args = (str(state.step), cert, key, settings.ca_url, settings.root, "cessationOfOperation")
    return Request("revoke_pair", (*args, history.hex_serial(serial)))


def mark(service: Service, serial: int) -> Request:
    """The request that records a revocation in the service's history on the host."""
    return Request("mark_revoked", (service.name, history.hex_serial(serial)))


def was_revoked(answer: Answer) -> bool:
    """Whether the pair had been revoked before revoke_pair.sh asked for it."""
    return answer.text == "was revoked"


def explain(answer: Answer, host: str, settings: Settings) -> RevokeError:
    """The error for a failed revoke_pair.sh."""
    what = f"the CA at {settings.ca_url} does not revoke the pair: {answer.err}"
    return RevokeError(what, host=host, remedy="is it up, and can this host reach it? then run this again")


def _by_pair_on_host(c: Connection, serial: int, settings: Settings) -> Revocation:
    with RootShell(c) as shell:
        answer = shell.batch([discovery.request(settings, (), judge=False)])[0]
        found = discovery.parse(answer, shell.host, settings, ())
        service = _service_of(found, serial)
        if service is None:
            what = f"no service of this host has a certificate with the serial {serial}"
            raise RevokeError(what, host=shell.host, remedy="give the host that has it, or --signing operator")
        request = revoke_pair(found.state, service.cert, service.key, serial, settings)
        _, revoked = service_lock.take(shell, [service], request)
        if not revoked.ok:
            raise explain(revoked, shell.host, settings)
        return Revocation(serial, "pair", was_revoked(revoked), service.fqdn)


def _service_of(found: discovery.Discovery, serial: int) -> Service | None:
    for service in found.services:
        leaf: Leaf | None = certificate.leaf_of(found.state.services[service.name].cert)
        if leaf is not None and leaf.serial == serial:
            return service
    return None
