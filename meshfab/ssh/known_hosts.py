"""known_hosts, read as OpenSSH reads it (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT). Pure: text in, verdict out.

paramiko is not used for it: its reader stops at the first `@cert-authority` or `@revoked` line and ignores patterns
(paramiko#771), and its client compares only the first key that is listed for a host.
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
class Entry:
    """One line of a known_hosts file.

    Attributes:
        marker: "@revoked", "@cert-authority", or empty.
        patterns: the host names, separated by commas, or one hash.
        key_type: for example "ssh-ed25519".
        blob: the key in its wire format.
        location: `path:line`.
    """

    marker: str
    patterns: str
    key_type: str
    blob: bytes
    location: str

    def matches(self, host: str) -> bool:
        """Whether the entry is for `host`, which is a name, an address or `[name]:port`."""
        if self.patterns.startswith("|1|"):
            return _is_hash_of(self.patterns, host)
        is_match = False
        for pattern in self.patterns.lower().split(","):
            # fnmatch would read [host]:port as a set of characters.
            if fnmatch.fnmatchcase(host, pattern.lstrip("!").replace("[", "[[]")):
                if pattern.startswith("!"):
                    return False
                is_match = True
        return is_match


@dataclass(frozen=True)
class HostKeyRecords:
    """The entries for one host."""

    entries: tuple[Entry, ...]

    def verdict(self, key_type: str, blob: bytes) -> tuple[Verdict, str]:
        """Compare a host's key with the entries; return the verdict and the location of the entry that decides it."""
        for entry in self.entries:
            if entry.marker == "@revoked" and entry.blob == blob:
                return "revoked", entry.location
        plain = [entry for entry in self.entries if not entry.marker]
        for entry in plain:
            if entry.blob == blob:
                return "known", entry.location
        if plain:
            same_type = [entry for entry in plain if entry.key_type == key_type] or plain
            return "changed", same_type[0].location
        authorities = [entry for entry in self.entries if entry.marker == "@cert-authority"]
        return ("authority", authorities[0].location) if authorities else ("unknown", "")

    @property
    def key_types(self) -> tuple[str, ...]:
        """The types of the host's keys, without duplicates, in the order of the files."""
        return tuple(dict.fromkeys(entry.key_type for entry in self.entries if not entry.marker))


class KnownHostsIndex:
    """An index of entries by name, so that one of thousands of hosts is found quickly."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = tuple(entries)
        # Names and positions in `_entries`.
        self._by_name: dict[str, list[int]] = {}
        # Patterns and hashes cannot be looked up by name: each must be compared.
        self._without_name: list[int] = []
        for position, entry in enumerate(self._entries):
            names = entry.patterns.lower()
            if names.startswith("|") or set("*?!") & set(names):
                self._without_name.append(position)
                continue
            for name in names.split(","):
                self._by_name.setdefault(name, []).append(position)

    def entries_for(self, name: str) -> tuple[Entry, ...]:
        """The entries for a name, in the order of the files."""
        matching = (position for position in self._without_name if self._entries[position].matches(name))
        return tuple(self._entries[position] for position in sorted({*self._by_name.get(name, ()), *matching}))


def parse(texts: Iterable[tuple[str, str]]) -> KnownHostsIndex:
    """Parse files, given as (path, text). A line that is not a valid entry is ignored, as OpenSSH does."""
    entries = []
    for path, text in texts:
        for number, line in enumerate(text.split("\n"), 1):
            # OpenSSH ends lines at \n and separates fields by blanks and tabs only: other Unicode spaces are text.
            fields = re.split(r"[ \t]+", line.strip(" \t\r"))
            marker = fields.pop(0) if fields and fields[0].startswith("@") else ""
            if len(fields) < 3 or fields[0].startswith("#"):
                continue
            try:
                blob = base64.b64decode(fields[2], validate=True)
            except ValueError:
                continue
            entries.append(Entry(marker, fields[0], fields[1], blob, f"{path}:{number}"))
    return KnownHostsIndex(entries)


def lookup(index: KnownHostsIndex, host: str, port: int = 22, alias: str = "") -> HostKeyRecords:
    """Find the entries for a host. `alias` is ssh_config's HostKeyAlias, which replaces name and port.

    A host on a port other than 22 is looked up as `[host]:port`, and by its name alone if that finds nothing.
    """
    names = [host_name(host, port, alias)] + ([] if alias or port == 22 else [host.lower()])
    results = [index.entries_for(name) for name in names]
    revoked = tuple(dict.fromkeys(entry for entries in results for entry in entries if entry.marker == "@revoked"))
    for entries in results:
        not_revoked = tuple(entry for entry in entries if entry.marker != "@revoked")
        if not_revoked:
            return HostKeyRecords(revoked + not_revoked)
    return HostKeyRecords(revoked)


def host_name(host: str, port: int = 22, alias: str = "") -> str:
    """The name that known_hosts uses for a host: `host`, `[host]:port`, or the HostKeyAlias."""
    return (alias or (host if port == 22 else f"[{host}]:{port}")).lower()


def hash_name(name: str) -> str:
    """Hash a name as HashKnownHosts does."""
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
