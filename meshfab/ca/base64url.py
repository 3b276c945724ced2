"""base64url without padding, as JSON's signatures, keys and tokens are written (RFC 7515, 2)."""

from __future__ import annotations

import base64
import binascii
from typing import Any


def encode(raw: bytes) -> str:
    """Encode bytes.

    >>> encode(b"\\xff\\xfe")
    '__4'
    """
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode(text: Any) -> bytes:
    """Decode a text.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(text, str):
        raise ValueError("not base64url")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise ValueError("not base64url") from None
