"""The addresses that a host gives: its own, and those that names have there. Pure: text in, addresses out."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from meshfab.host import answer_fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from ipaddress import IPv4Address, IPv6Address

# A host with more addresses than this is not taken at its word, nor a name with more.
_MAX_ADDRESSES = 64
_MAX_RESOLVED = 16


def own(text: str) -> tuple[str, ...]:
    """The host's own addresses, separated by blanks, in their normal form; what is none of a network is left out.

    The operator's machine asks there: a loopback address would make it ask itself.
    """
    return tuple(
        str(address)
        for address in _parsed(text.split(maxsplit=_MAX_ADDRESSES)[:_MAX_ADDRESSES])
        if not (address.is_loopback or address.is_multicast or address.is_unspecified)
        and getattr(address, "ipv4_mapped", None) is None
    )


def resolved(text: str) -> dict[str, frozenset[str]]:
    """The addresses of each name, from rows "<name> <address>"; what is not an address is left out.

    A host without IPv4 gives the IPv4 addresses of a name as ::ffff:10.0.0.1.
    """
    words: dict[str, list[str]] = {}
    for row in answer_fields.rows(text):
        name, _, word = row.partition(" ")
        words.setdefault(name, []).append(word)
    return {
        name: frozenset(str(getattr(address, "ipv4_mapped", None) or address) for address in _parsed(addresses))
        for name, addresses in ((name, words[name][:_MAX_RESOLVED]) for name in words)
    }


def _parsed(words: Iterable[str]) -> Iterator[IPv4Address | IPv6Address]:
    """The words that are addresses. One with a zone is none: the zone has a meaning on that host only."""
    for word in words:
        try:
            address = ip_address(word)
        except ValueError:
            continue
        if "%" not in word:
            yield address
