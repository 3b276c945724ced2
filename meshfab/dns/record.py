"""Records of names, and the changes to them. Pure: what is there and what is wanted in, a change and its reason out."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from meshfab.errors import DnsError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence


@dataclass(frozen=True)
class Record:
    """What the DNS has of one name.

    Attributes:
        fqdn: the name.
        addresses: its addresses, in their normal form and sorted.
        is_ours: whether meshfab wrote it.
        other: what is there instead of addresses, such as a CNAME, in words.
    """

    fqdn: str
    addresses: tuple[str, ...] = ()
    is_ours: bool = False
    other: str = ""


@dataclass(frozen=True)
class Change:
    """A change of one name.

    Attributes:
        before: what is there.
        addresses: the addresses that it gets; empty if the record is removed.
    """

    before: Record
    addresses: tuple[str, ...]

    @property
    def fqdn(self) -> str:
        """The name."""
        return self.before.fqdn

    @property
    def reason(self) -> str:
        """What is done, and why, in a sentence.

        >>> Change(Record("tea.internal", ("10.0.0.2",), is_ours=True), ("10.0.0.3",)).reason
        'tea.internal: 10.0.0.2 -> 10.0.0.3'
        """
        before, after = listed(self.before.addresses), listed(self.addresses)
        if not self.before.addresses:
            return f"{self.fqdn}: it led nowhere, and leads to {after}"
        return f"{self.fqdn}: {before} -> {after}" if self.addresses else f"{self.fqdn}: {before} is removed"


@dataclass(frozen=True)
class Wish:
    """What a name should have.

    Attributes:
        addresses: the addresses that it leads to.
        keeps_others: whether our own record keeps its other addresses, since other hosts serve the name, too.
        is_removal: whether these addresses are taken away; a record without addresses goes.
        is_whole: whether a removal takes all addresses away, whatever they are.
    """

    addresses: tuple[str, ...]
    keeps_others: bool = False
    is_removal: bool = False
    is_whole: bool = False

    def of(self, before: Record) -> tuple[str, ...]:
        """The addresses that the name has in the end, if the record is ours to change."""
        if self.is_whole:
            return ()
        if self.is_removal:
            return tuple(each for each in before.addresses if each not in normal(self.addresses))
        return normal((*self.addresses, *(before.addresses if self.keeps_others and before.is_ours else ())))

    def is_met(self, answer: Collection[str]) -> bool:
        """Whether a resolver's answer is what is wished. One that has no IPv6 may leave the IPv6 addresses out."""
        found, wished = set(answer), set(self.addresses)
        if self.is_removal:
            return not found & wished
        return bool(found & wished) and (self.keeps_others or found <= wished)

    def __str__(self) -> str:
        """What is wished, in words."""
        return f"{'away from' if self.is_removal else 'to'} {listed(self.addresses)}"


def plan(before: Record, wish: Wish, location: str) -> Change | None:
    """The change that gives a name what it should have; None if it has that, whoever wrote it.

    Args:
        before: what is there.
        wish: what it should have.
        location: the server or file, for the error.

    Raises:
        DnsError: somebody else's record for the name leads elsewhere. It is never changed.
    """
    addresses = wish.of(before)
    if not before.is_ours and wish.is_removal:
        return None
    if addresses == before.addresses and not before.other:
        # A mark without a record: somebody removed the record by hand.
        return Change(before, ()) if before.is_ours and not addresses else None
    if not before.is_ours and (before.addresses or before.other):
        what = (
            f"{before.fqdn} has a record that meshfab did not write: {listed(before.addresses) or before.other},"
            f" and {listed(addresses)} is wanted"
        )
        raise DnsError(what, host=location, remedy="remove that record, or correct it by hand")
    return Change(before, addresses)


def normal(addresses: Iterable[str]) -> tuple[str, ...]:
    """Addresses in their normal form, each once, sorted as text.

    >>> normal(["fd87:0::1", "10.0.0.2", "10.0.0.2"])
    ('10.0.0.2', 'fd87::1')
    """
    return tuple(sorted({str(ip_address(address)) for address in addresses}))


def kind(address: str) -> str:
    """The type of an address's record (RFC 1035, RFC 3596).

    >>> kind("10.87.0.12"), kind("fd87::c")
    ('A', 'AAAA')
    """
    return "AAAA" if ":" in address else "A"


def listed(addresses: Sequence[str]) -> str:
    """Addresses in a sentence."""
    return ", ".join(addresses)
