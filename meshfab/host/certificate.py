"""Certificates as plain values, and the faults they can have. Pure: PEM in, messages out.

`cryptography` is imported inside the functions: it takes 70 ms, and `inv --list` must not wait for it.
"""

from __future__ import annotations

import functools
import hashlib
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshfab.host import step_extension

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime, timedelta

BEGIN = "-----BEGIN CERTIFICATE-----"
# Leaf, one or two intermediates, perhaps the root.
_MAX_CHAIN = 6
MAX_FILE = 128 * 1024
_MAX_KEY_FILE = 16 * 1024
# A leaf with 250 names of 60 characters has 15 KiB, an intermediate or root with an RSA key of 8192 bits 3 KiB.
_MAX_LEAF = 16 * 1024
_MAX_ISSUER = 4 * 1024
_MAX_NAMES = 250
_MAX_NAME = 253
# RFC 5280, 4.1.2.2, allows 20 bytes.
_MAX_SERIAL_BITS = 8 * 64


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
        provisioner: name of the CA's provisioner that issued it, from Smallstep's extension; empty if it has none.
    """

    der: bytes
    public: bytes
    sans: tuple[str, ...]
    serial: int
    not_before: datetime
    not_after: datetime
    issuers: tuple[bytes, ...]
    provisioner: str = ""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the DER as `openssl x509 -fingerprint` computes it, in lower-case hex."""
        return hashlib.sha256(self.der).hexdigest()

    def remaining(self, now: datetime) -> timedelta:
        """The time until it expires; negative after that."""
        return self.not_after - now

    def is_expiring(self, now: datetime) -> bool:
        """Whether less than a third of its life is left: renewal, due at two thirds, has then failed several times."""
        return is_expiring(self.not_before, self.not_after, now)


def is_expiring(not_before: datetime, not_after: datetime, now: datetime) -> bool:
    """Whether less than a third of the life between two dates is left."""
    return not_after - now < (not_after - not_before) / 3


def read_leaf(pem: str) -> Leaf:
    """Parse a chain file, leaf first.

    Raises:
        ValueError: it is empty, truncated, not PEM, or not a valid certificate; the text says which.
    """
    leaf_or_fault = _read(pem)
    if isinstance(leaf_or_fault, str):
        raise ValueError(leaf_or_fault)
    return leaf_or_fault


# A host's services are judged one after the other, and each judgement reads the same file several times.
@functools.lru_cache(maxsize=32)
def _read(pem: str) -> Leaf | str:
    fault = _fault(pem)
    if fault:
        return fault
    try:
        return _parsed(pem.encode(), is_pem=True)
    except _BoundError as error:
        return str(error)
    except Exception as error:
        # The parser raises a dozen unrelated types for damaged bytes (InvalidVersion, UnsupportedAlgorithm, …).
        return f"the file is not a PEM certificate ({type(error).__name__})"


def _fault(pem: str) -> str:
    """What can be seen without parsing; empty if nothing."""
    faults = {
        "the file is empty": not pem.strip(),
        "the file is cut short": pem.count(BEGIN) != pem.count("-----END CERTIFICATE-----"),
        f"the file holds more than {_MAX_CHAIN} certificates": pem.count(BEGIN) > _MAX_CHAIN,
        f"the file is longer than {MAX_FILE} characters": len(pem) > MAX_FILE,
    }
    return next((fault for fault, is_so in faults.items() if is_so), "")


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


def leaf_of_der(der: bytes | None) -> Leaf | None:
    """The same for what a TLS client got; None also without an answer."""
    try:
        return None if der is None else read_der(der)
    except ValueError:
        return None


class _BoundError(ValueError):
    """A certificate is beyond what any honest one is."""


@contextmanager
def long_names() -> Iterator[None]:
    """Accept a CN of over 64 characters: it breaks X.520's limit, but clients ignore the CN."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def _parsed(raw: bytes, *, is_pem: bool) -> Leaf:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    chain = x509.load_pem_x509_certificates(raw) if is_pem else [x509.load_der_x509_certificate(raw)]
    leaf = chain[0]
    der = leaf.public_bytes(Encoding.DER)
    issuers = tuple(issuer.public_bytes(Encoding.DER) for issuer in chain[1:])
    is_large = len(der) > _MAX_LEAF or any(len(issuer) > _MAX_ISSUER for issuer in issuers)
    if is_large or leaf.serial_number.bit_length() > _MAX_SERIAL_BITS:
        raise _BoundError("a certificate in it is larger than any honest one")
    with long_names():
        for certificate in chain:
            # These are parsed on access; damage in them must show here and not later.
            _ = certificate.subject, certificate.issuer
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        sans = names.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        sans = []
    if len(sans) > _MAX_NAMES or any(len(san) > _MAX_NAME for san in sans):
        raise _BoundError(f"it has more than {_MAX_NAMES} names, or longer ones than DNS has")
    return Leaf(
        der=der,
        public=leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        sans=tuple(sorted(sans)),
        serial=leaf.serial_number,
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
        issuers=issuers,
        provisioner=step_extension.provisioner_name(leaf),
    )


def is_key_of(leaf: Leaf, public_pem: str) -> bool:
    """Whether a public key (PEM, from `openssl pkey -pubout`) is the leaf's."""
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        load_pem_public_key,
    )

    if len(public_pem) > _MAX_KEY_FILE:
        return False
    try:
        key = load_pem_public_key(public_pem.encode())
    except Exception:  # the loader raises unrelated types, as in `read_leaf`
        return False
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == leaf.public


def warm_up() -> None:
    """Import what the other functions here need, in a thread, while a host answers."""
    import cryptography.x509  # noqa: F401
