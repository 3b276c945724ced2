"""A provisioner's public key in both of its forms, against what OpenSSH, step and RFC 7638 have."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from meshfab.ca import public_jwk

# RFC 8037, appendix A.3: the thumbprint of an Ed25519 key.
RFC_8037 = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}


def blob(key: Any) -> bytes:
    line = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return base64.b64decode(line.split()[1])


KEYS = {
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_key_is_the_same_after_both_ways(algorithm: str) -> None:
    key = blob(KEYS[algorithm])
    jwk = public_jwk.of_ssh_key(key)
    assert jwk["alg"] == algorithm
    assert jwk["kid"] == public_jwk.thumbprint(jwk)
    assert "d" not in jwk
    assert public_jwk.to_ssh_key(jwk) == key


def test_the_thumbprint_is_that_of_the_rfc() -> None:
    assert public_jwk.thumbprint({**RFC_8037, "use": "sig"}) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_a_number_without_its_leading_zeros_is_the_same() -> None:
    jwk = {"kty": "EC", "crv": "P-256", "x": "AQ", "y": "Ag"}
    assert public_jwk.to_ssh_key(jwk).endswith(b"\x04" + b"\1".rjust(32, b"\0") + b"\2".rjust(32, b"\0"))


@pytest.mark.parametrize(
    "key", [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())], ids=["RSA", "P-384"]
)
def test_other_kinds_of_keys_are_refused_by_name(key: Any) -> None:
    with pytest.raises(ValueError, match=r"^(ssh-rsa|ecdsa-sha2-nistp384)$"):
        public_jwk.of_ssh_key(blob(key))


@pytest.mark.parametrize(
    "raw",
    [b"", b"\0\0\0", b"\xff" * 8, blob(KEYS["ES256"])[:-1], blob(KEYS["EdDSA"])[:-1]],
    ids=["empty", "no length", "too long", "ECDSA cut short", "Ed25519 cut short"],
)
def test_a_damaged_key_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        public_jwk.of_ssh_key(raw)


@pytest.mark.parametrize(
    "jwk",
    [
        {},
        {"kty": "RSA", "n": "AQAB"},
        {"kty": "EC", "crv": "P-384", "x": "AQ", "y": "AQ"},
        {"kty": "EC", "crv": "P-256", "x": "AQ"},
        {"kty": "EC", "crv": "P-256", "x": "AQ", "y": 7},
        {"kty": "EC", "crv": "P-256", "x": "AQ", "y": "A" * 60},
        {"kty": "OKP", "crv": "Ed25519", "x": "!"},
        {"kty": [], "crv": {}},
    ],
)
def test_a_jwk_that_is_no_ssh_key_is_refused(jwk: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        public_jwk.to_ssh_key(jwk)
