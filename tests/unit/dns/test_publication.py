"""Writing names and proving them: what is tried again, what is refused, and who is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from meshfab.config.dns_options import DnsOptions
from meshfab.dns import publication
from meshfab.dns.mesh_address import choose
from meshfab.dns.name_server import ChangedMeanwhileError
from meshfab.dns.record import Change, Record, Wish
from meshfab.errors import DnsError

if TYPE_CHECKING:
    from collections.abc import Sequence

NEW = "10.87.0.12"


class Server:
    """A server that keeps records, and some writes of which are lost."""

    location = "ns"

    def __init__(self, *records: Record, lost: int = 0) -> None:
        self.records, self.lost = {one.fqdn: one for one in records}, lost
        self.writes: list[list[str]] = []

    def read(self, fqdns: Sequence[str]) -> dict[str, Record]:
        return {fqdn: self.records.get(fqdn, Record(fqdn)) for fqdn in fqdns}

    def write(self, changes: Sequence[Change]) -> None:
        if self.lost:
            self.lost -= 1
            raise ChangedMeanwhileError
        self.writes.append([change.fqdn for change in changes])
        for change in changes:
            self.records[change.fqdn] = Record(change.fqdn, change.addresses, is_ours=True)


def test_all_names_are_one_write_and_a_second_run_writes_nothing() -> None:
    server, wishes = Server(), {"a.internal": Wish((NEW,)), "b.internal": Wish((NEW,))}
    assert all(publication.write(server, wishes).values())
    assert publication.write(server, wishes) == {"a.internal": None, "b.internal": None}
    assert server.writes == [["a.internal", "b.internal"]]


def test_a_foreign_record_keeps_no_other_name_back() -> None:
    server = Server(Record("a.internal", ("10.0.0.1",)))
    results = publication.write(server, {"a.internal": Wish((NEW,)), "b.internal": Wish((NEW,))})
    assert isinstance(results["a.internal"], DnsError)
    assert server.writes == [["b.internal"]]


def test_a_dry_run_writes_nothing() -> None:
    server = Server()
    assert isinstance(publication.write(server, {"a.internal": Wish((NEW,))}, dry_run=True)["a.internal"], Change)
    assert server.writes == []


def test_a_change_meanwhile_is_planned_again_and_not_for_ever() -> None:
    server = Server(lost=2)
    publication.write(server, {"a.internal": Wish((NEW,))})
    assert server.writes == [["a.internal"]]
    with pytest.raises(DnsError, match=r"somebody else changes b\.internal"):
        publication.write(Server(lost=9), {"b.internal": Wish((NEW,))})


def test_it_is_proved_when_everybody_has_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    answers: dict[str, list[Any]] = {"fast": [{NEW}], "slow": [{"10.0.0.1"}, set(), {NEW}]}
    who = {name: (lambda _fqdn, rest=rest: rest.pop(0)) for name, rest in answers.items()}
    publication.prove("a.internal", Wish((NEW,)), who, 60)
    assert answers == {"fast": [], "slow": []}, "who was right is not asked again"


def test_who_does_not_follow_is_named() -> None:
    def lost(_fqdn: str) -> set[str]:
        raise DnsError("boom", host="ns")

    who = {"the DNS server ns": lost, "h2's resolver": lambda _fqdn: set(), "here": lambda _fqdn: {NEW}}
    expected = (
        r"a\.internal should lead to 10\.87\.0\.12, and the DNS server ns gets no answer .*; h2's resolver gets noth"
    )
    with pytest.raises(DnsError, match=expected):
        publication.prove("a.internal", Wish((NEW,)), who, 0)


def test_silence_is_no_proof_that_a_name_is_gone() -> None:
    def lost(_fqdn: str) -> set[str]:
        raise DnsError("boom", host="ns")

    gone = Wish((NEW,), is_removal=True)
    publication.prove("a.internal", gone, {"here": lambda _fqdn: set()}, 0)
    with pytest.raises(DnsError, match=r"should lead away from .*the DNS server gets no answer"):
        publication.prove("a.internal", gone, {"the DNS server": lost}, 0)


def test_the_server_is_asked_where_it_is_known() -> None:
    hosts = {"h2": lambda _fqdn: {NEW}}
    here = hosts["h2"]
    options = DnsOptions("command")
    assert list(publication.askers(options, here, hosts)) == ["this machine's resolver", "h2's resolver"]
    options = DnsOptions("rfc2136", server=("10.87.0.1", 5353))
    assert next(iter(publication.askers(options, here, hosts))) == "the DNS server 10.87.0.1:5353"


MESH = ("10.87.0.0/16", "fd87::/64")


@pytest.mark.parametrize(
    ("addresses", "reached", "chosen"),
    [
        (["192.168.1.2", NEW], "192.168.1.2", (NEW,)),
        ([NEW, "10.87.0.99"], NEW, (NEW,)),
        ([NEW, "fd87::c", "2001:db8::1"], "", (NEW, "fd87::c")),
    ],
    ids=["the only one", "the one that SSH reached", "one of each network"],
)
def test_a_name_leads_to_the_hosts_address_in_the_mesh(
    addresses: list[str], reached: str, chosen: tuple[str, ...]
) -> None:
    assert choose("h2", addresses, reached, MESH) == chosen


@pytest.mark.parametrize(
    ("addresses", "what"),
    [
        ([NEW, "10.87.0.99"], "several addresses in 10.87.0.0/16"),
        (["192.168.1.2"], "no address in meshfab.mesh_network"),
        ([], "it has none"),
    ],
)
def test_no_other_address_is_published(addresses: list[str], what: str) -> None:
    with pytest.raises(DnsError, match=what):
        choose("h2", addresses, "", MESH)


def test_a_public_address_is_none_of_the_mesh() -> None:
    with pytest.raises(DnsError, match="no address"):
        choose("h2", ["8.8.8.8"], "8.8.8.8", ["0.0.0.0/0"])
