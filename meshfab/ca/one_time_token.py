"""The one-time token that lets the CA sign one request: a JWT, as step makes it (`token/token.go`)."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from typing import TYPE_CHECKING

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
    now = int(time.time())
    header = {"alg": signer.algorithm, "kid": signer.key_id, "typ": "JWT"}
    claims = {
        "aud": audience,
        "iss": provisioner,
        "sub": names[0],
        "sans": list(names),
        "sha": root_fingerprint,
        "jti": secrets.token_hex(32),
        "iat": now,
        "nbf": now,
        "exp": now + SECONDS,
        # RFC 7800's way to bind a token, with the hash of the request.
        "cnf": {"x5rt#S256": base64url.encode(hashlib.sha256(csr).digest())},
    }
    signed = ".".join(base64url.encode(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
    return f"{signed}.{base64url.encode(signer.sign(signed.encode()))}"
