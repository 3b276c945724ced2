"""Certificates for the unit tests, made on demand and kept in memory only."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from meshfab.config.service import Service
from meshfab.config.settings import Settings

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
BACKDATE = timedelta(minutes=1)
SETTINGS = Settings()
SERVICE = Service.of("gongfoo", SETTINGS)


@dataclass(frozen=True)
class Pair:
    """A certificate with its chain and its key."""

    certificate: x509.Certificate
    issuers: tuple[x509.Certificate, ...]
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        return "".join(pem_of(certificate) for certificate in (self.certificate, *self.issuers))

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def public(self) -> str:
        """What `openssl pkey -pubout` prints of its key."""
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


@dataclass(frozen=True)
class Authority:
    """A root, and the intermediate under it that issues."""

    root: Pair
    intermediate: Pair

    @property
    def root_pem(self) -> str:
        return pem_of(self.root.certificate)

    def pair(
        self,
        *names: str,
        start: datetime = NOW - BACKDATE,
        life: timedelta = 24 * HOUR,
        subject: str = "",
        without_chain: bool = False,
    ) -> Pair:
        """A leaf with these DNS names; `without_chain` leaves the intermediate out of the file."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = unsigned(
            subject or (names[0] if names else ""), self.intermediate.certificate.subject, key, start, life
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
        signed = builder.sign(self.intermediate.key, hashes.SHA256())
        return Pair(signed, () if without_chain else (self.intermediate.certificate,), key)


def pem_of(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


@functools.cache
def authority(name: str = "Mesh") -> Authority:
    """The authority of that name; the same one during a whole test run."""
    root = _issuer(f"{name} root", None, 1)
    return Authority(root, _issuer(f"{name} intermediate", root, 0))


def _issuer(name: str, parent: Pair | None, depth: int) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = parent.certificate.subject if parent else distinguished_name(name)
    builder = unsigned(name, subject, key, NOW - 24 * HOUR, 24 * 365 * HOUR)
    builder = builder.add_extension(x509.BasicConstraints(True, depth), True)
    signed = builder.sign(parent.key if parent else key, hashes.SHA256())
    return Pair(signed, (), key)


def unsigned(
    name: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, start: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(distinguished_name(name))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + life)
    )


def distinguished_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64] or "nameless")])


def good_pair(*names: str) -> Pair:
    """The pair for these names, valid for nearly a day; the same one during a whole test run."""
    return _good_pair(names or (SERVICE.fqdn,))


@functools.cache
def _good_pair(names: tuple[str, ...]) -> Pair:
    return authority().pair(*names)
