"""Decide which certificates of a service are revoked, and by what: their own pairs on the host, or tokens. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshfab.host import certificate, certificate_chain, history

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from meshfab.config.service import Service
    from meshfab.host.history import Generation
    from meshfab.provisioning.remains import RetirementRequest, ServiceRemains


@dataclass(frozen=True)
class PlannedRevocation:
    """A certificate to revoke.

    Attributes:
        generation: the certificate.
        cert: with `key`, the pair that revokes it on the host; empty if it is not there.
        key: see `cert`.
        may_sign: whether a token may revoke it from here.
    """

    generation: Generation
    cert: str = ""
    key: str = ""
    may_sign: bool = False


def decide(
    remains: ServiceRemains, request: RetirementRequest
) -> tuple[tuple[PlannedRevocation, ...], tuple[Generation, ...]]:
    """The certificates that are revoked, and how, and those that are not; each oldest first.

    Each that the CA would still renew counts: a revocation at step-ca is for one serial, and a renewal keeps the key.
    """
    planned, unrevoked = [], []
    certs = _certs(remains, request.service)
    for generation in _live(remains, request.service, certs):
        cert, key = _pair_of(generation, certs, remains) if remains.state.step else ("", "")
        may_sign = _may_sign(generation, certs, remains, request)
        if request.revokes and (key or may_sign):
            planned.append(PlannedRevocation(generation, cert, key, may_sign))
        else:
            unrevoked.append(generation)
    return tuple(planned), tuple(unrevoked)


def _may_sign(
    generation: Generation, certs: Mapping[str, certificate.Leaf], remains: ServiceRemains, request: RetirementRequest
) -> bool:
    """Whether the host has proved that the serial is one of the service's: a hostile one would name any other."""
    return bool(request.root) and any(
        leaf.serial == generation.serial
        and request.service.fqdn in leaf.sans
        and not certificate_chain.chain_fault(leaf, request.root, remains.state.now)
        for leaf in certs.values()
    )


def _certs(remains: ServiceRemains, service: Service) -> dict[str, certificate.Leaf]:
    """The certificates that are on the host, by path: the live one first."""
    texts = {service.cert: remains.state.services[service.name].cert or "", **remains.certs}
    leaves = {path: certificate.leaf_of(text) for path, text in texts.items()}
    return {path: leaf for path, leaf in leaves.items() if leaf}


def _live(remains: ServiceRemains, service: Service, certs: Mapping[str, certificate.Leaf]) -> list[Generation]:
    """The certificates that the CA would still renew: those of the history, and those that lie there."""
    now, known = remains.state.now, remains.state.services[service.name].history
    found = {
        leaf.serial: history.Generation(leaf.serial, leaf.not_before, leaf.not_after, history.digest(leaf))
        for leaf in certs.values()
        if not known.has(leaf) and leaf.not_before <= now < leaf.not_after
    }
    return sorted([*known.live(now), *found.values()], key=lambda generation: generation.not_before)


def _pair_of(generation: Generation, certs: Mapping[str, certificate.Leaf], remains: ServiceRemains) -> tuple[str, str]:
    """The certificate's file and its key's; empty if one of them is not there."""
    for cert, leaf in certs.items():
        if leaf.serial == generation.serial:
            for key, public in remains.keys.items():
                if certificate.is_key_of(leaf, public):
                    return cert, key
    return "", ""


def describe_all(revocations: Sequence[PlannedRevocation]) -> str:
    """All of them in one text."""
    return "; ".join(describe(each.generation) for each in revocations)


def describe(generation: Generation) -> str:
    """A certificate in a sentence."""
    return f"serial {generation.serial}, valid until {generation.not_after:%Y-%m-%d %H:%M} UTC"
