"""A JWK provisioner of step-ca, and its private key, which the CA publishes encrypted with the password.

The key is a JWE (RFC 7516) of a JWK (RFC 7517), as smallstep's `jose/encrypt.go` writes it. The libraries for that
refuse its 600,000 rounds: joserfc takes 300,000 at most, jwcrypto 16,384, and Authlib has this algorithm switched off.
So it is decrypted here, with the primitives of `cryptography`.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from meshfab.errors import InputError, MintError, one_line

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    from meshfab.ca.client import CaClient

# step-ca serves at most a hundred at once, and goes on with a cursor (api/api.go).
_PAGE = 100
_MAX_PAGES = 20
# RFC 8018 asks for as many rounds as can be borne; a hostile CA must not burn minutes of this machine's time.
_MAX_ROUNDS = 10_000_000
# RFC 7518, 4.8 and 5.3: what step writes, and the shorter key of the same kind.
_KEY_WRAP = "PBES2-HS256+A128KW"
_ENCRYPTIONS = {"A256GCM": 32, "A128GCM": 16}


@dataclass(frozen=True)
class JwkProvisioner:
    """A JWK provisioner.

    Attributes:
        name: its name at the CA.
        key_id: the `kid` of its key.
        public: its public key, a JWK.
        encrypted_key: its private key, a JWE in compact form; empty if the CA does not publish it.
    """

    name: str
    key_id: str
    public: dict[str, Any]
    encrypted_key: str = ""


def list_provisioners(client: CaClient) -> list[dict[str, Any]]:
    """Every provisioner of the CA, as it describes them.

    Raises:
        MintError: the CA is not reached, or does not list them.
    """
    listed: list[dict[str, Any]] = []
    cursor = ""
    for _ in range(_MAX_PAGES):
        answer = client.get(f"/provisioners?limit={_PAGE}" + (f"&cursor={quote(cursor)}" if cursor else ""))
        page = answer.body.get("provisioners")
        if answer.status != 200 or not isinstance(page, list):
            raise MintError(f"the CA at {client.url} does not list its provisioners ({answer.message})")
        listed += [provisioner for provisioner in page if isinstance(provisioner, dict)]
        cursor = str(answer.body.get("nextCursor") or "")
        if not cursor:
            break
    return listed


def find(client: CaClient, name: str) -> JwkProvisioner:
    """The JWK provisioner of that name.

    Raises:
        MintError: the CA has none, is not reached, or does not list its provisioners.
    """
    for provisioner in list_provisioners(client):
        if provisioner.get("name") == name and provisioner.get("type") == "JWK":
            return from_json(name, provisioner)
    raise MintError(
        f"the CA at {client.url} has no JWK provisioner '{name}'",
        remedy="set meshfab.provisioner, or put it back at the CA",
    )


def from_json(name: str, provisioner: dict[str, Any]) -> JwkProvisioner:
    """A provisioner from the CA's description of it."""
    key, encrypted = provisioner.get("key"), provisioner.get("encryptedKey")
    public = key if isinstance(key, dict) else {}
    return JwkProvisioner(name, str(public.get("kid", "")), public, encrypted if isinstance(encrypted, str) else "")


def unlock(encrypted_key: str, password: str) -> EllipticCurvePrivateKey:
    """Decrypt a provisioner's private key. It takes about a tenth of a second, without Python's global lock.

    Raises:
        InputError: the password is wrong.
        MintError: the key is not of the form that step writes.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
    from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap

    protected, wrapped, nonce, text, tag = _parts(encrypted_key)
    header = _header(protected)
    # RFC 7518, 4.8.1.1: the salt is the algorithm's name, a zero byte, and p2s.
    salt = _KEY_WRAP.encode() + b"\0" + _decoded(header["p2s"])
    derived = PBKDF2HMAC(SHA256(), 16, salt, header["p2c"]).derive(password.encode())
    try:
        content_key = aes_key_unwrap(derived, _decoded(wrapped))
        if len(content_key) != _ENCRYPTIONS[header["enc"]]:
            raise MintError(f"the CA's encrypted key has a content key of {len(content_key)} bytes")
        jwk = AESGCM(content_key).decrypt(_decoded(nonce), _decoded(text) + _decoded(tag), protected.encode())
    except (InvalidUnwrap, InvalidTag):
        raise InputError(
            "the password does not open the provisioner's key", remedy="check meshfab.provisioner_password"
        ) from None
    except ValueError as error:
        raise _not_ours(str(error)) from None
    return _private_key(jwk)


def _parts(encrypted_key: str) -> list[str]:
    parts = encrypted_key.split(".", 5)
    if len(parts) != 5:
        raise _not_ours("it is not a JWE in compact form")
    return parts


def _header(protected: str) -> dict[str, Any]:
    try:
        header = json.loads(_decoded(protected))
    except (ValueError, RecursionError):
        raise _not_ours("its header is not JSON") from None
    if not isinstance(header, dict) or header.get("alg") != _KEY_WRAP or header.get("enc") not in _ENCRYPTIONS:
        raise _not_ours("its algorithm is not known")
    rounds, salt = header.get("p2c"), header.get("p2s")
    if type(rounds) is not int or not 1 <= rounds <= _MAX_ROUNDS or not isinstance(salt, str):
        raise _not_ours(f"its rounds are not a number up to {_MAX_ROUNDS}")
    return header


def _private_key(raw: bytes) -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        jwk = json.loads(raw)
        # RFC 7518, 6.2: a number is base64url of its bytes.
        x, y, d = (int.from_bytes(_decoded(jwk[name]), "big") for name in ("x", "y", "d"))
        if (jwk["kty"], jwk["crv"]) != ("EC", "P-256"):
            raise _not_ours("it is not a key on the curve P-256")
        return ec.EllipticCurvePrivateNumbers(d, ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1())).private_key()
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _not_ours("what is in it is not a JWK") from None


def _decoded(text: Any) -> bytes:
    """Decode base64url without padding (RFC 7515, 2).

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(text, str):
        raise ValueError("not base64url")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise ValueError("not base64url") from None


def _not_ours(why: str) -> MintError:
    return MintError(
        f"the provisioner's encrypted key cannot be used: {one_line(why)[:100]}", remedy="use signing: host"
    )
