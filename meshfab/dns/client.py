"""One question to one DNS server. What resolvers of the system say is asked elsewhere (`host.tls_client.resolve`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meshfab.dns.record import normal
from meshfab.errors import DnsError

if TYPE_CHECKING:
    from collections.abc import Callable

_SECONDS = 3.0
# A server may answer with any number of records.
_MOST_ADDRESSES = 64


@dataclass(frozen=True)
class DnsAnswer:
    """What a server says of a name.

    Attributes:
        addresses: the addresses, in their normal form and sorted; empty if it has none.
        ttl: for how many seconds the answer may be kept; 0 without an address.
        other: the first record of another type that it gave, in words; empty if none.
    """

    addresses: tuple[str, ...] = ()
    ttl: int = 0
    other: str = ""


def ask(server: tuple[str, int], fqdn: str, sign: Callable[[Any], None] | None = None) -> DnsAnswer:
    """Ask a server for the addresses of a name.

    Args:
        server: its address and port.
        fqdn: the name.
        sign: signs a query; a server with views may choose the view by the key.

    Raises:
        DnsError: it does not answer, or with an error.
    """
    import dns.rdatatype

    addresses: list[str] = []
    ttls, other = [], ""
    for kind in (dns.rdatatype.A, dns.rdatatype.AAAA):
        for rrset in query(server, fqdn, kind, sign):
            if rrset.rdtype == kind:
                addresses += [rdata.address for rdata in list(rrset)[:_MOST_ADDRESSES]]
                ttls.append(int(rrset.ttl))
            elif not other:
                other = f"{dns.rdatatype.to_text(rrset.rdtype)} {rrset[0].to_text()}"
    return DnsAnswer(normal(addresses), min(ttls, default=0), other)


def texts(server: tuple[str, int], name: str, sign: Callable[[Any], None] | None = None) -> tuple[str, ...]:
    """The text records of a name. Errors as for `ask`."""
    import dns.rdatatype

    found = [rdata for rrset in query(server, name, dns.rdatatype.TXT, sign) for rdata in list(rrset)[:_MOST_ADDRESSES]]
    return tuple(b"".join(rdata.strings).decode("utf-8", "replace") for rdata in found if hasattr(rdata, "strings"))


def query(server: tuple[str, int], name: str, kind: Any, sign: Callable[[Any], None] | None = None) -> list[Any]:
    """The record sets of an answer; empty where there is no such name. Errors as for `ask`."""
    import dns.exception
    import dns.message
    import dns.query
    import dns.rcode

    message = dns.message.make_query(name, kind)
    if sign:
        sign(message)
    address, port = server
    try:
        answer, _ = dns.query.udp_with_fallback(message, address, timeout=_SECONDS, port=port)
    except (dns.exception.DNSException, OSError, EOFError, ValueError) as error:
        raise no_answer(server, error) from None
    # CoreDNS's plugin `hosts` answers SERVFAIL for a name that its file lacks: it has no SOA record for an NXDOMAIN.
    if answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN, dns.rcode.SERVFAIL):
        what = f"the DNS server answers {dns.rcode.to_text(answer.rcode())} when it is asked for {name}"
        raise DnsError(what, host=written(server), remedy="does it have the zone, and may it be asked from here?")
    return list(answer.answer)


def no_answer(server: tuple[str, int], error: Exception) -> DnsError:
    """The error for a server that could not be asked."""
    import dns.exception
    import dns.tsig

    remedy = "is it up?"
    # PowerDNS answers unsigned, for which dnspython has no class of its own: a FormError with "requires a TSIG".
    bad_key = (dns.tsig.PeerBadKey, dns.tsig.PeerBadSignature, dns.tsig.BadSignature, dns.tsig.BadKey)
    if isinstance(error, dns.exception.Timeout):
        why = f"no answer within {_SECONDS:.0f} s"
    elif isinstance(error, bad_key) or "requires a TSIG" in str(error):
        why = "it does not accept the TSIG key"
        remedy = "compare the key of meshfab.dns.key_file with the server's, and what it may do there"
    elif isinstance(error, (dns.tsig.PeerBadTime, dns.tsig.BadTime)):
        why = "the clocks differ too much for a TSIG signature"
    else:
        why = str(error) or type(error).__name__
    return DnsError(f"the DNS server cannot be used ({why}); nothing was written", host=written(server), remedy=remedy)


def written(server: tuple[str, int]) -> str:
    """A server as people write it; the port only where it is not 53.

    >>> written(("10.87.0.1", 53)), written(("fd87::1", 5353))
    ('10.87.0.1', '[fd87::1]:5353')
    """
    address, port = server
    if port == 53:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
