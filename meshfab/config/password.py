"""The provisioner's password on the operator's machine: read from its file, never printed, never read in a worker."""

from __future__ import annotations

import shlex
import stat
import sys
from typing import TYPE_CHECKING, Any, SupportsIndex

from meshfab.errors import InputError, NotReadyError

if TYPE_CHECKING:
    from pathlib import Path

# Whether this process is one that check-certs started for its own work.
_is_own_worker = False


class HiddenText(str):
    """A password as text that can be sent, but that `repr` does not show.

    Tools that print the local variables of a traceback print their `repr`, and so does Invoke's debug log.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        """Hide the text."""
        return "'***'"

    def __getitem__(self, key: SupportsIndex | slice) -> HiddenText:
        """Hide a part too: rich cuts long texts before it prints their `repr`."""
        return HiddenText(super().__getitem__(key))


class Password:
    """The password; only `reveal` returns its text."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = HiddenText(text)

    def __repr__(self) -> str:
        """Hide the password."""
        return "Password(***)"

    __str__ = __repr__

    def __reduce__(self) -> tuple[object, ...]:
        """Refuse to be pickled: the password is never sent to another process."""
        raise TypeError("a password cannot be pickled")

    def reveal(self) -> HiddenText:
        """Return the text, for the one function that sends it to the host."""
        return self._text


def read_password(file: Path) -> Password:
    """Read the password as `step` does: white space at the end is not part of it.

    Raises:
        InputError: the file is missing, empty or unreadable.
        NotReadyError: this is a worker process of check-certs or of Dask.
    """
    require_operator()
    # Raised after the `except` blocks: the decoder's error holds the file's bytes, and would stay its context.
    text, problem = HiddenText(), ""
    try:
        with file.open("rb") as handle:
            text = HiddenText(handle.read(4096).decode("utf-8-sig").rstrip())
    except FileNotFoundError:
        problem = "does not exist"
    except (OSError, UnicodeDecodeError) as error:
        problem = f"cannot be read ({error.__class__.__name__})"
    else:
        if not text:
            problem = "is empty"
        elif "\n" in text or "\0" in text:
            problem = "has more than one line"
    if problem:
        remedy = "set meshfab.provisioner_password to the file that holds the provisioner's password"
        raise InputError(f"the password file {file} {problem}", remedy=remedy)
    return Password(text)


def hide_sudo_password(config: Any) -> None:
    """Hide `sudo.password` in the `repr` of an Invoke or Fabric configuration; its value stays the same.

    Not by assigning to `config.sudo.password`: Invoke would merge its levels, while other threads read them.
    """
    sudo = getattr(config, "_config", {}).get("sudo") or {}
    if sudo.get("password"):
        sudo["password"] = HiddenText(sudo["password"])


def exposure(file: Path) -> InputError | None:
    """Return what is wrong with the file's mode, with the command to repair it; None if only the owner can read it."""
    mode = stat.S_IMODE(file.stat().st_mode)
    if not mode & 0o077:
        return None
    return InputError(f"{file} is readable by others ({mode:04o})", remedy=f"chmod 600 {shlex.quote(str(file))}")


def require_operator() -> None:
    """Require that this process may use the password or the key: a worker never mints.

    Raises:
        NotReadyError: this is a worker process of check-certs or of Dask.
    """
    if is_worker():
        raise NotReadyError(
            "the provisioner's password or key is not used in a worker process", remedy="mint on the operator's machine"
        )


def become_worker() -> None:
    """Mark this process as a worker; a worker process calls it when it starts."""
    global _is_own_worker  # noqa: PLW0603  # a fact about the process
    _is_own_worker = True


def is_worker() -> bool:
    """Whether this process is a worker: one that check-certs started, or one of Dask."""
    return _is_own_worker or _is_dask_worker()


def _is_dask_worker() -> bool:
    dask = sys.modules.get("distributed.worker")
    if dask is None:
        return False
    # In the thread of a task, get_worker() answers. In a thread that a task started, the process has worker instances.
    try:
        dask.get_worker()
    except ValueError:
        return bool(getattr(dask.Worker, "_instances", ()))
    return True
