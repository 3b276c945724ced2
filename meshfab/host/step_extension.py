"""Which provisioner a certificate comes from: the extension that step-ca puts into each certificate.

It is `SEQUENCE { type INTEGER, name OCTET STRING, credentialID OCTET STRING, … }` (authority/provisioner/extension.go).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

_OID = "1.3.6.1.4.1.37476.9000.64.1"
_SEQUENCE, _INTEGER, _OCTET_STRING = 0x30, 0x02, 0x04
_MAX_NAME = 256


def provisioner_name(certificate: Certificate) -> str:
    """The name of the provisioner that minted it; empty if it does not say, as with disableSmallstepExtensions."""
    from cryptography import x509

    try:
        extension = certificate.extensions.get_extension_for_oid(x509.ObjectIdentifier(_OID)).value
        _, after_type = _element(_element(extension.public_bytes(), _SEQUENCE)[0], _INTEGER)
        return _element(after_type, _OCTET_STRING)[0][:_MAX_NAME].decode()
    except Exception:  # the parser raises a dozen unrelated types for damaged bytes
        return ""


def _element(raw: bytes, tag: int) -> tuple[bytes, bytes]:
    """The content of the DER element that `raw` begins with, and what follows it (X.690, 8.1.3).

    Raises:
        ValueError: it is another element, or cut short.
    """
    if len(raw) < 2 or raw[0] != tag:
        raise ValueError(f"not an element with the tag {tag}")
    more = raw[1] & 0x7F if raw[1] & 0x80 else 0
    start = 2 + more
    end = start + (int.from_bytes(raw[2:start], "big") if more else raw[1])
    if more > 2 or end > len(raw):
        raise ValueError("cut short")
    return raw[start:end], raw[end:]
