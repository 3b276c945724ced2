"""The exceptions, as one tree.

    MeshfabError
    ├── InputError         a name, host, URL or setting is not usable (also a ValueError)
    ├── ConnectError       the host cannot be reached or logged in to (also a ConnectionError)
    │   ├── HostKeyError   the host's key is unknown, changed or revoked
    │   └── LostError      the connection was lost during the work
    │       └── StoppedError   the run was stopped: by Ctrl-C, a signal, or its time limit
    ├── NotReadyError      the host lacks a program, a permission or a file
    │   └── SudoAsksError  sudo requires a password, and none was given
    ├── LockedError        another run works on the same service
    ├── MintError          the CA did not issue a usable certificate
    ├── RenewError         the renewal unit failed, or did not change the certificate
    ├── NginxError         nginx rejects its configuration
    │   └── EditedError    a file that meshfab wrote was edited by hand
    ├── ServedError        TLS clients do not get the certificate that is on disk
    └── SecretLeftError    the password may still be on the host

The message of each is one line for the operator: the host, what is wrong, and what to do. Only the command line
(`meshfab.cli`) turns them into exit statuses.
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
# Colours, control characters, and Unicode's marks for the direction of text.
_CONTROL_SEQUENCES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class MeshfabError(Exception):
    """The base of all errors: what is wrong, on which host, and what to do next, in one line.

    >>> print(MeshfabError("the CA does not answer", host="h2", remedy="is it up?"))
    h2: the CA does not answer -> is it up?

    Attributes:
        what: what is wrong, one line without control characters.
        host: the host, as the operator wrote it; empty if the error is not about a host.
        remedy: what to do next, usually a command; empty if there is nothing to do.
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
    """An argument or a setting is not usable; it was refused before any connection."""


class ConnectError(MeshfabError, ConnectionError):
    """The host could not be reached, or it refused the login."""


class HostKeyError(ConnectError):
    """The host's key is unknown, changed or revoked; nothing was sent to the host."""


class LostError(ConnectError):
    """The connection was lost while a command ran; its outcome is unknown."""


class StoppedError(LostError):
    """The run on this host was stopped before its end, and it cleaned up."""


class NotReadyError(MeshfabError):
    """The host lacks a program, a permission or a file that the run needs."""


class SudoAsksError(NotReadyError):
    """sudo requires a password: set `config.sudo.password`; tasks for one host prompt for it on a terminal."""


class LockedError(MeshfabError):
    """Another operator, or the renewal tick, holds the service's lock."""


class MintError(MeshfabError):
    """The CA issued no pair, or an invalid one; the old pair is unchanged."""


class RenewError(MeshfabError):
    """The renewal unit failed, or the certificate is still the old one; the old pair is in place."""


class NginxError(MeshfabError):
    """nginx rejects its configuration; the old files are in place."""


class EditedError(NginxError):
    """A file that meshfab wrote was edited by hand, and this run would overwrite the change.

    Attributes:
        diff: the unified diff from the file on the host to the text that meshfab would write.
    """

    def __init__(self, what: str, *, host: str = "", remedy: str = "", diff: str = "") -> None:
        super().__init__(what, host=host, remedy=remedy)
        self.diff = diff


class ServedError(MeshfabError):
    """A TLS client does not get the certificate that is on disk."""


class SecretLeftError(MeshfabError):
    """The removal of the provisioner's password from the host could not be verified."""


def one_line(text: str, *, folds: bool = True) -> str:
    """Remove colours and control characters, so that text from a host cannot control the terminal.

    Each run of white space becomes one space. With `folds=False` white space stays, and a tab becomes four spaces.

    >>> one_line("a\\n  \\x1b[31mb")
    'a b'
    """
    return _CONTROL_SEQUENCES.sub("", " ".join(text.split()) if folds else text.replace("\t", "    "))
