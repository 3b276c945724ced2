"""Wait until a name leads to another host, for everybody who is asked."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meshfab.errors import MeshfabError, one_line
from meshfab.host import tls_client
from meshfab.provisioning import naming
from meshfab.ssh import session

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from meshfab.config.settings import Settings

_POLL_SECONDS = 2.0
# Whoever has the old address may keep it for the record's time to live (TTL); nobody waits longer than this for it.
_LONGEST_TTL = 3600
HERE = "here"


def wrong_answers(answers: Mapping[str, Collection[str]], addresses: Iterable[str]) -> list[str]:
    """Who does not resolve the name to the host, as sentences. Pure.

    >>> wrong_answers({"here": ["10.0.0.3"], "h2": ["10.0.0.2", "10.0.0.3"], "h3": []}, ["10.0.0.3"])
    ['h2 gets 10.0.0.2, 10.0.0.3', 'h3 gets nothing']

    Args:
        answers: the addresses, by who was asked.
        addresses: those of the host.
    """
    host = set(addresses)
    return [
        f"{who} gets {', '.join(sorted(found)) or 'nothing'}"
        for who, found in answers.items()
        if not found or not set(found) <= host
    ]


@dataclass(frozen=True)
class Resolvers:
    """This machine's resolver, and those of hosts.

    Attributes:
        hosts: the hosts.
        settings: the mesh's conventions.
        config: an Invoke or Fabric configuration.
    """

    hosts: Sequence[str]
    settings: Settings
    config: Any = None

    def ask(self, fqdn: str) -> dict[str, Collection[str]]:
        """What each of them says of a name. A host that cannot be asked says nothing."""
        answers: dict[str, Collection[str]] = {HERE: tls_client.resolve(fqdn)}
        for host in self.hosts:
            try:
                with session.shell_within(host, self.settings, self.config, session.HOST_SECONDS) as shell:
                    answers[host] = naming.resolve_in(shell, fqdn)
            except MeshfabError as error:
                answers[host] = [f"no answer ({one_line(str(error))[:200]})"]
        return answers

    def wait(self, fqdn: str, addresses: Sequence[str], on_change: Callable[[str], None]) -> None:
        """Wait until all of them resolve the name to the host, and then for as long as others may keep the old address.

        Args:
            fqdn: the name.
            addresses: the addresses of the host.
            on_change: called with who still has other answers, in a sentence, when that changes.
        """
        said = ""
        while wrong := "; ".join(wrong_answers(self.ask(fqdn), addresses)):
            if wrong != said:
                on_change(wrong)
            said = wrong
            time.sleep(_POLL_SECONDS)
        if seconds := time_to_live(fqdn):
            on_change(f"all resolve it to the new host; others may keep the old address for {seconds} s")
            time.sleep(seconds)


def time_to_live(fqdn: str) -> int:
    """For how many seconds others may keep an answer for the name; 0 where no DNS server answers for it."""
    import dns.exception
    import dns.resolver

    for kind in ("A", "AAAA"):
        try:
            answer = dns.resolver.resolve(fqdn, kind, lifetime=5, search=False)
        except (dns.exception.DNSException, OSError):
            continue
        return min(int(answer.rrset.ttl), _LONGEST_TTL) if answer.rrset else 0
    return 0
