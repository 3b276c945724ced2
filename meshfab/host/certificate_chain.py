"""Whether a certificate chains to the mesh's root. Pure: certificates in, the fault in words out."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from meshfab.host.certificate import BEGIN, MAX_FILE, long_names

if TYPE_CHECKING:
    from datetime import datetime

    from cryptography.x509 import Certificate

    from meshfab.host.certificate import Leaf

# A chain has a leaf, one or two intermediates, perhaps the root. Each step up takes a signature check, half a
# millisecond, for each candidate of the issuer's name; there are two while a root is replaced.
_MAX_ROOTS = 20
_MAX_SIGNATURE_CHECKS = 4
# The kinds of key that Go's crypto/x509, and so step-ca, signs with; others take several times as long to check.
_CURVES = ("secp256r1", "secp384r1", "secp521r1")
_MAX_RSA_BITS = 8192
_MAX_RSA_EXPONENT = 2**32


def chain_fault(leaf: Leaf, root_pem: str, now: datetime) -> str:
    """Why the leaf does not chain to the root, in words; empty when it does.

    The dates of the leaf are not checked here: an expired one is checked as of its last second. This builds the
    chain with `cryptography`'s signature check, because its path validation applies the rules for public CAs to a
    private one (no Ed25519, no SHA-1 root), and cannot be told otherwise.
    """
    try:
        roots = read_roots(root_pem)
    except ValueError as error:
        return str(error)
    with long_names():
        return _walk(leaf, roots, min(max(now, leaf.not_before), leaf.not_after))


@functools.lru_cache(maxsize=8)
def read_roots(pem: str) -> tuple[Certificate, ...]:
    """Parse a file of root certificates.

    Raises:
        ValueError: it has none, or more than a mesh has; the text says which.
    """
    from cryptography import x509

    if pem.count(BEGIN) > _MAX_ROOTS or len(pem) > MAX_FILE:
        raise ValueError(f"the root file holds more than {_MAX_ROOTS} certificates")
    try:
        with long_names():
            roots = x509.load_pem_x509_certificates(pem.encode())
            for root in roots:
                _ = root.subject, root.issuer
    except Exception:  # the parser raises unrelated types, as in `read_leaf`
        raise ValueError("the root file holds no certificate") from None
    return tuple(roots)


def fingerprints(root_pem: str) -> list[str]:
    """The SHA-256 of each certificate in a root file, hex; none if it cannot be parsed."""
    from cryptography.hazmat.primitives.hashes import SHA256

    try:
        return [root.fingerprint(SHA256()).hex() for root in read_roots(root_pem)]
    except ValueError:
        return []


def _walk(leaf: Leaf, roots: tuple[Certificate, ...], moment: datetime) -> str:
    from cryptography import x509

    first = below = x509.load_der_x509_certificate(leaf.der)
    remaining = [x509.load_der_x509_certificate(der) for der in leaf.issuers]
    checks = 0
    while True:
        issuer = None
        for candidate in (*roots, *remaining):
            if candidate.subject != below.issuer:
                continue
            checks += 1
            if checks > _MAX_SIGNATURE_CHECKS:
                return f"more than {_MAX_SIGNATURE_CHECKS} signatures would have to be checked"
            if _is_issuer(candidate, below):
                issuer = candidate
                break
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

    try:
        if not is_quick_to_check(issuer.public_key()):
            return False
        below.verify_directly_issued_by(issuer)
        return bool(issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except Exception:  # InvalidSignature, and a dozen unrelated types for damaged bytes, as in `read_leaf`
        return False


def is_quick_to_check(key: object) -> bool:
    """Whether a signature by this public key is checked in a millisecond."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    if isinstance(key, rsa.RSAPublicKey):
        return key.key_size <= _MAX_RSA_BITS and key.public_numbers().e < _MAX_RSA_EXPONENT
    return not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name in _CURVES
