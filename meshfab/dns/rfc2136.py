"""DNS updates (RFC 2136), signed with TSIG: BIND, Knot, PowerDNS and others.

Beside each record that we write there is a text record `_meshfab.<name>`: whose record it is. Each update has
prerequisites (RFC 2136, 2.4), so a change that somebody else made meanwhile is an error: without them, a server takes
an update that changes nothing for a success.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meshfab.dns import client
from meshfab.dns.name_server import ChangedMeanwhileError
from meshfab.dns.record import Record, kind
from meshfab.errors import DnsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshfab.dns.record import Change
    from meshfab.dns.tsig_key import TsigKey

_MARK = "managed by meshfab"
_SECONDS = 5.0


class UpdateServer:
    """A primary server that takes signed updates.

    Args:
        server: its address and port.
        zone: the zone that is updated.
        ttl: the records' time to live, in seconds.
        key: the key that may do so.
    """

    def __init__(self, server: tuple[str, int], zone: str, ttl: int, key: TsigKey) -> None:
        self.location = client.written(server)
        self._server, self._zone, self._ttl, self._key = server, zone, ttl, key

    def read(self, fqdns: Sequence[str]) -> dict[str, Record]:
        """What the server has of each name, and whether our mark is beside it."""
        records = {}
        for fqdn in fqdns:
            if not fqdn.endswith(f".{self._zone}"):
                raise DnsError(
                    f"{fqdn} is not in the zone {self._zone}", host=self.location, remedy="set meshfab.dns.zone"
                )
            answer = client.ask(self._server, fqdn, self._key.sign)
            is_ours = _MARK in client.texts(self._server, _mark_of(fqdn), self._key.sign)
            records[fqdn] = Record(fqdn, answer.addresses, is_ours, answer.other)
        return records

    def write(self, changes: Sequence[Change]) -> None:
        """Send all changes in one update, which the server carries out as a whole or not at all (RFC 2136, 3.4)."""
        import dns.exception
        import dns.query
        import dns.rcode

        message = self._message(changes)
        try:
            answer = dns.query.tcp(message, self._server[0], timeout=_SECONDS, port=self._server[1])
        except (dns.exception.DNSException, OSError, EOFError, ValueError) as error:
            raise client.no_answer(self._server, error) from None
        code = answer.rcode()
        if code == dns.rcode.NOERROR:
            return
        if code in (dns.rcode.NXRRSET, dns.rcode.YXRRSET, dns.rcode.NXDOMAIN, dns.rcode.YXDOMAIN):
            raise ChangedMeanwhileError
        word = dns.rcode.to_text(code)
        what = f"the DNS server refused the update ({word}); nothing was written"
        remedy = f"may the key {self._key.name} write A, AAAA and TXT records in the zone {self._zone}?"
        raise DnsError(what, host=self.location, remedy=remedy)

    def _message(self, changes: Sequence[Change]) -> Any:
        import dns.name
        import dns.update

        message = dns.update.UpdateMessage(dns.name.from_text(self._zone))
        for change in changes:
            name, mark = (dns.name.from_text(each) for each in (change.fqdn, _mark_of(change.fqdn)))
            for of_kind in ("A", "AAAA"):
                before = [address for address in change.before.addresses if kind(address) == of_kind]
                after = [address for address in change.addresses if kind(address) == of_kind]
                if before:
                    message.present(name, of_kind, *before)
                else:
                    message.absent(name, of_kind)
                message.delete(name, of_kind)
                for address in after:
                    message.add(name, self._ttl, of_kind, address)
            message.absent(name, "CNAME")
            if change.before.is_ours:
                message.present(mark, "TXT", f'"{_MARK}"')
            else:
                message.absent(mark, "TXT")
            message.delete(mark, "TXT")
            if change.addresses:
                message.add(mark, self._ttl, "TXT", f'"{_MARK}"')
        self._key.sign(message)
        return message


def _mark_of(fqdn: str) -> str:
    return f"_meshfab.{fqdn}"
