"""A provisioner's private key, encrypted with the password: the CA publishes it, or a file on this machine holds it.

It is a JWE (RFC 7516) of a JWK (RFC 7517), as smallstep's `jose/encrypt.go` writes it. The libraries for that
refuse its 600,000 rounds: joserfc takes 300,000 at most, jwcrypto 16,384, and Authlib has this algorithm switched off.
So it is decrypted here, with the primitives of `cryptography`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from meshfab.ca import base64url
from meshfab.ca.token_signer import KeySigner
from meshfab.errors import InputError, MintError, one_line

if TYPE_CHECKING:
    from pathlib import Path

# RFC 8018 asks for as many rounds as can be borne; a hostile CA must not burn minutes of this machine's time.
_MAX_ROUNDS = 10_000_000
# RFC 7518, 4.8 and 5.3: what step writes, and the shorter key of the same kind.
_KEY_WRAP = "PBES2-HS256+A128KW"
_ENCRYPTIONS = {"A256GCM": 32, "A128GCM": 16}
# Bytes of a file with a key. A key has half a kilobyte.
_MAX_FILE = 64 * 1024


def read_encrypted_key(file: Path) -> str:
    """Read an encrypted key from a file, and return it in compact form.

    The file holds that form, as `encryptedKey` in ca.json does; or JSON: what `step crypto jwk create` writes, or the
    CA's answer at `/provisioners/<kid>/encrypted-key`.

    Raises:
        InputError: the file cannot be read, or is something else.
    """
    try:
        with file.open("rb") as handle:
            text = handle.read(_MAX_FILE).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise _no_key_file(file, f"cannot be read ({getattr(error, 'strerror', None) or 'it is not text'})") from None
    if not text.startswith("{"):
        return text
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        raise _no_key_file(file, "is not JSON") from None
    # RFC 7516, 7.2.2 and 7.1: the same five parts.
    parts = [fields.get(name) for name in ("protected", "encrypted_key", "iv", "ciphertext", "tag")]
    compact = fields.get("key") or ".".join(part for part in parts if isinstance(part, str))
    if not isinstance(compact, str) or compact.count(".") != 4:
        raise _no_key_file(file, "holds no encrypted key")
    return compact


def _no_key_file(file: Path, problem: str) -> InputError:
    remedy = "set meshfab.provisioner_key to a file with the provisioner's `encryptedKey`"
    return InputError(f"the key file {file} {problem}", remedy=remedy)


def unlock(encrypted_key: str, password: str, key_id: str = "") -> KeySigner:
    """Decrypt a provisioner's private key. It takes about a tenth of a second, without Python's global lock.

    Args:
        encrypted_key: the JWE, in compact form.
        password: the provisioner's.
        key_id: the `kid` under which the CA knows the key; empty takes the one in the JWK.

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
    salt = _KEY_WRAP.encode() + b"\0" + base64url.decode(header["p2s"])
    derived = PBKDF2HMAC(SHA256(), 16, salt, header["p2c"]).derive(password.encode())
    try:
        content_key = aes_key_unwrap(derived, base64url.decode(wrapped))
        if len(content_key) != _ENCRYPTIONS[header["enc"]]:
            raise MintError(f"the provisioner's encrypted key has a content key of {len(content_key)} bytes")
        jwk = AESGCM(content_key).decrypt(
            base64url.decode(nonce), base64url.decode(text) + base64url.decode(tag), protected.encode()
        )
    except (InvalidUnwrap, InvalidTag):
        raise InputError(
            "the password does not open the provisioner's key",
            remedy="check meshfab.provisioner_password, or where else it comes from",
        ) from None
    except ValueError as error:
        raise _not_ours(str(error)) from None
    return _signer(jwk, key_id)


def rounds(encrypted_key: str) -> int:
    """How often PBKDF2 hashes the password for one guess at it.

    Raises:
        MintError: the key is not of the form that step writes.
    """
    return int(_header(_parts(encrypted_key)[0])["p2c"])


def _parts(encrypted_key: str) -> list[str]:
    parts = encrypted_key.split(".", 5)
    if len(parts) != 5:
        raise _not_ours("it is not a JWE in compact form")
    return parts


def _header(protected: str) -> dict[str, Any]:
    try:
        header = json.loads(base64url.decode(protected))
    except (ValueError, RecursionError):
        raise _not_ours("its header is not JSON") from None
    if not isinstance(header, dict) or header.get("alg") != _KEY_WRAP or header.get("enc") not in _ENCRYPTIONS:
        raise _not_ours("its algorithm is not known")
    rounds, salt = header.get("p2c"), header.get("p2s")
    if type(rounds) is not int or not 1 <= rounds <= _MAX_ROUNDS or not isinstance(salt, str):
        raise _not_ours(f"its rounds are not a number up to {_MAX_ROUNDS}")
    return header


def _signer(raw: bytes, key_id: str) -> KeySigner:
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        jwk = json.loads(raw)
        # RFC 7518, 6.2: a number is base64url of its bytes.
        x, y, d = (int.from_bytes(base64url.decode(jwk[name]), "big") for name in ("x", "y", "d"))
        if (jwk["kty"], jwk["crv"]) != ("EC", "P-256"):
            raise _not_ours("it is not a key on the curve P-256")
        key = ec.EllipticCurvePrivateNumbers(d, ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1())).private_key()
        return KeySigner(key_id or str(jwk["kid"]), key)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _not_ours("what is in it is not a JWK") from None


def _not_ours(why: str) -> MintError:
    return MintError(
        f"the provisioner's encrypted key cannot be used: {one_line(why)[:100]}", remedy="use signing: host or agent"
    )
