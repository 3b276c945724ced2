"""The files that ship with the package: inside it in a wheel, beside it in a checkout."""

from __future__ import annotations

import hashlib
from pathlib import Path

_HERE = Path(__file__).resolve().parents[1]


def folder(name: str) -> Path:
    """The folder `unit-files` or `nginx-snippets`."""
    inside = _HERE / name
    return inside if inside.is_dir() else _HERE.parent / name


def digest(text: str) -> str:
    """SHA-256 in hex, as `sha256sum` prints it."""
    return hashlib.sha256(text.encode()).hexdigest()
