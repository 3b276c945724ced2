"""Certificates as plain values, and the faults they can have. Pure: PEM in, messages out.

`cryptography` is imported inside the functions: it takes 70 ms, and `inv --list` must not wait for it.
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

_BEGIN = "-----BEGIN CERTIFICATE-----"
# Each certificate costs signature checks: a chain has a leaf, one or two intermediates, perhaps the root.
_MAX_CHAIN = 10
_MAX_ROOTS = 20


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
        """SHA-256 of the DER as `openssl x509 -fingerprint` computes it, in lower-case hex."""
        return hashlib.sha256(self.der).hexdigest()

    def remaining(self, now: datetime) -> timedelta:
        """The time until it expires; negative after that."""
        return self.not_after - now

    def is_expiring(self, now: datetime) -> bool:
        """Whether less than a third of its life is left: renewal, due at two thirds, has then failed several times."""
        return self.remaining(now) < (self.not_after - self.not_before) / 3


def read_leaf(pem: str) -> Leaf:
    """Parse a chain file, leaf first.

    Raises:
        ValueError: it is empty, truncated, not PEM, or not a valid certificate; the text says which.
    """
    if not pem.strip():
        raise ValueError("the file is empty")
    if pem.count(_BEGIN) != pem.count("-----END CERTIFICATE-----"):
        raise ValueError("the file is cut short")
    if pem.count(_BEGIN) > _MAX_CHAIN:
        raise ValueError(f"the file holds more than {_MAX_CHAIN} certificates")
    try:
        return _parsed(pem.encode(), is_pem=True)
    except Exception as error:
        # The parser raises a dozen unrelated types for damaged bytes (InvalidVersion, UnsupportedAlgorithm, …).
        raise ValueError(f"the file is not a PEM certificate ({type(error).__name__})") from None


def read_der(der: bytes) -> Leaf:
    """Parse a leaf as a TLS client gets it, without its chain.

    Raises:
        ValueError: it is not a certificate.
    """
    try:
        return _parsed(der, is_pem=False)
    except Exception as error:
        raise ValueError(f"what is served is not a certificate ({type(error).__name__})") from None


def leaf_of(pem: str | None) -> Leaf | None:
    """The leaf of a chain file; None if there is no file or it cannot be parsed."""
    try:
        return read_leaf(pem or "")
    except ValueError:
        return None


@contextmanager
def _long_names() -> Iterator[None]:
    """Accept a CN of over 64 characters: it breaks X.520's limit, but clients ignore the CN."""
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
            # These are parsed on access; damage in them must show here and not later.
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

    The dates of the leaf are not checked here: an expired one is checked as of its last second. This builds the
    chain with `cryptography`'s signature check, because its path validation applies the rules for public CAs to a
    private one (no Ed25519, no SHA-1 root), and cannot be told otherwise.
    """
    from cryptography import x509

    if root_pem.count(_BEGIN) > _MAX_ROOTS:
        return f"the root file holds more than {_MAX_ROOTS} certificates"
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
    """Import what the other functions here need, in a thread, while a host answers."""
    import cryptography.x509  # noqa: F401
