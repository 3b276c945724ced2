"""doctor over many hosts: a host that answers nonsense is one line, and the others go on."""

from __future__ import annotations

import json
from contextlib import contextmanager
from threading import Event
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from meshfab.config.settings import Settings
from meshfab.fleet import doctor, operator_check
from meshfab.host import facts
from meshfab.ssh import session
from meshfab.ssh.script import Answer
from tests.support.fake_host import Host

if TYPE_CHECKING:
    from collections.abc import Iterator

NOT_UTF_8 = b"\xff\xfe" * 100
DECLARED = {"gongfoo": {"hosts": ["good"]}}


def record(key: str, value: bytes) -> bytes:
    return b"%s %d\n%s\n" % (key.encode(), len(value), value)


NONSENSE = {
    "nothing": (b"", b""),
    "not UTF-8": (NOT_UTF_8, NOT_UTF_8),
    "a time of 5,000 digits": (record("now", b"9" * 5000), b""),
    "a length of 5,000 digits": (b"now " + b"9" * 5000 + b"\nx\n", b""),
    "wrong JSON": (
        record("now", b"0"),
        record("ca.roots", b"HTTP/1.0 200 OK\n\n") + record("ca.provisioners", b"\n\n{["),
    ),
}


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[bytes, bytes]]:
    """What each host answers to the probe and to doctor's script."""
    said: dict[str, tuple[bytes, bytes]] = {}

    @contextmanager
    def shell_within(host: str, *_more: Any) -> Iterator[Any]:
        probe, rest = said[host]
        batch = [Answer("probe", 255, probe, "boom -> curl evil"), Answer("doctor", 255, rest, "")]
        connection = SimpleNamespace(gateway=None, transport=SimpleNamespace(getpeername=lambda: ("10.87.0.12", 22)))
        yield SimpleNamespace(host=host, c=connection, batch=lambda _requests: batch)

    monkeypatch.setattr(session, "shell_within", shell_within)
    monkeypatch.setattr("meshfab.host.tls_client.resolve", lambda _fqdn: ())
    return said


@pytest.mark.parametrize("nonsense", NONSENSE.values(), ids=NONSENSE)
def test_a_host_that_answers_nonsense_has_lines_of_its_own_and_hides_no_other(
    answers: dict[str, tuple[bytes, bytes]], nonsense: tuple[bytes, bytes]
) -> None:
    answers.update(bad=nonsense, good=(Host().answer().out, b""))
    _, bad, good = doctor.doctor(["bad", "good"], settings=Settings(services=DECLARED))
    assert bad.status in ("unknown", "critical")
    assert not [check for check in bad.checks if "evil" in check.remedy]
    assert {"login", "step", "dns"} <= {check.code for check in good.checks}
    # The declared service must lead to the address that SSH reached.
    dns = next(check for check in good.checks if check.remedy.startswith("point"))
    assert dns.remedy == "point gongfoo.internal at 10.87.0.12 in the mesh's DNS"


def test_an_answer_that_breaks_a_parser_is_unknown_for_its_host_alone(
    answers: dict[str, tuple[bytes, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    parse = facts.parse

    def broken(answer: Answer, host: str, *more: Any) -> Any:
        if host == "bad":
            raise OverflowError("too large -> curl evil\x1b[2J")
        return parse(answer, host, *more)

    monkeypatch.setattr(facts, "parse", broken)
    answers.update(bad=(b"", b""), good=(Host().answer().out, b""))
    _, bad, good = doctor.doctor(["bad", "good"], settings=Settings())
    (line,) = bad.checks
    assert (line.code, line.status) == ("answer", "unknown")
    assert line.message == "its answer cannot be judged: OverflowError: too large -\\x3e curl evil\\x1b[2J"
    assert "evil" not in line.remedy
    assert "login" in {check.code for check in good.checks}


def ca_list(*names: str) -> bytes:
    listed = json.dumps({"provisioners": [{"name": name, "type": "JWK"} for name in names]}).encode()
    return record("ca.provisioners", b"HTTP/1.0 200 OK\r\n\r\n" + listed)


@pytest.mark.parametrize(
    ("minted", "hosts", "unused"),
    [("lair", ["h1", "h2"], True), ("", ["h1", "h2"], False), ("lair", ["h1"], False)],
    ids=["all hosts", "no minter is known", "one host of two"],
)
def test_provisioners_are_called_unused_only_by_who_has_seen_every_host(
    answers: dict[str, tuple[bytes, bytes]],
    monkeypatch: pytest.MonkeyPatch,
    minted: str,
    hosts: list[str],
    unused: bool,
) -> None:
    answers.update(dict.fromkeys(("h1", "h2"), (Host().answer().out, ca_list("lair", "old"))))
    found = {"gongfoo": minted} if minted else {}
    monkeypatch.setattr("meshfab.checks.provisioner_checks.minters", lambda _state, _services: found)
    settings = Settings(services={"gongfoo": {"hosts": ["h1", "h2"]}})
    last = doctor.doctor(hosts, settings=settings)[-1]
    assert ([check.code for check in last.checks] == ["provisioners-unused"]) is unused
    if unused:
        assert "'old'" in last.checks[0].message
        assert "lair" not in last.checks[0].message


def test_without_a_password_or_an_agent_the_operators_machine_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    settings = Settings(signing="agent", provisioner_password="/nonexistent", operator_root="/nonexistent")
    found = {check.code: check.status for check in operator_check.examine(settings)}
    assert found == {"agent": "critical", "signing": "ok", "operator-root": "critical"}


def test_a_resolver_that_does_not_answer_takes_one_time_limit_for_all_names(
    answers: dict[str, tuple[bytes, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = Event()
    monkeypatch.setattr("meshfab.host.tls_client.resolve", lambda _fqdn: ended.wait() and ())
    monkeypatch.setattr(doctor, "_RESOLVE_SECONDS", 0.1)
    declared = {f"s{number}": {"hosts": ["good"]} for number in range(20)}
    answers.update(good=(Host().answer().out, b""))
    try:
        _, good = doctor.doctor(["good"], settings=Settings(services=declared))
    finally:
        ended.set()
    assert len([check for check in good.checks if check.remedy.startswith("point s")]) == len(declared)
