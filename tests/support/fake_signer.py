"""A signer in the place of `OperatorSigner`: it signs as the CA does, without a CA."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.certificates import HOUR, NOW, authority, pem_of, unsigned

if TYPE_CHECKING:
    from meshfab.ca.certificate_request import CertificateRequest


class Signer:
    """Signs as the CA does, or with another key or names."""

    root_pem = authority().root_pem

    def __init__(self, *, names: tuple[str, ...] = (), other_key: bool = False) -> None:
        self.names, self.other_key = names, other_key
        self.signed: list[tuple[str, ...]] = []
        self.unlocked_early = 0

    def unlock_early(self) -> None:
        self.unlocked_early += 1

    def sign(self, request: CertificateRequest, _c: Any) -> str:
        self.signed.append(request.names)
        names = self.names or request.names
        key: Any = x509.load_pem_x509_csr(request.pem.encode()).public_key()
        ours = ec.generate_private_key(ec.SECP256R1())
        intermediate = authority().intermediate
        builder = unsigned(names[0], intermediate.certificate.subject, ours, NOW - HOUR, 24 * HOUR)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
        # The builder refuses a second key: it is replaced.
        builder._public_key = ours.public_key() if self.other_key else key
        leaf = builder.sign(intermediate.key, hashes.SHA256())
        return pem_of(leaf) + pem_of(intermediate.certificate)
