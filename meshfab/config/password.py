"""The provisioner's password on the operator's machine: read from its file, and shown to nobody."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from meshfab.config import place
from meshfab.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


class Password:
    """The password, which shows itself to nothing but `reveal`."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        """Never the password."""
        return "Password(***)"

    __str__ = __repr__

    def __reduce__(self) -> tuple[object, ...]:
        """Refuse to be pickled: a password does not travel to another process."""
        raise TypeError("a password is not pickled")

    def reveal(self) -> str:
        """The text itself, for the one place that sends it."""
        return self._text


def read_password(file: Path) -> Password:
    """Read the password as `step` does: white space at its end is no part of it.

    Raises:
        InputError: the file is missing, empty or unreadable.
        NotReadyError: this is a worker process of a sweep or of Dask, where nothing is to mint.
    """
    place.refuse_worker("what may mint")
    remedy = "set meshfab.provisioner_password to the file that holds the provisioner's password"
    try:
        with file.open("rb") as handle:
            text = handle.read(4096).decode("utf-8-sig").rstrip()
    except FileNotFoundError:
        raise InputError(f"the password file {file} does not exist", remedy=remedy) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"the password file {file} cannot be read ({error.__class__.__name__})", remedy=remedy
        ) from None
    if not text or "\n" in text or "\0" in text:
        raise InputError(
            f"the password file {file} {'holds more than a line' if text else 'is empty'}",
            remedy=remedy,
        )
    return Password(text)


def exposure(file: Path) -> str:
    """What is wrong with the file's mode, and the command that mends it; empty when only its owner can read it."""
    mode = stat.S_IMODE(file.stat().st_mode)
    return f"{file} is readable by others ({mode:04o}) -> chmod 600 {file}" if mode & 0o077 else ""
