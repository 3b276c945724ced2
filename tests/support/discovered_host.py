"""A mesh in memory for the tests of check-certs and doctor: an authority, pairs, and hosts as a look saw them."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from meshfab.checks.endpoint_probe import EndpointObservation
from meshfab.config.service import Service
from meshfab.host import renewal_units
from meshfab.host.discovery import OWN, Discovery, HostCertificate
from meshfab.host.facts import HostState, ServiceState, Stat, Unit
from meshfab.host.tls_client import Served
from tests.support.certificates import HOUR, NOW, SETTINGS, Pair, distinguished_name, unsigned

if TYPE_CHECKING:
    from datetime import datetime, timedelta

ADDRESS = "10.0.0.2"
TEA = Service.of("tea", SETTINGS)
_ACL = "user::rw-\nuser:nginx:r--\ngroup::r--\nmask::r--\nother::---"


@functools.cache
def root() -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    return _signed("root", None, key, key, NOW - 240 * HOUR, 24000 * HOUR)


@functools.cache
def pair(*names: str, start: datetime = NOW - HOUR, life: timedelta = 24 * HOUR) -> Pair:
    """A leaf for these names, the same one all through a run."""
    return _signed(names[0], names, ec.generate_private_key(ec.SECP256R1()), root().key, start, life)


def _signed(
    name: str,
    sans: tuple[str, ...] | None,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    start: datetime,
    life: timedelta,
) -> Pair:
    made = unsigned(name, distinguished_name("root"), key, start, life)
    extension: x509.ExtensionType = x509.BasicConstraints(True, None)
    if sans is not None:
        extension = x509.SubjectAlternativeName([x509.DNSName(san) for san in sans])
    return Pair(made.add_extension(extension, sans is None).sign(signer, hashes.SHA256()), (), key)


def survey(**changes: Any) -> Discovery:
    """A host with one service, declared by nobody, on which nothing is wrong; fields of either value may be changed."""
    own = HostCertificate("h2.internal", cert="/own/cert", key="/own/key")
    units = {
        "nginx.service": Unit("loaded", "enabled", "active", "success"),
        TEA.timer: Unit("loaded", "enabled", "active", "success", elapses="Mon 2026-11-23 12:10:00 UTC"),
        "step@tea.service": Unit("loaded", "static", "inactive", "success"),
    }
    state = HostState(
        host="h2",
        now=NOW,
        addresses=(ADDRESS,),
        tools={},
        root=root().pem,
        nginx_conf=f"# configuration file /etc/nginx/nginx.conf:\nssl_certificate {TEA.cert};\n",
        nginx_version=(1, 22, 1),
        nginx_user="nginx",
        has_sites=False,
        has_ipv6=False,
        digests={file.path: file.digest for file in renewal_units.wanted(TEA, SETTINGS)},
        stats={
            TEA.cert: Stat("regular file", "root:root", 0o644),
            TEA.key: Stat("regular file", "root:root", 0o640),
            own.cert: Stat("regular file", "root:root", 0o644),
            own.key: Stat("regular file", "root:root", 0o600),
        },
        units=units,
        services={"tea": service_state("tea.internal"), OWN: service_state("h2.internal")},
    )
    whole = Discovery(
        state=state,
        own=own,
        services=(TEA,),
        declared=frozenset(),
        vhosted=frozenset({"tea"}),
        secrets=(),
        resolved={"tea": frozenset({ADDRESS})},
        failed={},
    )
    mine = {key: value for key, value in changes.items() if key in HostState.__dataclass_fields__}
    others = {key: value for key, value in changes.items() if key not in mine}
    return replace(whole, state=replace(state, **mine), **others)


def service_state(fqdn: str, of: Pair | None = None) -> ServiceState:
    of = of or pair(fqdn)
    return ServiceState(cert=of.pem, public=of.public, acl=_ACL)


def observation(
    der: bytes | None = None, *, served: Served | None = None, resolved: tuple[str, ...] = (ADDRESS,)
) -> EndpointObservation:
    """Tea, served with the pair on disk unless told otherwise, under a name that leads there."""
    return EndpointObservation((served or Served(der or pair("tea.internal").der, ADDRESS),), resolved)
