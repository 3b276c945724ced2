"""A certificate signing request (CSR) of a host, checked before it is signed: the host may send any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshfab.errors import MintError

if TYPE_CHECKING:
    from collections.abc import Sequence

# Bytes. A request for a hundred names has 10 KB.
_MAX_PEM = 64 * 1024


@dataclass(frozen=True)
class CertificateRequest:
    """A request that is what it has to be.

    Attributes:
        pem: as the host sent it.
        der: its DER encoding.
        public: the public key in it, PEM.
        names: the names that it asks for, the service's own first.
    """

    pem: str
    der: bytes
    public: str
    names: tuple[str, ...]


def check_request(pem: str, names: Sequence[str]) -> CertificateRequest:
    """Check the CSR of a host.

    Args:
        pem: the CSR.
        names: the names that it must ask for: these, no other, and nothing else.

    Raises:
        MintError: it is something else.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    if len(pem) > _MAX_PEM:
        raise _refused("it is too long")
    try:
        request = x509.load_pem_x509_csr(pem.encode())
        key, is_signed = request.public_key(), request.is_signature_valid
        extensions = list(request.extensions)
        subject = [attribute.value for attribute in request.subject]
    except Exception as error:  # the parser raises a dozen unrelated types for damaged bytes
        raise _refused(f"it cannot be parsed ({type(error).__name__})") from None
    if not (isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)):
        raise _refused("its key is not one on the curve P-256")
    if not is_signed:
        raise _refused("it is not signed with its own key")
    if subject not in ([], [names[0]]):
        raise _refused("its subject is not the service's name")
    requested = [list(extension.value) for extension in extensions if _is_san(extension)]
    if len(extensions) != 1 or requested != [[x509.DNSName(name) for name in names]]:
        raise _refused("it asks for something else than the service's names")
    public = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return CertificateRequest(pem, request.public_bytes(Encoding.DER), public, tuple(names))


def _is_san(extension: object) -> bool:
    from cryptography import x509

    return isinstance(extension, x509.Extension) and isinstance(extension.value, x509.SubjectAlternativeName)


def _refused(why: str) -> MintError:
    return MintError(f"the host's certificate request is refused: {why}", remedy="look at what answers as that host")
