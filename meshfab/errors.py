"""Everything that can go wrong, as one tree.

    MeshfabError
    ├── InputError         a name, host, URL or setting is not usable (also a ValueError)
    ├── ConnectError       the host cannot be reached or logged in to (also a ConnectionError)
    │   ├── HostKeyError   its key is unknown, changed or revoked
    │   └── LostError      the connection was lost during the work
    │       └── StoppedError   the run was stopped from elsewhere: Ctrl-C, or its deadline
    ├── NotReadyError      the host lacks something that the job needs
    │   └── SudoAsksError  sudo wants a password that nobody gave
    ├── LockedError        another run works on the same service
    ├── MintError          the CA did not give a usable pair
    ├── RenewError         a renewal through the unit failed, or changed nothing
    ├── NginxError         nginx refuses its configuration
    │   └── EditedError    a file of ours was edited by hand since
    ├── ServedError        clients do not get the certificate that is on disk
    └── SecretLeftError    the password may still lie on the host

Each is one line for the operator: where, what, and what to do. Only `meshfab.cli.tasks` turns them into an exit status.
"""

from __future__ import annotations

import re

__all__ = [
    "ConnectError",
    "EditedError",
    "HostKeyError",
    "InputError",
    "LockedError",
    "LostError",
    "MeshfabError",
    "MintError",
    "NginxError",
    "NotReadyError",
    "RenewError",
    "SecretLeftError",
    "ServedError",
    "StoppedError",
    "SudoAsksError",
]
# Colours, control characters, and the marks that change the direction of a line.
_TRICKS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class MeshfabError(Exception):
    """What is wrong, on which host, and what to do next, in one line.

    >>> print(MeshfabError("the CA does not answer", host="h2", remedy="is it up?"))
    h2: the CA does not answer -> is it up?

    Attributes:
        what: the fault in words, one line without control characters.
        host: the host it happened on, as the operator named it; empty before any connection.
        remedy: what the operator does next, usually a command; empty where there is nothing to do.
    """

    def __init__(self, what: str, *, host: str = "", remedy: str = "") -> None:
        super().__init__(what)
        self.what = one_line(what)
        self.host = host
        self.remedy = one_line(remedy)

    def __str__(self) -> str:
        prefix = f"{self.host}: " if self.host else ""
        return f"{prefix}{self.what}" + (f" -> {self.remedy}" if self.remedy else "")


class InputError(MeshfabError, ValueError):
    """An argument or a setting that cannot be used; nothing was connected yet."""


class ConnectError(MeshfabError, ConnectionError):
    """The host could not be reached or refused the login."""


class HostKeyError(ConnectError):
    """The host's key is unknown, has changed or is revoked: nothing was sent to it."""


class LostError(ConnectError):
    """The connection dropped while a command ran; its outcome is unknown."""


class StoppedError(LostError):
    """The run on this host was stopped before its end, and cleaned up."""


class NotReadyError(MeshfabError):
    """The host lacks a program, a right or a file that the job needs."""


class SudoAsksError(NotReadyError):
    """sudo wants a password: set `config.sudo.password`; tasks for one host prompt for it on a terminal."""


class LockedError(MeshfabError):
    """Another operator, or the renewal tick, holds the service's lock."""


class MintError(MeshfabError):
    """The CA issued no pair, or an invalid one; the old pair is unchanged."""


class RenewError(MeshfabError):
    """The installed unit failed to renew, or the certificate is still the old one; the old pair is in place."""


class NginxError(MeshfabError):
    """nginx does not accept its configuration; the old files are in place."""


class EditedError(NginxError):
    """A file of ours was edited by hand since, and the request would undo that.

    Attributes:
        diff: the unified diff from the file on the host to the text that meshfab would write.
    """

    def __init__(self, what: str, *, host: str = "", remedy: str = "", diff: str = "") -> None:
        super().__init__(what, host=host, remedy=remedy)
        self.diff = diff


class ServedError(MeshfabError):
    """A TLS client does not get the leaf that is on disk."""


class SecretLeftError(MeshfabError):
    """The removal of the provisioner's password from the host could not be verified."""


def one_line(text: str, *, folds: bool = True) -> str:
    """Drop colours and control characters, and fold white space unless told not to.

    A host's text must not contain control characters that a terminal obeys.

    >>> one_line("a\\n  \\x1b[31mb")
    'a b'
    """
    return _TRICKS.sub("", " ".join(text.split()) if folds else text.replace("\t", "    "))
