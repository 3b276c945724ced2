"""Names as the last step of a run: which ones, for whom, and never before the service is served."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from meshfab.config.service import Service
from meshfab.config.settings import Settings
from meshfab.dns.record import Record, Wish
from meshfab.errors import DnsError
from meshfab.provisioning import naming
from meshfab.provisioning.outcome import Outcome, Retirement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_mock import MockerFixture

    from meshfab.dns.record import Change

HERE, THERE = "10.87.0.12", "10.87.0.13"
SETTINGS = Settings(
    mesh_network=("10.87.0.0/16",),
    dns={"kind": "command", "command": ["own-dns"], "wait": 0},
    services={
        "tea": {"host": "h2", "sans": ["pot.internal", "tea.example"]},
        "both": {"hosts": ["h2", "h3"]},
    },
)


class World:
    """A DNS, and resolvers that follow it."""

    location = "own-dns"

    def __init__(self, mocker: MockerFixture) -> None:
        self.records: dict[str, Record] = {}
        self.log: list[str] = []
        self.is_followed = True
        self.public: tuple[str, ...] = ()
        mocker.patch("meshfab.dns.opening.name_server", lambda *_: self)
        mocker.patch("meshfab.host.tls_client.resolve", self.resolve)
        mocker.patch.object(naming, "resolve_on", lambda _c, fqdn: self.resolve(fqdn))
        mocker.patch("meshfab.checks.client_addresses.peer", lambda _c: HERE)
        mocker.patch("meshfab.checks.public_dns.ask_public", self.ask_public)

    def ask_public(self, _fqdn: str, _resolvers: object) -> tuple[str, ...]:
        return self.public

    def resolve(self, fqdn: str) -> tuple[str, ...]:
        record = self.records.get(fqdn)
        return record.addresses if record and self.is_followed else ()

    def read(self, fqdns: Sequence[str]) -> dict[str, Record]:
        return {fqdn: self.records.get(fqdn, Record(fqdn)) for fqdn in fqdns}

    def write(self, changes: Sequence[Change]) -> None:
        self.log.append(" ".join(change.fqdn for change in changes))
        self.records |= {each.fqdn: Record(each.fqdn, each.addresses, is_ours=True) for each in changes}


@pytest.fixture
def world(mocker: MockerFixture) -> World:
    return World(mocker)


C: Any = SimpleNamespace(config=None)


def publish(name: str = "tea", settings: Settings = SETTINGS, **more: Any) -> Outcome:
    service = Service.of(name, settings)
    outcome = Outcome("h2", dataclasses.replace(service, sans=("bank.internal",)), addresses=(HERE, "192.168.1.1"))
    return naming.publish(C, outcome, service, settings, **more)


def retire(name: str = "tea", **more: Any) -> Retirement:
    retired = Retirement("h2", Service.of(name, SETTINGS), addresses=(HERE, "192.168.1.1"))
    return naming.withdraw(C, retired, SETTINGS, **more)


def test_the_declared_names_of_our_domain_are_published_and_none_that_only_the_host_has(world: World) -> None:
    steps: list[str] = []
    outcome = publish(on_step=lambda _verb, text: steps.append(text))
    assert world.log == ["tea.internal pot.internal"], "in one write"
    assert world.records["tea.internal"].addresses == (HERE,)
    assert [step.verb for step in outcome.changed] == ["publish-dns"] * 2
    assert steps == [step.reason for step in outcome.changed]


def test_a_second_run_changes_nothing(world: World) -> None:
    publish()
    world.log.clear()
    assert list(publish().changed) == []
    assert world.log == []


def test_a_dry_run_plans_and_asks_nobody(world: World) -> None:
    world.is_followed = False
    assert len(publish(dry_run=True).changed) == 2
    assert world.log == []


def test_without_the_setting_nothing_is_read(world: World) -> None:
    assert publish(settings=Settings()).changed == ()
    assert world.log == []


def test_a_service_of_several_hosts_leads_to_all_and_loses_one_at_a_time(world: World) -> None:
    world.records["both.internal"] = Record("both.internal", (THERE,), is_ours=True)
    publish("both")
    assert [*world.records["both.internal"].addresses] == [HERE, THERE]
    retire("both")
    assert [*world.records["both.internal"].addresses] == [THERE]


def test_a_retirement_leaves_a_name_that_leads_elsewhere(world: World) -> None:
    world.records["tea.internal"] = Record("tea.internal", (THERE,), is_ours=True)
    assert retire().changed == ()
    world.records["tea.internal"] = Record("tea.internal", (HERE,), is_ours=True)
    assert [step.reason for step in retire(dry_run=True).changed] == [f"tea.internal: {HERE} is removed"]
    assert world.log == []
    retire()
    assert world.records["tea.internal"].addresses == ()


def test_who_does_not_follow_is_an_error_after_the_step_was_told(world: World) -> None:
    world.is_followed = False
    steps: list[str] = []
    with pytest.raises(DnsError, match=r"this machine's resolver gets nothing; h2's resolver gets nothing"):
        publish(on_step=lambda _verb, text: steps.append(text))
    assert len(steps) == 2


def test_a_public_name_is_not_written(world: World) -> None:
    world.public = ("10.87.0.12 (says 9.9.9.9)",)
    with pytest.raises(DnsError, match=r"tea\.internal is public"):
        publish()
    assert world.log == []


def test_a_foreign_record_stops_its_name_and_no_other(world: World) -> None:
    world.records["tea.internal"] = Record("tea.internal", (THERE,))
    with pytest.raises(DnsError, match="did not write"):
        publish()
    assert world.log == ["pot.internal"]
    assert world.records["tea.internal"].addresses == (THERE,)


def test_names_given_on_the_command_line_go_before_those_of_the_settings() -> None:
    service = Service.of("tea", SETTINGS, sans=("cup.internal",))
    assert naming.names(service, SETTINGS) == ("tea.internal", "cup.internal")
    assert naming.wish_for((HERE,), service, SETTINGS) == Wish((HERE,))
