"""Records as text, for people who feed their DNS from a repository. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshfab.dns.file_form import FORMS
from meshfab.dns.record import kind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from meshfab.dns.record import Record


def hosts(records: Sequence[Record], ttl: int, _domain: str) -> str:
    """Lines of a hosts file (hosts(5)); it has no time to live."""
    return _of_form("hosts-file", records, ttl)


def unbound(records: Sequence[Record], ttl: int, _domain: str) -> str:
    """An include for unbound (unbound.conf(5))."""
    return _of_form("unbound", records, ttl)


def zone(records: Sequence[Record], ttl: int, _domain: str) -> str:
    """Lines of a zone file (RFC 1035, 5)."""
    rows = [(record.fqdn, address) for record in records for address in record.addresses]
    return "".join(f"{fqdn}. {ttl} IN {kind(address)} {address}\n" for fqdn, address in rows)


def octodns(records: Sequence[Record], ttl: int, domain: str) -> str:
    """The YAML of an OctoDNS zone; names outside the domain belong in another one, and are left out."""
    lines = []
    for record in records:
        name, _, rest = record.fqdn.partition(f".{domain}")
        if rest or name == record.fqdn:
            continue
        lines.append(f"{name}:\n")
        for of_kind in ("A", "AAAA"):
            values = [address for address in record.addresses if kind(address) == of_kind]
            if values:
                lines.append(f"- type: {of_kind}\n  ttl: {ttl}\n  values:\n")
                lines += [f"  - '{value}'\n" for value in values]
    return "---\n" + "".join(lines)


FORMATS: dict[str, Callable[[Sequence[Record], int, str], str]] = {
    "hosts": hosts,
    "zone": zone,
    "unbound": unbound,
    "octodns": octodns,
}


def _of_form(name: str, records: Sequence[Record], ttl: int) -> str:
    form = FORMS[name]
    lines = [*form.head] if records else []
    for record in records:
        lines += form.lines(record.fqdn, record.addresses, ttl)
    return "".join(f"{line}\n" for line in lines)
