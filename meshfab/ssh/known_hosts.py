"""OpenSSH's known_hosts, read as OpenSSH reads it (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT).

paramiko's own reader stops at the first `@cert-authority` or `@revoked` line and knows no patterns (paramiko#771), and
its client compares only the first key listed for a host, so this module decides. Pure: text in, verdict out.
"""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import hmac
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

Verdict = Literal["known", "unknown", "changed", "revoked", "authority"]


@dataclass(frozen=True)
class Line:
    """One entry of a known_hosts file; `blob` is the key in its wire format."""

    marker: str
    patterns: str
    kind: str
    blob: bytes
    where: str

    def names(self, host: str) -> bool:
        """Whether the entry is for `host`, which is a name, an address or `[name]:port`."""
        if self.patterns.startswith("|1|"):
            return _is_hash_of(self.patterns, host)
        is_named = False
        for pattern in self.patterns.lower().split(","):
            # fnmatch would read [host]:port as a set of characters.
            if fnmatch.fnmatchcase(host, pattern.lstrip("!").replace("[", "[[]")):
                if pattern.startswith("!"):
                    return False
                is_named = True
        return is_named


@dataclass(frozen=True)
class HostKeyRecords:
    """The records of one host."""

    lines: tuple[Line, ...]

    def verdict(self, kind: str, blob: bytes) -> tuple[Verdict, str]:
        """Compare a host's key with the records: the verdict, and the location of the line that decides it."""
        for line in self.lines:
            if line.marker == "@revoked" and line.blob == blob:
                return "revoked", line.where
        plain = [line for line in self.lines if not line.marker]
        for line in plain:
            if line.blob == blob:
                return "known", line.where
        if plain:
            same = [line for line in plain if line.kind == kind] or plain
            return "changed", same[0].where
        authorities = [line for line in self.lines if line.marker == "@cert-authority"]
        return ("authority", authorities[0].where) if authorities else ("unknown", "")

    @property
    def kinds(self) -> tuple[str, ...]:
        """The key types on record, for the key exchange to ask for."""
        return tuple(dict.fromkeys(line.kind for line in self.lines if not line.marker))


class KnownHostsIndex:
    """An index of entries by name, so that one of thousands of hosts is found quickly."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self._lines = tuple(lines)
        self._by_name: dict[str, list[int]] = {}
        # Patterns and hashes have no plain name: each must be compared.
        self._others: list[int] = []
        for at, line in enumerate(self._lines):
            names = line.patterns.lower()
            if names.startswith("|") or set("*?!") & set(names):
                self._others.append(at)
                continue
            for name in names.split(","):
                self._by_name.setdefault(name, []).append(at)

    def of(self, name: str) -> tuple[Line, ...]:
        """The entries for a name, in their order."""
        others = (at for at in self._others if self._lines[at].names(name))
        return tuple(self._lines[at] for at in sorted({*self._by_name.get(name, ()), *others}))


def read(texts: Iterable[tuple[str, str]]) -> KnownHostsIndex:
    """Read files given as (path, text). A line that is not an entry is ignored, as OpenSSH does."""
    lines = []
    for path, text in texts:
        for number, row in enumerate(text.split("\n"), 1):
            # OpenSSH ends lines at \n and separates fields by blanks and tabs only: other Unicode spaces are text.
            fields = re.split(r"[ \t]+", row.strip(" \t\r"))
            marker = fields.pop(0) if fields and fields[0].startswith("@") else ""
            if len(fields) < 3 or fields[0].startswith("#"):
                continue
            try:
                blob = base64.b64decode(fields[2], validate=True)
            except ValueError:
                continue
            lines.append(Line(marker, fields[0], fields[1], blob, f"{path}:{number}"))
    return KnownHostsIndex(lines)


def lookup(index: KnownHostsIndex, host: str, port: int = 22, alias: str = "") -> HostKeyRecords:
    """The entries for a host. `alias` is ssh_config's HostKeyAlias, which replaces name and port.

    A host on another port is looked up as `[host]:port` first and, with nothing there, by its bare name.
    """
    names = [name_of(host, port, alias)] + ([] if alias or port == 22 else [host.lower()])
    by_name = [index.of(name) for name in names]
    revoked = tuple(dict.fromkeys(line for lines in by_name for line in lines if line.marker == "@revoked"))
    for lines in by_name:
        plain = tuple(line for line in lines if line.marker != "@revoked")
        if plain:
            return HostKeyRecords(revoked + plain)
    return HostKeyRecords(revoked)


def name_of(host: str, port: int = 22, alias: str = "") -> str:
    """The name of a host in known_hosts."""
    return (alias or (host if port == 22 else f"[{host}]:{port}")).lower()


def hashed(name: str) -> str:
    """A name as HashKnownHosts writes it."""
    salt = os.urandom(20)
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


def _is_hash_of(field: str, host: str) -> bool:
    try:
        salt, digest = (base64.b64decode(part, validate=True) for part in field.split("|")[2:4])
    except ValueError:
        return False
    # HashKnownHosts: HMAC-SHA1 keyed with the salt. Not a security boundary: it only hides the names.
    return hmac.compare_digest(hmac.new(salt, host.encode(), hashlib.sha1).digest(), digest)
