"""Publish names: read, plan, write, and ask until everybody gets the new address."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from meshfab.dns import client, record
from meshfab.dns.name_server import ChangedMeanwhileError
from meshfab.dns.record import Change
from meshfab.errors import DnsError, MeshfabError, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from meshfab.config.dns_options import DnsOptions
    from meshfab.dns.name_server import NameServer
    from meshfab.dns.record import Record, Wish

    # Asks one resolver for the addresses of a name.
    Asker = Callable[[str], Collection[str]]

_TRIES = 3
_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Publication:
    """What became of one name in the DNS.

    Attributes:
        host: the host that the name leads to, as it was named; empty where a name was only removed.
        fqdn: the name.
        addresses: where it leads; empty if it leads nowhere any more.
        before: where it led before.
        reason: what was changed (or would be, in a dry run), in a sentence; empty if it was right.
        error: why it is not published and proved; None if it is.
    """

    host: str
    fqdn: str
    addresses: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    reason: str = ""
    error: MeshfabError | None = None


def write(
    server: NameServer, wishes: Mapping[str, Wish], *, dry_run: bool = False
) -> dict[str, Change | MeshfabError | None]:
    """Give names what they should have, in one write. A name that cannot have it keeps no other name back.

    Args:
        server: where names are written.
        wishes: what they should have, by name.
        dry_run: read only.

    Returns:
        The change of each name, None if it was right, or the error: its record is somebody else's.

    Raises:
        DnsError: the server cannot be read, or refused; nothing was changed.
        ConnectError: the host that has the file cannot be reached.
    """
    for _ in range(_TRIES):
        records = server.read(list(wishes))
        plans = {fqdn: _planned(records[fqdn], wish, server.location) for fqdn, wish in wishes.items()}
        changes = [each for each in plans.values() if isinstance(each, Change)]
        if not changes or dry_run:
            return plans
        try:
            server.write(changes)
        except ChangedMeanwhileError:
            continue
        return plans
    what = f"somebody else changes {', '.join(wishes)} at the same time; nothing was written"
    raise DnsError(what, host=server.location, remedy="run it again")


def _planned(before: Record, wish: Wish, location: str) -> Change | MeshfabError | None:
    try:
        return record.plan(before, wish, location)
    except DnsError as error:
        return error


def askers(options: DnsOptions, here: Asker, hosts: Mapping[str, Asker]) -> dict[str, Asker]:
    """Who must give the new address: the server itself where it is known, this machine's resolver, and hosts."""
    server = options.server
    known: dict[str, Asker] = (
        {} if server is None else {f"the DNS server {client.written(server)}": partial(_ask, server)}
    )
    return {**known, "this machine's resolver": here, **{f"{host}'s resolver": ask for host, ask in hosts.items()}}


def prove(fqdn: str, wish: Wish, who: Mapping[str, Asker], seconds: float) -> None:
    """Ask until all of them give what is wished.

    Args:
        fqdn: the name.
        wish: what it should have.
        who: those who are asked.
        seconds: the time limit.

    Raises:
        DnsError: one of them still gives something else.
    """
    wrong, deadline = dict(who), time.monotonic() + seconds
    while True:
        found = {name: _answer(ask, fqdn) for name, ask in wrong.items()}
        # Who cannot be asked shows neither that a name leads somewhere nor that it does not.
        wrong = {name: wrong[name] for name, got in found.items() if isinstance(got, str) or not wish.is_met(got)}
        if not wrong:
            return
        if time.monotonic() >= deadline:
            break
        time.sleep(_POLL_SECONDS)
    got = "; ".join(f"{name} gets {_in_words(found[name])}" for name in wrong)
    what = f"{fqdn} should lead {wish}, and {got}"
    remedy = "a resolver may keep an old answer until it expires: then run it again; docs/how-to/dns.md has more"
    raise DnsError(what, remedy=remedy)


def _ask(server: tuple[str, int], fqdn: str) -> Collection[str]:
    return client.ask(server, fqdn).addresses


def _answer(ask: Asker, fqdn: str) -> set[str] | str:
    """The addresses, or why there is no answer."""
    try:
        return set(ask(fqdn))
    except MeshfabError as error:
        return f"no answer ({one_line(str(error))[:200]})"


def _in_words(answer: set[str] | str) -> str:
    return answer if isinstance(answer, str) else record.listed(sorted(answer)) or "nothing"
