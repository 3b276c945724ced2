"""Certificates as plain values, and what can be wrong with one. Pure: PEM in, words out.

`cryptography` is imported inside the functions: it costs 70 ms that `inv --list` need not wait for.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from cryptography.x509 import Certificate


@dataclass(frozen=True)
class Leaf:
    """The first certificate of a chain file.

    Attributes:
        der: its DER encoding, which is what a TLS client gets.
        public: its public key, DER SubjectPublicKeyInfo.
        sans: the DNS names, sorted. Clients ignore the CN (RFC 9525, 6.3), so it is not among them.
        serial: in decimal, as `step` prints it.
        not_before: start of validity, UTC.
        not_after: end of validity, UTC.
        issuers: the DER certificates that follow it in the file.
    """

    der: bytes
    public: bytes
    sans: tuple[str, ...]
    serial: int
    not_before: datetime
    not_after: datetime
    issuers: tuple[bytes, ...]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the DER, the way `openssl x509 -fingerprint` means it, in lower-case hex."""
        return hashlib.sha256(self.der).hexdigest()

    def remaining(self, now: datetime) -> timedelta:
        """What is left of its life; negative after the end."""
        return self.not_after - now

    def is_expiring(self, now: datetime) -> bool:
        """Under a third of its life left: renewal is due at two thirds, so it has failed for a while."""
        return self.remaining(now) < (self.not_after - self.not_before) / 3


def read_leaf(pem: str) -> Leaf:
    """Parse a chain file, leaf first.

    Raises:
        ValueError: it is empty, cut or not PEM; the text says which.
    """
    from cryptography import x509

    if not pem.strip():
        raise ValueError("the file is empty")
    if pem.count("-----BEGIN CERTIFICATE-----") != pem.count("-----END CERTIFICATE-----"):
        raise ValueError("the file is cut short")
    try:
        chain = x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        # The library's own words are a paragraph about PEM.
        raise ValueError("the file is not a PEM certificate") from None
    return _leaf(chain[0], chain[1:])


def read_der(der: bytes) -> Leaf:
    """Parse a leaf as a TLS client gets it; the chain is not among it.

    Raises:
        ValueError: it is no certificate.
    """
    from cryptography import x509

    return _leaf(x509.load_der_x509_certificate(der), [])


def _leaf(leaf: Certificate, issuers: list[Certificate]) -> Leaf:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    try:
        public = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        sans = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(
            x509.DNSName
        )
    except x509.ExtensionNotFound:
        sans = []
    except (UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise ValueError(f"the certificate is not one that can be used ({error})") from None
    return Leaf(
        der=leaf.public_bytes(Encoding.DER),
        public=public,
        sans=tuple(sorted(sans)),
        serial=leaf.serial_number,
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
        issuers=tuple(issuer.public_bytes(Encoding.DER) for issuer in issuers),
    )


def is_key_of(leaf: Leaf, public_pem: str) -> bool:
    """Whether a public key (PEM, from `openssl pkey -pubout`) is the leaf's."""
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        load_pem_public_key,
    )

    try:
        key = load_pem_public_key(public_pem.encode())
    except ValueError:
        return False
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == leaf.public


def chain_fault(leaf: Leaf, root_pem: str, now: datetime) -> str:
    """Why the leaf does not chain to the root, in words; empty when it does.

    The dates of the leaf are not judged here: a leaf that has expired is checked as of its last moment. Extensions are
    not held to the rules for public CAs, which `cryptography` would apply by default and a private CA need not follow.
    """
    from cryptography import x509
    from cryptography.x509 import verification

    try:
        roots = x509.load_pem_x509_certificates(root_pem.encode())
    except ValueError:
        return "the root file holds no certificate"
    lax = verification.ExtensionPolicy.permit_all()
    issuing = lax.require_present(x509.BasicConstraints, verification.Criticality.AGNOSTIC, None)
    verifier = (
        verification.PolicyBuilder()
        .store(verification.Store(roots))
        .time(min(max(now, leaf.not_before), leaf.not_after))
        .extension_policies(ca_policy=issuing, ee_policy=lax)
        .build_client_verifier()
    )
    try:
        verifier.verify(x509.load_der_x509_certificate(leaf.der), _certificates(leaf.issuers))
    except (verification.VerificationError, ValueError) as error:
        return str(error).rpartition("exhausted: ")[2]
    return ""


def warm_up() -> None:
    """Import what the other functions here need, in a thread that has nothing better to do while a host answers."""
    import cryptography.x509.verification  # noqa: F401


def _certificates(ders: tuple[bytes, ...]) -> list[Certificate]:
    from cryptography import x509

    return [x509.load_der_x509_certificate(der) for der in ders]
