"""What breaks the mesh's names in a resolver. Pure: what a machine and its resolvers say in, findings out.

A resolver takes the first answer that it gets, also a wrong one: nobody asks the mesh's own server after an NXDOMAIN.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from meshfab.checks.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from meshfab.dns.client import DnsAnswer

# resolv.conf(5): more than three are not used.
_MOST_SERVERS = 3
_MOST_SHOWN = 4


def nameservers(resolv_conf: str) -> tuple[str, ...]:
    """The resolvers of a resolv.conf(5) that another machine can ask, too: private ones, and not the loopback.

    >>> nameservers("search x\\nnameserver 127.0.0.53\\nnameserver 10.87.0.1\\nnameserver 9.9.9.9\\n")
    ('10.87.0.1',)
    """
    found = []
    for line in resolv_conf.splitlines():
        words = line.split()
        if words[:1] != ["nameserver"] or len(words) < 2:
            continue
        try:
            address = ip_address(words[1])
        except ValueError:
            continue
        # The host may name anybody; the names of services are nobody's business outside.
        if not (address.is_loopback or address.is_link_local or address.is_global or address.is_multicast):
            found.append(str(address))
    return tuple(dict.fromkeys(found))[:_MOST_SERVERS]


def check_search(resolv_conf: str, domain: str) -> Iterator[Finding]:
    """The domain is a search domain: a router hands it out for its own LAN, and answers for it."""
    for line in resolv_conf.splitlines():
        words = [word.rstrip(".").lower() for word in line.split()]
        if words[:1] in (["search"], ["domain"]) and domain in words[1:]:
            what = f"{domain} is a search domain here: the LAN uses it too, and its router's answers hide the mesh's"
            yield Finding("dns-search", "warning", what, "give the LAN another domain, such as home.arpa (RFC 8375)")
            return


def check_anchors(negative: str, domain: str) -> Iterator[Finding]:
    """systemd-resolved has negative trust anchors of somebody's own, without our domain.

    Args:
        negative: the words of all `.negative` files (dnssec-trust-anchors.d(5)); empty if there is none.
        domain: the domain of the services.
    """
    anchors = {word.rstrip(".").lower() for word in negative.split()}
    parents = {domain.split(".", index)[-1] for index in range(domain.count(".") + 1)}
    if anchors and not anchors & parents:
        what = f"systemd-resolved's negative trust anchors lack {domain}: with DNSSEC its names count as not existing"
        remedy = f"add the line {domain} to a .negative file in /etc/dnssec-trust-anchors.d"
        yield Finding("dns-anchor", "warning", what, remedy)


def check_agreement(fqdn: str, answers: Mapping[str, DnsAnswer], server: DnsAnswer | None) -> Iterator[Finding]:
    """Resolvers that give different addresses of a name, and one that keeps an answer longer than its record lives.

    Args:
        fqdn: the name.
        answers: what each resolver says, by its address.
        server: what the mesh's own server says; None if it is not known.
    """
    different = {answer.addresses for answer in answers.values()} | ({server.addresses} if server else set())
    if len(different) > 1:
        said = [f"{who} says {', '.join(one.addresses[:_MOST_SHOWN]) or 'nothing'}" for who, one in answers.items()]
        if server:
            said.append(f"the mesh's server says {', '.join(server.addresses[:_MOST_SHOWN]) or 'nothing'}")
        remedy = (
            "name only resolvers that know the mesh's names; one that was changed may keep its old answer for a while"
        )
        yield Finding("dns-resolvers", "warning", f"resolvers disagree about {fqdn}: {'; '.join(said)}", remedy)
    for who, one in answers.items():
        if server and server.ttl and one.ttl > server.ttl:
            what = f"{who} keeps {fqdn} for {one.ttl} s, and its record lives {server.ttl} s"
            yield Finding("dns-cache", "warning", what, f"lower the least time to live of {who} (cache-min-ttl)")
