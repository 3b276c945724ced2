"""What `reissue` is asked for, before anything is connected."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from meshfab.cli import reissue as command
from meshfab.config.settings import Settings
from meshfab.errors import InputError
from meshfab.fleet import host_runs
from meshfab.fleet.reissue import choose, reissue

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_mock import MockerFixture

SERVICES: dict[str, dict[str, Any]] = {"tea": {"hosts": ["h1", "h2"]}, "milk": {"host": "h2", "sans": ["cow.internal"]}}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    file = tmp_path / "password"
    file.touch(0o600)
    file.write_text("geheim\n")
    return Settings(hosts=("h3",), services=SERVICES, provisioner_password=str(file))


def chosen(settings: Settings, hosts: list[str] | None, names: list[str] | None) -> dict[str, list[str]]:
    return {host: [each.name for each in services] for host, services in choose(hosts, names, settings).items()}


def test_hosts_and_names_choose_the_services(settings: Settings) -> None:
    assert chosen(settings, None, None) == {"h1": ["tea"], "h2": ["tea", "milk"]}
    assert chosen(settings, ["h2"], None) == {"h2": ["tea", "milk"]}
    assert chosen(settings, None, ["tea"]) == {"h1": ["tea"], "h2": ["tea"]}
    assert chosen(settings, ["h2"], ["milk"]) == {"h2": ["milk"]}
    # One that is not declared has a host all the same.
    assert chosen(settings, ["h3"], ["coal"]) == {"h3": ["coal"]}
    with pytest.raises(InputError, match="coal is not declared"):
        choose(None, ["coal"], settings)
    with pytest.raises(InputError, match="not a DNS label"):
        choose(None, ["CO AL"], settings)


def test_a_request_mints_and_does_nothing_else(settings: Settings, mocker: MockerFixture) -> None:
    requests: list[Any] = []

    def run_all(names: Any, request_for: Any, *_more: Any) -> tuple[()]:
        requests.extend(map(request_for, names))
        return ()

    mocker.patch.object(host_runs, "run_all", run_all)
    began = datetime.now(timezone.utc)
    reissue(settings=settings)
    reissue(["h2"], names=["milk"], provisioner="lair-2", before=began, settings=settings)
    assert [request.parts for request in requests] == [{"mint"}] * 3
    assert [request.covers_all_services for request in requests] == [True, True, False]
    assert [request.reissue.before for request in requests] == [None, None, began]
    assert [request.reissue.provisioner for request in requests] == ["", "", "lair-2"]
    # The new provisioner mints.
    assert [request.settings.provisioner for request in requests] == ["lair", "lair", "lair-2"]
    assert requests[2].services[0].names == ("milk.internal", "cow.internal")


@pytest.mark.parametrize(
    "before", [datetime(2026, 1, 1), datetime.now(timezone.utc) + timedelta(days=1)], ids=["no zone", "future"]
)
def test_a_moment_must_be_known_and_past(settings: Settings, before: datetime) -> None:
    with pytest.raises(InputError, match="the moment for reissue"):
        reissue(before=before, settings=settings)


def test_the_command_says_how_to_go_on(
    settings: Settings, mocker: MockerFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = mocker.Mock(is_well=False)
    mocker.patch("meshfab.cli.apply.run_with_lines", return_value=(failed,))
    assert command.run({}, settings, [], [], before="2026-11-26T09:30:00Z") == 1
    assert capsys.readouterr().err == "to do only what is left: add --before 2026-11-26T09:30:00Z\n"
    # Where the provisioner decides, the same command does what is left.
    assert command.run({}, settings, [], [], provisioner="lair-2") == 1
    assert capsys.readouterr().err == ""
    with pytest.raises(InputError, match="is not a moment"):
        command.run({}, settings, [], [], before="yesterday")
