"""Certificates as plain values, and what can be wrong with one. Pure: PEM in, words out.

`cryptography` is imported inside the functions: it costs 70 ms that `inv --list` need not wait for.
"""

from __future__ import annotations

import hashlib
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
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
        ValueError: it is empty, cut, not PEM, or holds what no certificate may; the text says which.
    """
    if not pem.strip():
        raise ValueError("the file is empty")
    if pem.count("-----BEGIN CERTIFICATE-----") != pem.count("-----END CERTIFICATE-----"):
        raise ValueError("the file is cut short")
    try:
        return _parsed(pem.encode(), is_pem=True)
    except Exception as error:
        # The parser has a dozen kinds for damaged bytes (InvalidVersion, UnsupportedAlgorithm, …), not of one tree.
        raise ValueError(f"the file is not a PEM certificate ({type(error).__name__})") from None


def read_der(der: bytes) -> Leaf:
    """Parse a leaf as a TLS client gets it; its chain is not among it.

    Raises:
        ValueError: it is no certificate.
    """
    try:
        return _parsed(der, is_pem=False)
    except Exception as error:
        raise ValueError(f"what is served is not a certificate ({type(error).__name__})") from None


def leaf_of(pem: str | None) -> Leaf | None:
    """The leaf of a chain file, None where there is no file or nothing that can be read."""
    try:
        return read_leaf(pem or "")
    except ValueError:
        return None


@contextmanager
def _long_names() -> Iterator[None]:
    """A CN of over 64 characters breaks X.520's bound and nothing else: clients ignore the CN."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def _parsed(raw: bytes, *, is_pem: bool) -> Leaf:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    chain = x509.load_pem_x509_certificates(raw) if is_pem else [x509.load_der_x509_certificate(raw)]
    leaf = chain[0]
    with _long_names():
        for certificate in chain:
            # Parsed when they are asked for: damage in them is to show here and not later.
            _ = certificate.subject, certificate.issuer
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        sans = names.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        sans = []
    return Leaf(
        der=leaf.public_bytes(Encoding.DER),
        public=leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        sans=tuple(sorted(sans)),
        serial=leaf.serial_number,
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
        issuers=tuple(issuer.public_bytes(Encoding.DER) for issuer in chain[1:]),
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

    The dates of the leaf are not judged here: one that has expired is checked as of its last moment. A walk of our own
    over `cryptography`'s signature check, because its path validation holds a private CA to the rules for public ones
    (no Ed25519, no SHA-1 root) with no way to leave them.
    """
    from cryptography import x509

    try:
        roots = x509.load_pem_x509_certificates(root_pem.encode())
    except ValueError:
        return "the root file holds no certificate"
    with _long_names():
        return _walk(leaf, roots, min(max(now, leaf.not_before), leaf.not_after))


def _walk(leaf: Leaf, roots: list[Certificate], moment: datetime) -> str:
    from cryptography import x509

    first = below = x509.load_der_x509_certificate(leaf.der)
    remaining = [x509.load_der_x509_certificate(der) for der in leaf.issuers]
    while True:
        issuer = next((candidate for candidate in (*roots, *remaining) if _is_issuer(candidate, below)), None)
        if issuer is None:
            return "neither the root nor a certificate in the file issued " + ("it" if below == first else "its issuer")
        if not issuer.not_valid_before_utc <= moment <= issuer.not_valid_after_utc:
            begin, end = issuer.not_valid_before_utc, issuer.not_valid_after_utc
            return f"its issuer is valid from {begin:%Y-%m-%d} to {end:%Y-%m-%d} only"
        if issuer in roots:
            return ""
        remaining.remove(issuer)
        below = issuer


def _is_issuer(issuer: Certificate, below: Certificate) -> bool:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature

    try:
        below.verify_directly_issued_by(issuer)
        return bool(issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False


def warm_up() -> None:
    """Import what the other functions here need, in a thread that has nothing better to do while a host answers."""
    import cryptography.x509  # noqa: F401
