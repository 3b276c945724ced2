"""Preconditions, one by one, as far as no lab is needed to see them."""

from __future__ import annotations

from typing import Any

import pytest

from meshfab import Settings
from meshfab.checks import ca_checks, cross_checks, preconditions
from meshfab.errors import ConnectError, HostKeyError, NotReadyError, SudoAsksError
from meshfab.host.facts import Unit
from meshfab.nginx.listeners import Endpoint
from tests.support.discovered_host import TEA, survey

TOOLS = dict.fromkeys(["step", "openssl", "setfacl", "getfacl", "flock", "systemd-run"], "/usr/bin/it")


def test_the_first_that_does_not_hold_is_the_error_and_a_warning_is_none() -> None:
    preconditions.require(preconditions.check_tools(TOOLS), "h2")
    lacking = {tool: path for tool, path in TOOLS.items() if tool not in ("getfacl", "flock")}
    with pytest.raises(NotReadyError) as caught:
        preconditions.require(preconditions.check_tools(lacking), "h2")
    assert str(caught.value) == "h2: getfacl is not installed -> install the package acl"
    preconditions.require(preconditions.check_folders("/tmp|/tmp|5000|100|yes"), "h2")


def test_step_may_be_called_step_cli() -> None:
    tools = {**TOOLS, "step-cli": "/usr/bin/step-cli"}
    del tools["step"]
    assert preconditions.check_tools(tools)[0].message == "/usr/bin/step-cli"


@pytest.mark.parametrize(
    ("error", "lines"),
    [
        (None, [("host-key", "ok"), ("login", "ok"), ("sudo", "ok")]),
        (HostKeyError("its key changed"), [("host-key", "critical")]),
        (ConnectError("does not answer"), [("login", "unknown")]),
        (SudoAsksError("sudo asks"), [("host-key", "ok"), ("login", "ok"), ("sudo", "critical")]),
    ],
)
def test_the_way_in_ends_where_the_error_says(error: Any, lines: list[tuple[str, str]]) -> None:
    assert [(one.code, one.status) for one in preconditions.check_login(error)] == lines


@pytest.mark.parametrize(
    ("version", "runs", "status"),
    [
        ("systemd 252 (252.39)", True, "ok"),
        ("systemd 235", True, "ok"),
        ("systemd 219", True, "critical"),
        ("systemd 252", False, "critical"),
        ("", True, "critical"),
    ],
)
def test_systemd_must_run_and_be_new_enough(version: str, runs: bool, status: str) -> None:
    assert preconditions.check_systemd(version, runs=runs).status == status


@pytest.mark.parametrize(
    ("row", "status"),
    [
        ("/a|/a|900000|1000|yes", "ok"),
        ("/a/b|/a|900000|-|yes", "ok"),
        ("/a|/a|5000|1000|yes", "warning"),
        ("/a|/a|10|1000|yes", "critical"),
        ("/a|/a|900000|3|yes", "critical"),
        ("/a|/a|900000|1000|no", "critical"),
        ("nonsense", None),
        ("/a|/a|²|1|yes", None),
    ],
)
def test_room_inodes_and_the_right_to_write(row: str, status: str | None) -> None:
    found = list(preconditions.check_folders(row))
    assert [one.status for one in found] == ([status] if status else [])


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("24h0m0s", 86400.0),
        ("5s", 5.0),
        ("1.5h", 5400.0),
        ("", None),
        ("24", None),
        ("h", None),
        ("1h x", None),
        ("1.1.1h", None),
    ],
)
def test_durations_are_gos(text: str, seconds: float | None) -> None:
    assert ca_checks.seconds(text) == seconds


@pytest.mark.parametrize(
    ("change", "port"),
    [
        ({}, 443),
        ({"vhosted": frozenset()}, 443),
        ({"vhosted": frozenset(), "units": {}}, None),
        ({"vhosted": frozenset(), "units": {}, "declared": frozenset({"tea"})}, 443),
        ({"nginx_conf": f"x\n# configuration file /c:\nlocation / {{ proxy_ssl_certificate {TEA.cert}; }}"}, None),
        ({"units": {TEA.timer: Unit(active="active")}, "vhosted": frozenset()}, 443),
    ],
    ids=["a vhost", "a timer", "nothing", "declared", "a client's certificate", "an active timer"],
)
def test_a_service_is_asked_for_where_something_is_meant_to_serve_it(change: dict[str, Any], port: int | None) -> None:
    assert cross_checks.expected_endpoint(survey(**change), TEA, Settings()) == (Endpoint(port=port) if port else None)
