"""What a TLS client gets, and from where it is asked."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from meshfab.checks.eye import Eye
from meshfab.host import tls_client
from meshfab.host.tls_client import Served
from meshfab.ssh.script import Answer
from tests.factories import Host, RecordingShell, good_pair

HERE = "10.87.0.12"


def test_the_wanted_leaf_is_seen_at_the_first_look() -> None:
    looks: list[int] = []

    def look() -> Served:
        looks.append(1)
        return Served(b"new", HERE)

    assert tls_client.until(b"new", look, seconds=60).der == b"new"
    assert len(looks) == 1


def test_it_is_looked_at_until_the_wanted_leaf_is_there() -> None:
    answers = iter([Served(None, HERE), Served(b"old", HERE), Served(b"new", HERE), Served(b"never", HERE)])
    assert tls_client.until(b"new", lambda: next(answers), seconds=60).der == b"new"


def test_the_looking_ends_and_the_last_look_is_told() -> None:
    assert tls_client.until(b"new", lambda: Served(b"old", HERE), seconds=0.02).der == b"old"


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


def test_a_name_that_does_not_resolve_has_no_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_more: object) -> list[object]:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert tls_client.resolve("gongfoo.internal") == ()


Look = Callable[..., Served]
EYES: dict[str, tuple[tuple[str, ...], str, str | None, str]] = {
    "the name's, where it is the host's": (("10.87.0.12",), "10.87.0.12 192.0.2.1", "192.0.2.1", "10.87.0.12"),
    "the one of several that is the host's": (("10.0.0.1", "fd00::12"), "10.87.0.12 fd00::12", None, "fd00::12"),
    "the one that SSH reached": ((), "10.87.0.12 192.0.2.1", "192.0.2.1", "192.0.2.1"),
    "not somebody else's": (("10.87.0.99",), "10.87.0.12", "10.87.0.12", "10.87.0.12"),
    "the host's first behind a translation": ((), "10.87.0.12 192.0.2.1", "203.0.113.7", "10.87.0.12"),
}


@pytest.mark.parametrize(("resolved", "own", "peer", "expected"), EYES.values(), ids=EYES)
def test_the_mesh_address_is_asked(
    monkeypatch: pytest.MonkeyPatch, resolved: tuple[str, ...], own: str, peer: str | None, expected: str
) -> None:
    asked: list[str] = []

    def ask(address: str, _fqdn: str, port: int = 443, **_more: Any) -> Served:
        asked.append(address)
        return Served(good_pair().der, address, port)

    monkeypatch.setattr(tls_client, "resolve", lambda _fqdn: resolved)
    monkeypatch.setattr(tls_client, "ask", ask)
    shell = RecordingShell()
    shell.c = SimpleNamespace(gateway=None, transport=SimpleNamespace(getpeername=lambda: (peer, 22)))
    state = replace(Host().state(), addresses=tuple(own.split()))
    found = Eye(shell, "gongfoo.internal").look(state, 443)  # type: ignore[arg-type]
    assert found.address == expected
    assert found.resolved == resolved
    assert shell.sent == []


def test_where_the_operator_cannot_look_the_host_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_client, "resolve", lambda _fqdn: ())
    monkeypatch.setattr(
        tls_client, "ask", lambda address, _fqdn, port=443, **_more: Served(None, address, port, "no answer")
    )
    shell = RecordingShell({"served": lambda _: Answer("served", 0, good_pair().pem.encode(), "")})
    shell.c = SimpleNamespace(gateway=None, transport=SimpleNamespace(getpeername=lambda: (HERE, 22)))
    eye = Eye(shell, "gongfoo.internal")  # type: ignore[arg-type]
    found = eye.look(Host().state(), 443)
    assert (found.der, found.via) == (good_pair().der, "h2")
    assert shell.sent[0].args == ("10.87.0.12:443", "gongfoo.internal")
    shell.answers.clear()
    found = eye.look(Host().state(), 443)
    assert (found.der, found.via, found.why) == (None, "", "no answer")
