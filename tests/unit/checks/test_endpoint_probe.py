"""What a TLS client gets, and from where it is asked."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from meshfab.checks.client_addresses import may_dial
from meshfab.checks.endpoint_probe import EndpointObservation, EndpointProbe
from meshfab.host import tls_client
from meshfab.host.tls_client import Served
from meshfab.nginx.listeners import Endpoint
from meshfab.ssh.script import Answer, Request
from tests.support.certificates import HOUR, NOW, authority, good_pair
from tests.support.fake_host import RecordingShell, encoded

if TYPE_CHECKING:
    from collections.abc import Callable

HERE, FQDN = "10.87.0.12", "gongfoo.internal"


def is_new(seen: Served) -> bool:
    return seen.der == b"new"


def test_the_wanted_leaf_is_seen_at_the_first_look() -> None:
    looks: list[int] = []

    def look() -> Served:
        looks.append(1)
        return Served(b"new", HERE)

    assert tls_client.until(is_new, look, seconds=60).der == b"new"
    assert len(looks) == 1


def test_it_is_looked_at_until_the_wanted_leaf_is_there() -> None:
    answers = iter([Served(None, HERE), Served(b"old", HERE), Served(b"new", HERE), Served(b"never", HERE)])
    assert tls_client.until(is_new, lambda: next(answers), seconds=60).der == b"new"


def test_the_looking_ends_and_the_last_look_is_told() -> None:
    assert tls_client.until(is_new, lambda: Served(b"old", HERE), seconds=0.02).der == b"old"


def test_an_address_that_does_not_answer_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_more: object) -> socket.socket:
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "create_connection", refuse)
    assert tls_client.ask(HERE, "gongfoo.internal") == Served(None, HERE, 443, why="Connection refused")


def test_what_speaks_no_tls_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    theirs.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    monkeypatch.setattr(socket, "create_connection", lambda *_args, **_more: ours)
    with theirs:
        found = tls_client.ask(HERE, "gongfoo.internal")
    assert found.der is None
    assert found.why


@pytest.mark.parametrize("first", [b"", b"\x16\x03\x03\x3f\xff\x02\x00\x3f\xfb"], ids=["no TLS", "half a ServerHello"])
def test_a_server_that_drips_a_handshake_is_cut_off(monkeypatch: pytest.MonkeyPatch, first: bytes) -> None:
    ours, theirs = socket.socketpair()

    def drip() -> None:
        with suppress(OSError):
            theirs.sendall(first)
            while True:
                theirs.sendall(b"\x16" if not first else b"\0")
                time.sleep(0.02)

    def connect(*_args: object, timeout: float) -> socket.socket:
        ours.settimeout(timeout)
        threading.Thread(target=drip, daemon=True).start()
        return ours

    monkeypatch.setattr(socket, "create_connection", connect)
    began = time.monotonic()
    with theirs:
        assert tls_client.ask(HERE, FQDN, timeout=0.3).der is None
    assert time.monotonic() - began < 3


def test_a_tcp_connection_takes_from_the_time_of_the_handshake(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    passed = 0.0

    def slowly(*_args: object, timeout: float) -> socket.socket:
        nonlocal passed
        passed = timeout - 0.3
        return ours

    monkeypatch.setattr(socket, "create_connection", slowly)
    monkeypatch.setattr(tls_client, "time", SimpleNamespace(monotonic=lambda: passed))
    began = time.monotonic()
    with theirs:
        assert tls_client.ask(HERE, FQDN, timeout=60).der is None
    # Of the 60 s, 0.3 s were left for the handshake.
    assert time.monotonic() - began < 30


def test_all_questions_share_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    timeouts: list[float] = []

    def silent(address: str, _fqdn: str, port: int = 443, *, timeout: float) -> Served:
        timeouts.append(timeout)
        time.sleep(timeout)
        return Served(None, address, port, "no answer")

    monkeypatch.setattr(tls_client, "resolve", lambda _fqdn: (HERE,))
    monkeypatch.setattr(tls_client, "ask", silent)
    shell = shell_at(HERE)
    names = [f"s{number}.internal" for number in range(200)]
    began = time.monotonic()
    seen = EndpointProbe(shell).observe([HERE], dict.fromkeys(names, Endpoint()), deadline=began + 7.4)  # type: ignore[arg-type]
    assert time.monotonic() - began < 3
    assert list(seen) == names
    assert all(seen[name].leaves == {HERE: None} for name in names)
    assert max(timeouts) <= 0.4
    # The host is asked for all of them, in one round trip.
    assert len(shell.sent) == 1
    assert len(shell.sent[0].args) == 3 * len(names)


def test_a_look_up_that_hangs_holds_no_other_name_and_not_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()

    def resolve(fqdn: str) -> tuple[str, ...]:
        if fqdn == FQDN:
            never.wait(30)
        return (HERE,)

    monkeypatch.setattr(tls_client, "resolve", resolve)
    monkeypatch.setattr(tls_client, "ask", lambda address, *_args, **_more: Served(good_pair().der, address))
    shell, began = shell_at(HERE), time.monotonic()
    endpoints = {FQDN: Endpoint(), "other.internal": Endpoint(), "unserved.internal": None}
    seen = EndpointProbe(shell).observe([HERE], endpoints, deadline=began + 7.3)  # type: ignore[arg-type]
    never.set()
    assert time.monotonic() - began < 3
    assert seen[FQDN].answers == (Served(None, HERE, why="no answer in time"),)
    assert seen["other.internal"].leaves == {HERE: good_pair().der}
    assert seen["unserved.internal"] == EndpointObservation((), (HERE,))


def test_a_name_that_does_not_resolve_has_no_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_more: object) -> list[object]:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert tls_client.resolve("gongfoo.internal") == ()


ADDRESSES: dict[str, tuple[tuple[str, ...], str, tuple[str, ...], str, tuple[str, ...]]] = {
    "the name's, where it is the host's": (("10.87.0.12",), "10.87.0.12 192.0.2.1", (), "192.0.2.1", ("10.87.0.12",)),
    "the one of several that is the host's": (("10.0.0.1", "fd00::12"), "10.87.0.12 fd00::12", (), "", ("fd00::12",)),
    "every one that is the host's": (
        ("10.87.0.12", "fd00::12"),
        "10.87.0.12 fd00::12",
        (),
        "",
        ("10.87.0.12", "fd00::12"),
    ),
    "the name's, whatever nginx listens on": (
        ("10.87.0.12",),
        "10.87.0.12 192.0.2.1",
        ("192.0.2.1",),
        "192.0.2.1",
        ("10.87.0.12",),
    ),
    "those it listens on, where the name leads astray": (
        ("10.0.0.1",),
        "10.87.0.12 192.0.2.1",
        ("192.0.2.1",),
        "10.87.0.12",
        ("192.0.2.1",),
    ),
    "the one that SSH reached": ((), "10.87.0.12 192.0.2.1", (), "192.0.2.1", ("192.0.2.1",)),
    "not somebody else's": (("10.87.0.99",), "10.87.0.12", (), "10.87.0.12", ("10.87.0.12",)),
    "the host's first behind a translation": ((), "10.87.0.12 192.0.2.1", (), "203.0.113.7", ("10.87.0.12",)),
}


def shell_at(peer: str, answers: dict[str, Callable[[Request], Answer]] | None = None) -> RecordingShell:
    shell = RecordingShell(answers or {})
    shell.c = SimpleNamespace(gateway=None, transport=SimpleNamespace(getpeername=lambda: (peer, 22)))
    return shell


@pytest.mark.parametrize(("resolved", "own", "listens", "peer", "expected"), ADDRESSES.values(), ids=ADDRESSES)
def test_the_addresses_that_clients_reach_are_asked(
    monkeypatch: pytest.MonkeyPatch,
    resolved: tuple[str, ...],
    own: str,
    listens: tuple[str, ...],
    peer: str,
    expected: tuple[str, ...],
) -> None:
    def ask(address: str, _fqdn: str, port: int = 443, **_more: Any) -> Served:
        return Served(good_pair().der, address, port)

    monkeypatch.setattr(tls_client, "resolve", lambda _fqdn: resolved)
    monkeypatch.setattr(tls_client, "ask", ask)
    shell = shell_at(peer)
    probe = EndpointProbe(shell, [FQDN])  # type: ignore[arg-type]
    seen = probe.observe(own.split(), {FQDN: Endpoint(listens)})[FQDN]
    assert tuple(answer.address for answer in seen.answers) == expected
    assert seen.resolved == resolved
    assert probe.latest == {FQDN: seen}
    assert shell.sent == []


def test_where_the_operator_cannot_look_the_host_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(address: str, _fqdn: str, port: int = 443, **_more: Any) -> Served:
        return Served(None, address, port, "no answer")

    monkeypatch.setattr(tls_client, "resolve", lambda _fqdn: ())
    monkeypatch.setattr(tls_client, "ask", silent)
    shell = shell_at(HERE, {"tls_probe": lambda _: Answer("tls_probe", 0, encoded({"0": good_pair().pem}), "")})
    probe = EndpointProbe(shell, [FQDN])  # type: ignore[arg-type]
    seen = probe.observe([HERE], {FQDN: Endpoint()})[FQDN].served(None)
    assert seen is not None
    assert (seen.der, seen.via) == (good_pair().der, "h2")
    assert shell.sent[0].args == ("0", f"{HERE}:443", FQDN)
    shell.answers.clear()
    seen = probe.observe([HERE], {FQDN: Endpoint()})[FQDN].served(None)
    assert seen is not None
    assert (seen.der, seen.via, seen.why) == (None, "", "no answer")


def test_of_several_addresses_the_one_with_another_leaf_counts() -> None:
    good, stale, silent = Served(b"new", "10.0.0.1"), Served(b"old", "10.0.0.2"), Served(None, "10.0.0.3")
    assert EndpointObservation((good, stale)).served(b"new") == stale
    assert EndpointObservation((good, silent)).served(b"new") == silent
    assert EndpointObservation((good, good)).served(b"new") == good
    assert EndpointObservation((stale, good)).served(None) == stale
    assert EndpointObservation().served(b"new") is None


def test_a_name_that_nothing_serves_is_resolved_and_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_client, "resolve", lambda _fqdn: (HERE,))
    seen = EndpointProbe(shell_at(HERE)).observe([HERE], {FQDN: None})[FQDN]  # type: ignore[arg-type]
    assert seen == EndpointObservation((), (HERE,))


@pytest.mark.parametrize(
    "claimed",
    [
        "127.0.0.1", "127.8.8.8", "::1", "169.254.169.254", "fe80::1", "224.0.0.1", "ff02::1", "0.0.0.0", "::",  # noqa: S104
        "240.0.0.1", "255.255.255.255", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "evil.example", "",
    ],
)  # fmt: skip
def test_an_address_that_is_no_hosts_own_is_not_dialled_though_the_host_claims_it(
    monkeypatch: pytest.MonkeyPatch, claimed: str
) -> None:
    dialled: list[str] = []
    monkeypatch.setattr(tls_client, "resolve", lambda _fqdn: ())
    monkeypatch.setattr(tls_client, "ask", lambda address, *_args, **_more: dialled.append(address))
    shell = shell_at(
        "203.0.113.7", {"tls_probe": lambda _: Answer("tls_probe", 0, encoded({"0": good_pair().pem}), "")}
    )
    seen = EndpointProbe(shell).observe([claimed], {FQDN: Endpoint((claimed,), 22)})[FQDN]  # type: ignore[arg-type]
    assert dialled == []
    # The host asks itself.
    assert [(answer.address, answer.via) for answer in seen.answers] == [(claimed, "h2")]


def test_an_address_that_only_nginx_names_is_not_dialled_and_the_claims_are_capped() -> None:
    own = [f"10.1.0.{number}" for number in range(1, 100)]
    assert [may_dial(address, own) for address in (own[0], own[7], own[8], "10.2.0.1")] == [True, True, False, False]


def test_the_address_that_ssh_reached_and_those_of_the_operators_resolver_are_dialled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tls_client, "ask", lambda address, *_args, **_more: Served(good_pair().der, address))
    for resolved, reached in (((), HERE), ((HERE,), "203.0.113.7")):
        monkeypatch.setattr(tls_client, "resolve", lambda _fqdn, resolved=resolved: resolved)
        shell = shell_at(reached)
        seen = EndpointProbe(shell).observe([], {FQDN: Endpoint((HERE,))})[FQDN]  # type: ignore[arg-type]
        assert [(answer.address, answer.via) for answer in seen.answers] == [(HERE, "")]
        assert shell.sent == []


def _der(start: datetime) -> bytes:
    return authority().pair(FQDN, start=start).der


@pytest.mark.parametrize(
    ("fqdn", "der", "is_unserved"),
    [
        (FQDN, _der(datetime.now(timezone.utc) - HOUR), False),
        ("other.internal", _der(datetime.now(timezone.utc) - HOUR), True),
        (FQDN, _der(NOW - 48 * HOUR), True),
        (FQDN, b"no certificate", True),
        (FQDN, None, True),
    ],
    ids=["valid", "another name", "expired", "nonsense", "no answer"],
)
def test_a_name_without_a_valid_certificate_is_told_early(
    monkeypatch: pytest.MonkeyPatch, fqdn: str, der: bytes | None, is_unserved: bool
) -> None:
    monkeypatch.setattr(tls_client, "resolve", lambda _fqdn: (HERE,))
    monkeypatch.setattr(tls_client, "ask", lambda address, _fqdn: Served(der, address))
    calls: list[str] = []
    shell: Any = RecordingShell()
    probe = EndpointProbe(shell, [fqdn], on_unserved=lambda: calls.append("unserved"))
    probe._early[fqdn].join()
    assert calls == ["unserved"] * is_unserved


def test_of_a_name_that_does_not_resolve_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_client, "resolve", lambda _fqdn: ())
    probe = EndpointProbe(RecordingShell(), [FQDN], on_unserved=lambda: pytest.fail("nobody knows"))  # type: ignore[arg-type]
    probe._early[FQDN].join()
