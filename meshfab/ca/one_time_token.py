"""One-time tokens that let the CA sign one request or revoke one serial: JWTs as step makes them (`token/token.go`)."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from typing import TYPE_CHECKING, Any

from meshfab.ca import base64url

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshfab.ca.token_signer import TokenSigner

# The CA itself enforces no maximum. It allows a minute of difference between the clocks.
SECONDS = 60


def make_token(
    signer: TokenSigner, provisioner: str, audience: str, root_fingerprint: str, names: Sequence[str], csr: bytes
) -> str:
    """A token for one certificate request.

    Args:
        signer: signs with the provisioner's key.
        provisioner: its name at the CA.
        audience: the URL to which the token is sent.
        root_fingerprint: SHA-256 of the root, hex; clients of step use it to find the CA.
        names: the names of the certificate, the first one as its subject.
        csr: the request, DER. The token is bound to it: with another one the CA answers 403.
    """
    # RFC 7800's way to bind a token, with the hash of the request.
    bound = {"x5rt#S256": base64url.encode(hashlib.sha256(csr).digest())}
    return _signed(signer, provisioner, audience, root_fingerprint, names[0], {"sans": list(names), "cnf": bound})


def make_revoke_token(signer: TokenSigner, provisioner: str, audience: str, root_fingerprint: str, serial: int) -> str:
    """A token to revoke one serial. Parameters as for `make_token`; any provisioner may revoke any serial."""
    # The CA compares the subject with the serial of the request, both in decimal.
    return _signed(signer, provisioner, audience, root_fingerprint, str(serial), {})


def _signed(
    signer: TokenSigner,
    provisioner: str,
    audience: str,
    root_fingerprint: str,
    subject: str,
    more: dict[str, Any],
) -> str:
    now = int(time.time())
    header = {"alg": signer.algorithm, "kid": signer.key_id, "typ": "JWT"}
    claims = {
        "aud": audience,
        "iss": provisioner,
        "sub": subject,
        "sha": root_fingerprint,
        "jti": secrets.token_hex(32),
        "iat": now,
        "nbf": now,
        "exp": now + SECONDS,
        **more,
    }
    signed = ".".join(base64url.encode(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
    return f"{signed}.{base64url.encode(signer.sign(signed.encode()))}"
