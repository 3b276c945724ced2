"""The public half of a provisioner's key, as the CA has it (a JWK) and as ssh-agent has it (RFC 4253, 6.6).

Two kinds of keys are in both worlds: ECDSA on the curve P-256, which signs a token by ES256, and Ed25519 (EdDSA).
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any

from meshfab.ca import base64url

if TYPE_CHECKING:
    from collections.abc import Mapping

_ECDSA, _ED25519 = b"ecdsa-sha2-nistp256", b"ssh-ed25519"
# SEC 1, 2.3.3: this byte, then both coordinates, 32 bytes each.
_UNCOMPRESSED = b"\x04"
_COORDINATE = 32


def of_ssh_key(blob: bytes) -> dict[str, str]:
    """The JWK of an SSH public key.

    Raises:
        ValueError: it is a key of another kind; the text is its kind.
    """
    kind, *parts = _strings(blob)
    if kind == _ED25519 and len(parts) == 1 and len(parts[0]) == _COORDINATE:
        return _with_id({"kty": "OKP", "crv": "Ed25519", "x": base64url.encode(parts[0])}, "EdDSA")
    if kind == _ECDSA and len(parts) == 2 and len(parts[1]) == 2 * _COORDINATE + 1 and parts[1][:1] == _UNCOMPRESSED:
        x, y = parts[1][1 : _COORDINATE + 1], parts[1][_COORDINATE + 1 :]
        numbers = {"x": base64url.encode(x), "y": base64url.encode(y)}
        return _with_id({"kty": "EC", "crv": "P-256", **numbers}, "ES256")
    raise ValueError(kind.decode("ascii", "replace")[:64] or "unknown")


def to_ssh_key(jwk: Mapping[str, Any]) -> bytes:
    """The SSH public key of a JWK.

    Raises:
        ValueError: it is a key of another kind; the text is its kind.
    """
    kind = jwk.get("kty"), jwk.get("crv")
    if kind == ("OKP", "Ed25519"):
        return _joined(_ED25519, _number(jwk, "x"))
    if kind == ("EC", "P-256"):
        return _joined(_ECDSA, b"nistp256", _UNCOMPRESSED + _number(jwk, "x") + _number(jwk, "y"))
    raise ValueError(" ".join(str(part)[:64] for part in kind if part) or "unknown")


def thumbprint(jwk: Mapping[str, Any]) -> str:
    """The thumbprint of a key (RFC 7638), which step makes its `kid`."""
    names = ("crv", "kty", "x", "y") if jwk.get("kty") == "EC" else ("crv", "kty", "x")
    text = json.dumps({name: jwk.get(name) for name in names}, separators=(",", ":"), sort_keys=True)
    return base64url.encode(hashlib.sha256(text.encode()).digest())


def ssh_fingerprint(blob: bytes) -> str:
    """The fingerprint of an SSH public key as `ssh-add -l` shows it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def is_security_key(blob: bytes, of: bytes) -> bool:
    """Whether a key is a FIDO key (`sk-…`) with the same numbers as another SSH key."""
    kind, *parts = _strings(blob)
    return kind.startswith(b"sk-") and len(parts) > 1 and parts[:-1] == _strings(of)[1:]


def _with_id(jwk: dict[str, str], algorithm: str) -> dict[str, str]:
    return {"use": "sig", **jwk, "kid": thumbprint(jwk), "alg": algorithm}


def _number(jwk: Mapping[str, Any], name: str) -> bytes:
    raw = base64url.decode(jwk.get(name))
    if len(raw) > _COORDINATE:
        raise ValueError(f"{jwk.get('kty')} with a number that is too long")
    # RFC 7518, 6.2.1.2, wants all 32 bytes; some writers leave out leading zeros.
    return raw.rjust(_COORDINATE, b"\0")


def _joined(*strings: bytes) -> bytes:
    return b"".join(len(string).to_bytes(4, "big") + string for string in strings)


def _strings(blob: bytes) -> list[bytes]:
    """The strings that an SSH key is made of (RFC 4251, 5); at least one, which may be empty."""
    strings = []
    while len(blob) >= 4:
        end = 4 + int.from_bytes(blob[:4], "big")
        strings.append(blob[4:end])
        blob = blob[end:]
    return strings or [b""]
