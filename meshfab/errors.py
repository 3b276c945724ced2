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
    ├── RevokeError        the CA did not revoke a certificate
    ├── NginxError         nginx rejects its configuration
    │   └── EditedError    a file that meshfab wrote was edited by hand
    ├── DnsError           a name cannot be published, or does not lead to its host for everybody who was asked
    ├── ServedError        TLS clients do not get the certificate that is on disk
    └── SecretLeftError    the password may still be on the host

The message of each is one line for the operator: the host, what is wrong, and what to do. Only the command line
(`meshfab.cli`) turns them into exit statuses.
"""

from __future__ import annotations

import re
import unicodedata

__all__ = [
    "ConnectError",
    "DnsError",
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
    "RevokeError",
    "SecretLeftError",
    "ServedError",
    "StoppedError",
    "SudoAsksError",
]
# The longest message that is shown, in characters. What is longer is cut in its middle.
LONGEST = 500
_MOST_LINES = 5000
# What honest programs print to colour their output.
_COLOURS = re.compile(r"\x1b\[[0-9;]{0,32}[mK]")
# Unicode's Default_Ignorable_Code_Point beside the format characters (https://www.unicode.org/reports/tr44/), and the
# blank of Braille: a terminal shows nothing for them, and text can be hidden in them.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


class MeshfabError(Exception):
    """The base of all errors: what is wrong, on which host, and what to do next, in one line.

    >>> print(MeshfabError("the CA does not answer", host="h2", remedy="is it up?"))
    h2: the CA does not answer -> is it up?

    Attributes:
        what: what is wrong, one line without control characters; it may quote the host.
        host: the host, as the operator wrote it; empty if the error is not about a host.
        remedy: what to do next, usually a command; empty if there is nothing to do. It quotes nothing of the host.
    """

    def __init__(self, what: str, *, host: str = "", remedy: str = "") -> None:
        self.what = fault_line(what)
        super().__init__(self.what)
        self.host = host
        self.remedy = one_line(remedy, longest=None)

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


class RevokeError(MeshfabError):
    """The CA did not revoke a certificate, or could not be asked; what is needed to revoke it is still there."""


class NginxError(MeshfabError):
    """nginx rejects its configuration; the old files are in place."""


class EditedError(NginxError):
    """A file that meshfab wrote was edited by hand, and this run would overwrite the change.

    Attributes:
        diff: the unified diff from the file on the host to the text that meshfab would write, without control
            characters.
    """

    def __init__(self, what: str, *, host: str = "", remedy: str = "", diff: str = "") -> None:
        super().__init__(what, host=host, remedy=remedy)
        self.diff = printable(diff)


class DnsError(MeshfabError):
    """A name could not be published or removed, or somebody who was asked does not get the host's address."""


class ServedError(MeshfabError):
    """A TLS client does not get the certificate that is on disk."""


class SecretLeftError(MeshfabError):
    """The removal of the provisioner's password from the host could not be verified."""


def one_line(text: str, *, folds: bool = True, longest: int | None = LONGEST) -> str:
    """Show text from a host in one line that neither controls the terminal nor hides anything.

    Colours are removed and each run of blanks and newlines becomes one blank. Every other character that has no shape
    of its own is shown as its escape: control and format characters (those that turn the direction of text, or have no
    width), separators of lines, variation selectors, tags, unassigned and private ones.

    >>> one_line("a\\n  \\x1b[31mb\\u202e")
    'a b\\\\u202e'

    Args:
        text: the text.
        folds: False keeps blanks, and makes four of a tab.
        longest: the length from which the middle of the text is left out; None for any length.
    """
    text = _cut(_COLOURS.sub("", text), longest and 4 * longest)
    text = re.sub(r"[ \t\n\r\v\f]+", " ", text).strip(" ") if folds else text.replace("\t", "    ")
    if not text.isprintable() or _INVISIBLE.search(text):
        text = "".join(map(_shown, text))
    return _cut(text, longest)


def fault_line(text: str) -> str:
    """The same for the part of a message that comes before its remedy: nothing in it looks like the arrow to that.

    >>> fault_line("no -> curl evil | sh")
    'no -\\\\x3e curl evil | sh'
    """
    return one_line(text).replace("->", r"-\x3e")


def printable(text: str) -> str:
    """The same for a text of several lines, such as a diff: each as `one_line` shows it, with its blanks."""
    lines = text.split("\n")
    shown = [one_line(line, folds=False, longest=4 * LONGEST) for line in lines[:_MOST_LINES]]
    return "\n".join([*shown, f"… and {len(lines) - _MOST_LINES} more lines\n"] if len(lines) > _MOST_LINES else shown)


def _shown(letter: str) -> str:
    # Exactly the categories of "Other" and "Separator" are not printable, except for the blank.
    if letter.isprintable() and not _INVISIBLE.match(letter):
        return letter
    return " " if unicodedata.category(letter) == "Zs" else letter.encode("unicode_escape").decode("ascii")


def _cut(text: str, longest: int | None) -> str:
    """Leave out the middle: what a message begins and ends with is ours, and what it quotes is between."""
    if longest is None or len(text) <= longest:
        return text
    end = longest // 4
    return f"{text[: longest - end - 3]} … {text[-end:]}"
