"""`publish-dns` and `dns-records`: all names in one write, a host that fails hides no other, and what is printed."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from meshfab.config.service import Service
from meshfab.config.settings import Settings
from meshfab.dns.record import Record
from meshfab.errors import ConnectError, InputError
from meshfab.fleet import dns_records, publish
from meshfab.fleet.host_outcome import HostOutcome
from meshfab.provisioning.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_mock import MockerFixture

    from meshfab.dns.publication import Publication
    from meshfab.dns.record import Change

ADDRESSES = {"h1": "10.87.0.11", "h2": "10.87.0.12", "h3": "10.87.0.13"}
SERVICES: dict[str, dict[str, Any]] = {"tea": {"host": "h2"}, "milk": {"host": "h3"}, "both": {"hosts": ["h2", "h3"]}}
SETTINGS = Settings(
    mesh_network=("10.87.0.0/16",), dns={"kind": "command", "command": ["own"], "wait": 0}, services=SERVICES
)


class World:
    """Hosts of which some are down, and a DNS that everybody asks."""

    location = "own"

    def __init__(self, mocker: MockerFixture) -> None:
        self.records: dict[str, Record] = {}
        self.writes: list[list[str]] = []
        self.down: set[str] = set()
        self.asked: list[str] = []
        mocker.patch("meshfab.dns.opening.name_server", lambda *_: self)
        mocker.patch("meshfab.ssh.session.shell_within", self.shell)
        mocker.patch("meshfab.host.facts.read_host", lambda shell, *_: SimpleNamespace(addresses=(shell.address,)))
        mocker.patch("meshfab.checks.client_addresses.peer", lambda _c: "")
        mocker.patch("meshfab.host.tls_client.resolve", lambda fqdn: self.read([fqdn])[fqdn].addresses)
        mocker.patch.object(publish, "_resolve_on", self.resolve_on)

    @contextmanager
    def shell(self, host: str, *_words: object, **_more: object) -> Iterator[Any]:
        if host in self.down:
            raise ConnectError("is down", host=host)
        yield SimpleNamespace(c=None, address=ADDRESSES[host])

    def resolve_on(self, host: str, fqdn: str, **_more: object) -> tuple[str, ...]:
        self.asked.append(host)
        return self.read([fqdn])[fqdn].addresses

    def read(self, fqdns: Sequence[str]) -> dict[str, Record]:
        return {fqdn: self.records.get(fqdn, Record(fqdn)) for fqdn in fqdns}

    def write(self, changes: Sequence[Change]) -> None:
        self.writes.append(sorted(change.fqdn for change in changes))
        self.records |= {each.fqdn: Record(each.fqdn, each.addresses, is_ours=True) for each in changes}


@pytest.fixture
def world(mocker: MockerFixture) -> World:
    return World(mocker)


def errors(publications: Sequence[Publication]) -> list[tuple[str, str, str]]:
    return [(each.host, each.fqdn, str(each.error)) for each in publications if each.error]


def test_all_names_are_one_write_and_each_host_is_asked(world: World) -> None:
    published = publish.publish_dns(settings=SETTINGS)
    assert world.writes == [["both.internal", "milk.internal", "tea.internal"]]
    assert world.records["both.internal"].addresses == ("10.87.0.12", "10.87.0.13")
    assert errors(published) == []
    assert set(world.asked) == {"h2", "h3"}
    assert not any(each.reason for each in publish.publish_dns(settings=SETTINGS))
    assert len(world.writes) == 1


def test_a_host_that_is_down_hides_no_other_and_keeps_its_address(world: World) -> None:
    publish.publish_dns(settings=SETTINGS)
    world.down = {"h3"}
    world.records.pop("tea.internal")
    published = publish.publish_dns(settings=SETTINGS)
    assert [host for host, *_ in errors(published)] == ["h3", "h3"]
    assert world.writes[1:] == [["tea.internal"]]
    assert world.records["both.internal"].addresses == ("10.87.0.12", "10.87.0.13")


def test_a_dry_run_writes_nothing_and_asks_no_resolver(world: World) -> None:
    assert all(each.reason for each in publish.publish_dns(["h2"], names=["tea"], settings=SETTINGS, dry_run=True))
    assert (world.writes, world.asked) == ([], [])


def test_a_record_is_removed_without_its_host(world: World) -> None:
    world.records["tea.internal"] = Record("tea.internal", ("10.87.0.12",), is_ours=True)
    world.down = {"h2"}
    (removed,) = publish.publish_dns(names=["tea"], settings=SETTINGS, remove=True)
    assert (removed.before, removed.addresses, removed.error) == (("10.87.0.12",), (), None)
    assert world.records["tea.internal"].addresses == ()


@pytest.mark.parametrize(
    ("words", "settings", "what"),
    [
        ({}, Settings(services=SERVICES), "dns is not set"),
        ({"remove": True}, SETTINGS, "removed by name"),
        ({"remove": True, "names": ["tea"], "hosts": ["h2"]}, SETTINGS, "removed by name"),
        ({"names": ["wine"]}, SETTINGS, "wine is not declared"),
        ({"remove": True, "names": ["Tea"]}, SETTINGS, "DNS label"),
    ],
)
def test_what_makes_no_sense_is_refused(world: World, words: dict[str, Any], settings: Settings, what: str) -> None:
    with pytest.raises(InputError, match=what):
        publish.publish_dns(words.pop("hosts", None), settings=settings, **words)
    assert world.writes == []


def test_apply_publishes_what_is_served_and_asks_hosts_only_about_changes(world: World) -> None:
    def outcome(name: str, *services: Outcome) -> HostOutcome:
        return HostOutcome(name, services, reached=ADDRESSES[name])

    tea = Outcome("h2", Service.of("tea", SETTINGS), addresses=("10.87.0.12",))
    bad = Outcome("h3", Service.of("milk", SETTINGS), error=ConnectError("boom"))
    done = publish.publish_outcomes([outcome("h2", tea), outcome("h3", bad)], SETTINGS)
    assert world.writes == [["tea.internal"]]
    assert [[each.fqdn for each in one.published] for one in done] == [["tea.internal"], []]
    assert (done[0].is_well, done[0].is_changed, world.asked) == (True, True, ["h2"])
    world.asked.clear()
    assert not publish.publish_outcomes([outcome("h2", tea)], SETTINGS)[0].is_changed
    assert world.asked == []
    world.records["tea.internal"] = Record("tea.internal", ("10.0.0.1",))
    assert not publish.publish_outcomes([outcome("h2", tea)], SETTINGS)[0].is_well


def test_the_records_of_the_declared_services_need_no_connection(mocker: MockerFixture) -> None:
    mocker.patch.object(
        dns_records, "connect_by_settings", lambda host, *_: SimpleNamespace(host=ADDRESSES.get(host, host))
    )
    mocker.patch("meshfab.host.tls_client.resolve", lambda name: (name,))
    assert [(each.fqdn, each.addresses) for each in dns_records.declared(SETTINGS)] == [
        ("both.internal", ("10.87.0.12", "10.87.0.13")),
        ("milk.internal", ("10.87.0.13",)),
        ("tea.internal", ("10.87.0.12",)),
    ]
    elsewhere = Settings(mesh_network=("10.99.0.0/16",), services=SERVICES)
    with pytest.raises(InputError, match=r"no address of h2 in 10\.99\.0\.0/16 is known here"):
        dns_records.declared(elsewhere)
