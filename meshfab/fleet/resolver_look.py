"""Ask the resolvers of a machine, one by one, for the names of its services: `doctor`'s look at DNS."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from meshfab.checks import resolver_checks
from meshfab.dns import client
from meshfab.errors import DnsError
from meshfab.host.call_threads import call_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from meshfab.checks.finding import Finding
    from meshfab.config.settings import Settings
    from meshfab.dns.client import DnsAnswer

_RESOLV_CONF = Path("/etc/resolv.conf")
_MOST_NAMES, _AT_ONCE, _SECONDS, _MOST_BYTES = 4, 8, 8.0, 4096


def own_configuration() -> str:
    """This machine's resolv.conf(5); empty if it cannot be read."""
    try:
        with _RESOLV_CONF.open(encoding="utf-8", errors="replace") as file:
            return file.read(_MOST_BYTES)
    except OSError:
        return ""


def look(resolv_conf: str, negative: str, fqdns: Sequence[str], settings: Settings) -> Iterator[Finding]:
    """What breaks names there; nothing where all is well.

    Args:
        resolv_conf: the machine's resolv.conf(5).
        negative: its negative trust anchors.
        fqdns: the names of its services, of which some are asked for.
        settings: the mesh's conventions.
    """
    yield from resolver_checks.check_search(resolv_conf, settings.domain)
    yield from resolver_checks.check_anchors(negative, settings.domain)
    resolvers = resolver_checks.nameservers(resolv_conf)
    options = settings.dns_options
    server = options.server if options else None
    if len(resolvers) + bool(server) < 2:
        return
    asked = {(fqdn, who): (who, 53) for fqdn in fqdns[:_MOST_NAMES] for who in resolvers}
    if server:
        asked |= {(fqdn, ""): server for fqdn in fqdns[:_MOST_NAMES]}
    found = call_all(partial(_ask, asked), list(asked), deadline=time.monotonic() + _SECONDS, at_once=_AT_ONCE)
    for fqdn in fqdns[:_MOST_NAMES]:
        answers = {who: answer for who in resolvers if (answer := found.get((fqdn, who)))}
        yield from resolver_checks.check_agreement(fqdn, answers, found.get((fqdn, "")))


def _ask(asked: dict[tuple[str, str], tuple[str, int]], question: tuple[str, str]) -> DnsAnswer | None:
    try:
        return client.ask(asked[question], question[0])
    except DnsError:
        # A resolver that does not answer is passed over by everybody else, too.
        return None
