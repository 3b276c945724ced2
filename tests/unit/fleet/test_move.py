"""A move: in which order, and what it never does."""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from meshfab.config.settings import Settings
from meshfab.errors import InputError, NginxError, NotReadyError
from meshfab.fleet import move, name_wait
from meshfab.fleet.name_wait import Resolvers
from meshfab.host.facts import ServiceState
from meshfab.provisioning.outcome import Outcome, Retirement
from meshfab.provisioning.plan import Step
from tests.support.certificates import authority
from tests.support.fake_host import Host

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_mock import MockerFixture

OLD, NEW = "10.87.0.11", "10.87.0.12"


class World:
    """Two hosts, and a DNS that is changed while it is waited for."""

    def __init__(self, mocker: MockerFixture, settings: Settings) -> None:
        self.settings, self.log = settings, []  # type: ignore[var-annotated]
        self.error: NginxError | None = None
        self.pair = authority().pair("gongfoo.internal")
        self.answers = [{"here": [OLD], "h1": [OLD], "h2": [NEW]}, {"here": [NEW], "h1": [NEW], "h2": [NEW]}]
        mocker.patch("meshfab.ssh.session.shell_within", lambda *_: nullcontext(SimpleNamespace(c=None)))
        mocker.patch("meshfab.checks.client_addresses.peer", lambda _c: NEW)
        mocker.patch("meshfab.host.facts.read_host", self.read_host)
        mocker.patch.object(move, "connect_by_settings", lambda host, *_args, **_more: nullcontext(host))
        mocker.patch.object(move, "HostRun", self.host_run)
        mocker.patch.object(move, "retire_service", self.retire)
        mocker.patch.object(Resolvers, "ask", self.ask)
        mocker.patch("time.sleep", lambda seconds: self.log.append(f"sleep {seconds:g}"))
        mocker.patch.object(name_wait, "time_to_live", lambda _fqdn: 30)

    def read_host(self, _shell: None, _settings: Settings, services: Any) -> Any:
        state = dataclasses.replace(Host().state(), addresses=(NEW,))
        have = {service.name: ServiceState(cert=self.pair.pem) for service in services}
        return dataclasses.replace(state, services=have)

    def ask(self, _fqdn: str) -> dict[str, list[str]]:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def host_run(self, host: str, request: Any, _on_step: Any) -> Any:
        self.log.append(f"provision {host}{' (dry run)' * request.dry_run}")
        outcome = Outcome(host, request.services[0], error=self.error)
        return type("Run", (), {"converge": lambda _self: [outcome]})()

    def retire(self, host: str, request: Any, *_args: Any, **_more: Any) -> Retirement:
        self.log.append(f"retire {host}{' without revocation' * (not request.revokes)}")
        return Retirement(host, request.service)

    def move(self, **more: Any) -> move.Move:
        return move.move("gongfoo", "h1", "h2", settings=self.settings, **more)


@pytest.fixture
def world(mocker: MockerFixture, tmp_path: Path) -> World:
    file = tmp_path / "password"
    file.touch(0o600)
    file.write_text("geheim\n")
    return World(mocker, Settings(provisioner_password=str(file)))


def test_the_old_host_ends_when_the_name_has_moved_and_its_old_address_is_forgotten(world: World) -> None:
    moved = world.move()
    assert world.log == ["provision h2", "sleep 2", "sleep 30", "retire h1"]
    assert moved.retired is not None
    assert moved.remaining == ()


def test_without_a_wait_it_ends_before_the_name(world: World) -> None:
    moved = world.move(wait=False)
    assert world.log == ["provision h2"]
    assert moved.remaining == (f"here gets {OLD}", f"h1 gets {OLD}")
    # Once the name has moved, the same call completes it.
    assert world.move(wait=False).retired
    assert world.log[1:] == ["provision h2", "retire h1"]


def test_with_a_dns_of_ours_the_name_is_led_to_the_new_host_before_the_wait(
    world: World, mocker: MockerFixture
) -> None:
    world.settings = dataclasses.replace(
        world.settings, mesh_network=("10.87.0.0/16",), dns={"kind": "command", "command": ["own-dns"]}
    )

    def carry_out(_options: Any, wishes: Any, *_more: Any, dry_run: bool, on_step: Any) -> list[Step]:
        world.log += [f"publish {fqdn} {wish}{' (dry run)' * dry_run}" for fqdn, wish in wishes.items()]
        on_step("publish-dns", "said")
        return [Step("publish-dns", "said")]

    mocker.patch("meshfab.provisioning.naming.carry_out", carry_out)
    moved = world.move()
    assert world.log == ["provision h2", f"publish gongfoo.internal to {NEW}", "sleep 2", "sleep 30", "retire h1"]
    assert [step.verb for step in moved.provisioned.changed] == ["publish-dns"]
    world.log.clear()
    assert world.move(dry_run=True).retired is None
    assert world.log == ["provision h2 (dry run)", f"publish gongfoo.internal to {NEW} (dry run)"]


def test_a_dry_run_retires_and_waits_for_nothing(world: World) -> None:
    world.answers = world.answers[1:]
    assert world.move(dry_run=True).retired is None
    assert world.log == ["provision h2 (dry run)"]


def test_a_new_host_that_fails_leaves_the_old_one(world: World) -> None:
    world.error = NginxError("boom", host="h2")
    with pytest.raises(NginxError, match="boom"):
        world.move()
    assert world.log == ["provision h2"]


def test_names_that_only_the_old_host_has_are_not_taken_over(world: World) -> None:
    world.pair = authority().pair("gongfoo.internal", "bank.internal")
    with pytest.raises(NotReadyError, match=r"more names than it would have: bank\.internal"):
        world.move()
    assert world.log == []
    assert world.move(sans=["bank.internal"]).provisioned.service.sans == ("bank.internal",)


def test_what_is_declared_for_the_new_host_counts(world: World) -> None:
    services = {"gongfoo": {"host": "h2", "upstream": "http://127.0.0.1:8080", "sans": ["also.internal"]}}
    world.settings = dataclasses.replace(world.settings, services=services)
    moved = world.move(revoke=False)
    assert (moved.service.upstream, moved.service.sans) == ("http://127.0.0.1:8080", ("also.internal",))
    assert world.log[-1] == "retire h1 without revocation"


def test_nothing_moves_to_where_it_is(world: World) -> None:
    with pytest.raises(InputError, match="to itself"):
        move.move("gongfoo", "h1", "h1", settings=world.settings)
    assert world.log == []
