"""The history of a service's pair: every certificate that was in place on the host. Pure: text in and out.

The host keeps it in `/var/lib/meshfab/<name>.history` (root:root 0600), one line a certificate ("generation"), oldest
first: `serial not_before not_after key_digest provisioner state`, separated by one blank. Only `meshfab-history` (in
unit-files/) writes it: `meshfab-history add NAME LINE`, `meshfab-history revoked NAME SERIAL`. A revocation at step-ca
concerns one serial, so whoever revokes a service's certificates needs them all. It also takes the certificate itself:
`/var/lib/meshfab/<name>.past/<serial>.pem` has those that a renewal replaced, until they expire.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from meshfab.host import answer_fields

if TYPE_CHECKING:
    from meshfab.host.certificate import Leaf

FOLDER = "/var/lib/meshfab"
MAX_LINES = 200
# As in meshfab.config.validation; a character has up to 4 bytes in UTF-8, each written as three characters.
_MAX_PROVISIONER = 128
_MAX_LINE = 2000
# 20 bytes by RFC 5280, 4.1.2.2; up to year 9999.
_LINE = re.compile(
    r"([0-9A-F]{1,128}) (\d{1,12}) (\d{1,12}) ([0-9a-f]{64}) ([A-Za-z0-9._~%@+-]{1,1536}) (live|revoked)", re.ASCII
)
_UNKNOWN = "-"


@dataclass(frozen=True)
class Generation:
    """One certificate that was in place.

    Attributes:
        serial: its serial number.
        not_before: start of validity, UTC.
        not_after: end of validity, UTC.
        key_digest: SHA-256 of its public key (DER SubjectPublicKeyInfo), lower-case hex.
        provisioner: the CA's provisioner that issued it; empty if that is not known.
        is_revoked: whether the CA has accepted its revocation.
    """

    serial: int
    not_before: datetime
    not_after: datetime
    key_digest: str
    provisioner: str = ""
    is_revoked: bool = False


@dataclass(frozen=True)
class History:
    """The generations of a service, oldest first.

    Attributes:
        generations: one for each serial.
        unreadable: how many lines are no generation, or beyond the limit.
    """

    generations: tuple[Generation, ...] = ()
    unreadable: int = 0

    def has(self, leaf: Leaf) -> bool:
        """Whether this certificate is recorded."""
        return any(generation.serial == leaf.serial for generation in self.generations)

    def live(self, now: datetime) -> tuple[Generation, ...]:
        """The generations that the CA would still renew: neither expired nor revoked."""
        return tuple(
            generation for generation in self.generations if generation.not_after > now and not generation.is_revoked
        )

    def key_since(self, key_digest: str) -> datetime | None:
        """When the oldest certificate with that key was issued; None if there is none."""
        return min((each.not_before for each in self.generations if each.key_digest == key_digest), default=None)


def parse(text: str) -> History:
    """Parse a history as a host answers it, whatever it contains: what is no generation is counted and left out."""
    generations: dict[int, Generation] = {}
    rows = text.split("\n", MAX_LINES)
    unreadable = int(any(rows[MAX_LINES:]))
    for row in filter(None, rows[:MAX_LINES]):
        generation = _parse_line(row)
        if generation is None or generation.serial in generations:
            unreadable += 1
        else:
            generations[generation.serial] = generation
    return History(tuple(generations.values()), unreadable)


def parse_all(text: str) -> dict[str, History]:
    """The same for the histories of many services: rows "<name> <line>" (facts.sh). Returns them by name."""
    texts: dict[str, list[str]] = {}
    for row in answer_fields.rows(text):
        name, _, rest = row.partition(" ")
        texts.setdefault(name, []).append(rest)
    return {name: parse("\n".join(rows)) for name, rows in texts.items()}


def digest(leaf: Leaf) -> str:
    """The digest of a certificate's public key, as the history has it."""
    return hashlib.sha256(leaf.public).hexdigest()


def hex_serial(serial: int) -> str:
    """A serial as openssl prints it, and so the history: upper-case hex, in whole bytes.

    >>> hex_serial(0xABC)
    '0ABC'
    """
    digits = f"{serial:X}"
    return digits.zfill(len(digits) + len(digits) % 2)


def line(leaf: Leaf) -> str:
    """The line of a certificate that is in place."""
    fields = (
        hex_serial(leaf.serial),
        f"{leaf.not_before.timestamp():.0f}",
        f"{leaf.not_after.timestamp():.0f}",
        digest(leaf),
        _encode(leaf.provisioner),
        "live",
    )
    return " ".join(fields)


def _parse_line(row: str) -> Generation | None:
    match = _LINE.fullmatch(row) if len(row) <= _MAX_LINE else None
    if match is None:
        return None
    start, end, provisioner = int(match[2]), int(match[3]), _decode(match[5])
    if not start <= end <= answer_fields.MAX_EPOCH or provisioner is None:
        return None
    return Generation(
        serial=int(match[1], 16),
        not_before=datetime.fromtimestamp(start, timezone.utc),
        not_after=datetime.fromtimestamp(end, timezone.utc),
        key_digest=match[4],
        provisioner=provisioner,
        is_revoked=match[6] == "revoked",
    )


def _encode(provisioner: str) -> str:
    if not provisioner or len(provisioner) > _MAX_PROVISIONER or not provisioner.isprintable():
        return _UNKNOWN
    return "%2D" if provisioner == _UNKNOWN else quote(provisioner, safe="@+")


def _decode(text: str) -> str | None:
    """The provisioner's name; empty if it is unknown, None if nobody would give a provisioner this name."""
    if text == _UNKNOWN:
        return ""
    try:
        name = unquote(text, errors="strict")
    except UnicodeDecodeError:
        return None
    return name if len(name) <= _MAX_PROVISIONER and name.isprintable() else None
