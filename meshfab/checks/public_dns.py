"""What resolvers outside the mesh say of a name that must never be public."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_SECONDS = 2.0


def ask_public(fqdn: str, resolvers: Sequence[str]) -> tuple[str, ...]:
    """The answers of the resolvers that know the name, as "address (says resolver)".

    Silence and a refusal are no answers.
    """
    if not resolvers:
        return ()
    import dns.exception
    import dns.message
    import dns.query
    import dns.rdatatype

    answers = []
    for resolver in resolvers:
        for kind in (dns.rdatatype.A, dns.rdatatype.AAAA, dns.rdatatype.CNAME):
            query = dns.message.make_query(fqdn, kind)
            try:
                answer, _ = dns.query.udp_with_fallback(query, resolver, timeout=_SECONDS)
            except (dns.exception.DNSException, OSError, ValueError):
                break
            rows = [rdata.to_text() for rrset in answer.answer for rdata in rrset]
            if rows:
                answers.append(f"{', '.join(rows)} (says {resolver})")
                break
    return tuple(answers)
