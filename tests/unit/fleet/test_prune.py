"""What `apply --prune` retires: what the runs call prunable, never on a host that the declarations name otherwise."""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from meshfab.cli import apply as command
from meshfab.config.password import HiddenText, Password
from meshfab.config.settings import Settings
from meshfab.errors import InputError, LostError, NginxError
from meshfab.fleet import prune
from meshfab.fleet.host_outcome import HostOutcome
from meshfab.host import tls_client
from meshfab.provisioning.outcome import Retirement
from meshfab.provisioning.plan import Step
from meshfab.provisioning.request import MintingMeans
from tests.support.discovered_host import root

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from meshfab.errors import MeshfabError
    from meshfab.provisioning.remains import RetirementRequest

ADDRESSES = {"h1": "10.87.0.11", "h2": "10.87.0.12", "h2.mesh": "10.87.0.12"}
SETTINGS = Settings(hosts=("h1", "h2", "h2.mesh"), services={"tea": {"host": "h2"}})


class World:
    """The hosts, what was retired on them, and what fails."""

    def __init__(self) -> None:
        self.retired: list[tuple[str, str, bool]] = []
        self.errors: dict[str, MeshfabError] = {}
        self.asked = 0

    def ask(self, _settings: Settings) -> Password:
        self.asked += 1
        return Password(HiddenText("secret"))

    def connect(self, host: str, *_words: object, **_more: object) -> Any:
        connection = nullcontext(host)
        vars(connection).update(host=host, port=22, original_host=host)
        return connection

    def retire(self, c: Any, request: RetirementRequest, _signer: object, *, dry_run: bool) -> Retirement:
        name = request.service.name
        self.retired.append((c.host, name, dry_run))
        if name in self.errors:
            raise self.errors[name]
        return Retirement(c.host, request.service, (Step("remove", "x"),))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(prune, "connect_by_settings", world.connect)
    monkeypatch.setattr(prune, "retire_service", world.retire)
    monkeypatch.setattr(tls_client, "resolve", lambda host: (ADDRESSES[host],))
    return world


def outcome(host: str, *prunable: str, **more: Any) -> HostOutcome:
    return HostOutcome(host, prunable=prunable, **more)


def test_what_is_prunable_is_retired_host_by_host(world: World) -> None:
    done = prune.prune([outcome("h1", "milk", "wine"), outcome("h2")], SETTINGS, MintingMeans())
    assert world.retired == [("h1", "milk", False), ("h1", "wine", False)]
    assert [[retired.service.name for retired in each.retired] for each in done] == [["milk", "wine"], []]
    assert all(each.is_well for each in done)
    assert [each.is_changed for each in done] == [True, False]


def test_a_service_that_fails_keeps_no_other_back_but_a_lost_connection_ends_it(world: World) -> None:
    world.errors["milk"] = NginxError("the pair is still used")
    (done,) = prune.prune([outcome("h1", "milk", "wine")], SETTINGS, MintingMeans())
    assert [str(each.error) for each in done.retired] == ["the pair is still used", "None"]
    assert not done.is_well
    world.errors["milk"] = LostError("the connection dropped")
    world.retired.clear()
    (done,) = prune.prune([outcome("h1", "milk", "wine")], SETTINGS, MintingMeans())
    assert world.retired == [("h1", "milk", False)]
    assert [str(each.error) for each in done.retired] == ["the connection dropped"] * 2


def test_a_host_whose_own_run_failed_is_left_alone(world: World) -> None:
    prune.prune([outcome("h1", "milk", error=LostError("lost"))], SETTINGS, MintingMeans())
    assert world.retired == []


def test_a_service_that_is_declared_for_the_same_machine_under_another_name_stays(world: World) -> None:
    (done,) = prune.prune([outcome("h2.mesh", "tea", "milk")], SETTINGS, MintingMeans())
    assert world.retired == [("h2.mesh", "milk", False)]
    assert "which is this host under another name" in str(done.retired[0].error)
    # A service that has moved to another machine goes.
    prune.prune([outcome("h1", "tea")], SETTINGS, MintingMeans())
    assert world.retired[-1] == ("h1", "tea", False)


def test_a_host_that_the_declarations_do_not_name_is_refused_before_anything_is_connected() -> None:
    with pytest.raises(InputError, match=r"10\.87\.0\.12 is not named so"):
        command.run({}, SETTINGS, ["10.87.0.12"], prune=True)


@pytest.fixture
def applied(monkeypatch: pytest.MonkeyPatch, world: World, tmp_path: Path) -> Callable[..., int]:
    (tmp_path / "root.pem").write_text(root().pem)

    def run(*, terminal: bool = False, answer: str = "", **options: bool) -> int:
        settings = dataclasses.replace(SETTINGS, signing="operator", operator_root=str(tmp_path / "root.pem"))
        outcomes = (outcome("h1", "milk"),)
        monkeypatch.setattr("meshfab.fleet.apply.provision_all", lambda *_words, **_more: outcomes)
        monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: terminal))
        monkeypatch.setattr("builtins.input", lambda _prompt: answer)
        monkeypatch.setattr("meshfab.provisioning.request.obtain", world.ask)
        return command.run({}, settings, ["h1"], prune=True, **options)

    return run


def test_the_plan_is_shown_first_and_carried_out_when_it_is_confirmed(applied: Any, world: World) -> None:
    assert applied(yes=True) == 0
    assert [dry for *_, dry in world.retired] == [True, False]
    assert world.asked == 1, "the password is asked for once for both halves"
    world.retired.clear()
    assert applied(terminal=True, answer="y") == 0
    assert [dry for *_, dry in world.retired] == [True, False]


@pytest.mark.parametrize("options", [{}, {"terminal": True, "answer": ""}, {"terminal": True, "answer": "n"}])
def test_nothing_is_retired_that_nobody_confirmed(applied: Any, world: World, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"not retired.*milk\.internal on h1"):
        applied(**options)
    assert [dry for *_, dry in world.retired] == [True]


def test_a_dry_run_ends_with_two_if_something_would_be_retired(applied: Any, world: World) -> None:
    assert applied(dry_run=True) == 2
    assert [dry for *_, dry in world.retired] == [True]
    assert world.asked == 0
