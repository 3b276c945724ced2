"""The two forms of a file of names: `hosts` (hosts(5), dnsmasq, CoreDNS) and `unbound` (unbound.conf(5)). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshfab.config import validation
from meshfab.dns.record import Record, kind, normal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_LOCAL_DATA = re.compile(r'^\s*local-data:\s*["\']([^"\']{1,512})["\']')


@dataclass(frozen=True)
class FileForm:
    """A form.

    Attributes:
        head: the lines that go before all records.
        lines: the lines of a record, with its time to live in seconds.
        entries: the names and addresses in a line of any file.
        check: the program that checks the server's configuration; empty for none.
        reload: the function of replace_names.sh that makes the server read the file.
    """

    head: tuple[str, ...]
    lines: Callable[[str, Sequence[str], int], list[str]]
    entries: Callable[[str], Iterator[tuple[str, str]]]
    check: str
    reload: str


def _hosts_lines(fqdn: str, addresses: Sequence[str], _ttl: int) -> list[str]:
    return [f"{address} {fqdn}" for address in addresses]


def _hosts_entries(line: str) -> Iterator[tuple[str, str]]:
    address, *names = line.partition("#")[0].split() or [""]
    for name in names:
        yield name.lower(), address


def _unbound_lines(fqdn: str, addresses: Sequence[str], ttl: int) -> list[str]:
    return [f'local-data: "{fqdn}. {ttl} IN {kind(address)} {address}"' for address in addresses]


def _unbound_entries(line: str) -> Iterator[tuple[str, str]]:
    # unbound.conf(5): local-data: "<resource record string>"
    if match := _LOCAL_DATA.match(line):
        name, *words = match[1].split()
        kinds = [word.upper() for word in words]
        for one in ("A", "AAAA", "CNAME"):
            if one in kinds and (rest := words[kinds.index(one) + 1 :]):
                yield name.rstrip(".").lower(), rest[0]


FORMS = {
    "hosts-file": FileForm((), _hosts_lines, _hosts_entries, "", "reload_dnsmasq"),
    "unbound": FileForm(("server:",), _unbound_lines, _unbound_entries, "unbound-checkconf", "reload_unbound"),
}


def records(form: FileForm, fqdns: Sequence[str], ours: Sequence[str], others: Sequence[str]) -> dict[str, Record]:
    """What a file has of names; a record of others goes before ours, since it is what must not be changed.

    Args:
        form: the file's form.
        fqdns: the names.
        ours: the lines of our block.
        others: the other lines.
    """
    wanted, found = set(fqdns), {fqdn: Record(fqdn) for fqdn in fqdns}
    for lines, is_ours in ((ours, True), (others, False)):
        words: dict[str, list[str]] = {}
        for line in lines:
            for name, word in form.entries(line):
                if name in wanted:
                    words.setdefault(name, []).append(word)
        for name, of_name in words.items():
            other = next((word for word in of_name if not _is_address(word)), "")
            found[name] = Record(name, normal(filter(_is_address, of_name)), is_ours, other)
    return found


def _is_address(word: str) -> bool:
    # One with a zone has a meaning on that host only.
    return "%" not in word and validation.is_address(word)
