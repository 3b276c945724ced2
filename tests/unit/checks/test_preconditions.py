"""Preconditions, one by one, as far as no lab is needed to see them."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.hashes import SHA256

from meshfab import Settings
from meshfab.checks import ca_checks, cross_checks, preconditions
from meshfab.checks.finding import Finding
from meshfab.errors import ConnectError, HostKeyError, NotReadyError, SudoAsksError
from meshfab.host.facts import Unit
from meshfab.nginx.listeners import Endpoint
from tests.support.certificates import NOW
from tests.support.discovered_host import TEA, pair, root, survey

TOOLS = dict.fromkeys(["step", *preconditions._PACKAGES, *preconditions._OTHER_PACKAGES], "/usr/bin/it")


def test_the_first_that_does_not_hold_is_the_error_and_a_warning_is_none() -> None:
    preconditions.require(preconditions.check_tools(TOOLS), "h2")
    lacking = {tool: path for tool, path in TOOLS.items() if tool not in ("getfacl", "flock")}
    with pytest.raises(NotReadyError) as caught:
        preconditions.require(preconditions.check_tools(lacking), "h2")
    assert str(caught.value) == "h2: getfacl is not installed -> install the package acl"
    preconditions.require(preconditions.check_folders("/tmp|/tmp|5000|100|yes"), "h2")


@pytest.mark.parametrize(("tool", "package"), [("ss", "iproute2 or iproute"), ("pgrep", "procps or procps-ng")])
def test_every_program_that_a_tick_needs_is_required(tool: str, package: str) -> None:
    lacking = {name: path for name, path in TOOLS.items() if name != tool}
    with pytest.raises(NotReadyError) as caught:
        preconditions.require(preconditions.check_tools(lacking), "h2")
    assert str(caught.value) == f"h2: {tool} is not installed -> install the package {package}"
    assert [finding.code for finding in preconditions.check_tools(TOOLS)].count("programs") == 1


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


def ca_answers(**changes: str) -> dict[str, str]:
    """What a host reads from a CA that is well."""
    head = "HTTP/1.0 200 OK\r\nDate: Mon, 23 Nov 2026 12:00:00 GMT"
    at = str(int(NOW.timestamp()))
    answers = {
        "ca.health": "0 ok",
        "ca.named": "yes",
        "ca.trusted": "yes",
        "ca.roots": f"{head}\r\n\r\n{root().pem}",
        "ca.asked": f"{at} {at}",
    }
    return {**answers, **{f"ca.{name}": value for name, value in changes.items()}}


def ca_line(code: str, answers: dict[str, str], settings: Settings = Settings()) -> Finding | None:  # noqa: B008  # frozen
    return next((line for line in ca_checks.check_ca(answers, root().pem, settings) if line.code == code), None)


def test_the_cas_certificate_must_have_the_name_in_its_url() -> None:
    good = ca_line("ca-name", ca_answers())
    assert good == Finding("ca-name", "ok", "the CA's certificate is for ca.internal")
    other = ca_line("ca-name", ca_answers(named="", certificate=pair("tea.internal", "wiki.internal").pem))
    assert other and other.status == "critical"
    assert other.message.endswith("has a certificate for tea.internal, wiki.internal, not for ca.internal")
    assert ca_line("ca-name", ca_answers(named="", trusted="")) is None, "ca-root says it"


@pytest.mark.parametrize("certificate", ["", "nonsense", None])
def test_a_certificate_of_the_ca_that_cannot_be_read_has_no_name(certificate: str | None) -> None:
    answers = ca_answers(named="", certificate=certificate or "")
    if certificate is None:
        del answers["ca.certificate"]
    line = ca_line("ca-name", answers)
    assert line and line.status == "critical" and "a certificate for no DNS name" in line.message


def test_the_names_of_a_hostile_ca_are_bounded() -> None:
    names = [f"{'a' * 60}.{'b' * 60}.{number}" for number in range(50)]
    line = ca_line("ca-name", ca_answers(named="", certificate=pair(*names).pem))
    assert line and len(line.message) < 1000 and "…" in line.message


def test_the_line_about_the_root_shows_what_to_pin_and_whether_it_is_pinned() -> None:
    fingerprint = root().certificate.fingerprint(SHA256()).hex()
    free, pinned = (
        ca_line("ca-root", ca_answers(), settings) for settings in (Settings(), Settings(root_fingerprint=fingerprint))
    )
    assert free and free.message.endswith(f"SHA-256 {fingerprint} (meshfab.root_fingerprint would pin it)")
    assert pinned and pinned.message.endswith(f"SHA-256 {fingerprint} (pinned)")


def test_doctor_says_that_a_root_is_not_the_pinned_one() -> None:
    pinned = Settings(root_fingerprint="ab" * 32)
    [line] = preconditions.check_root(root().pem, pinned)
    assert (line.code, line.status) == ("root", "critical") and "ab" * 32 in line.message
    [line] = preconditions.check_root(root().pem, Settings())
    assert (line.code, line.status) == ("root", "ok")
