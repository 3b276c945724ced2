"""Which provisioner a certificate comes from, by an extension that anybody could have written."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from meshfab.host.certificate import read_der
from tests.support.certificates import HOUR, NOW, distinguished_name, unsigned

OID = x509.ObjectIdentifier("1.3.6.1.4.1.37476.9000.64.1")


def element(tag: int, content: bytes) -> bytes:
    size = bytes([len(content)]) if len(content) < 128 else b"\x82" + len(content).to_bytes(2, "big")
    return bytes([tag]) + size + content


def extension(name: bytes, kid: bytes = b"kid") -> bytes:
    return element(0x30, element(2, b"\1") + element(4, name) + element(4, kid))


def named(value: bytes | None) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = unsigned("wiki.internal", distinguished_name("CA"), key, NOW, HOUR)
    if value is not None:
        builder = builder.add_extension(x509.UnrecognizedExtension(OID, value), False)
    return read_der(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)).provisioner


@pytest.mark.parametrize("kid", [b"kid", b"k" * 300])
def test_the_name_is_read(kid: bytes) -> None:
    assert named(extension("lair é".encode(), kid)) == "lair é"


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"\x30",
        b"\x30\x84\xff\xff\xff\xff",
        extension(b"lair")[:-10],
        extension(b"\xff\xfe"),
        element(0x30, element(4, b"lair")),
        element(4, b"lair"),
    ],
)
def test_anything_else_has_no_name(value: bytes | None) -> None:
    assert named(value) == ""
