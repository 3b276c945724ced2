"""Shells that stay open: one a host, opened again when it broke, and closed also when the host hangs."""

from __future__ import annotations

from contextlib import contextmanager
from threading import Event
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from meshfab.config.settings import Settings
from meshfab.errors import LostError
from meshfab.ssh import session
from meshfab.ssh.session import KeptShells

if TYPE_CHECKING:
    from collections.abc import Iterator


class Hosts:
    """What is opened and closed.

    Attributes:
        opened: the shells, in the order in which they were opened.
        closed: those that were closed.
        hangs: whether the end of a shell waits until its connection is cut.
    """

    def __init__(self) -> None:
        self.opened: list[Any] = []
        self.closed: list[Any] = []
        self.hangs = False

    def connection(self, host: str, *_more: Any) -> Any:
        cut = Event()
        transport = SimpleNamespace(set_keepalive=lambda _seconds: None)
        return SimpleNamespace(
            original_host=host, cut=cut, client=SimpleNamespace(close=cut.set), transport=transport, gateway=None
        )

    @contextmanager
    def shell(self, c: Any, _seconds: float, **_more: Any) -> Iterator[Any]:
        shell = SimpleNamespace(c=c)
        self.opened.append(shell)
        yield shell
        if self.hangs:
            assert c.cut.wait(60)
        self.closed.append(shell)
        if c.cut.is_set():
            raise EOFError


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> Hosts:
    made = Hosts()
    monkeypatch.setattr(session, "_connection", made.connection)
    monkeypatch.setattr(session, "_opened", made.shell)
    monkeypatch.setattr(session, "ensure_jump_host_open", lambda *_: None)
    return made


def call(shells: KeptShells, use: Any = id) -> Any:
    return shells.call("h2", Settings(), None, 30.0, None, use)


def test_a_shell_is_used_again_until_it_breaks(hosts: Hosts) -> None:
    def broken(_shell: Any) -> None:
        raise LostError("gone", host="h2", remedy="")

    with KeptShells() as shells:
        assert call(shells) == call(shells)
        assert len(hosts.opened) == 1
        with pytest.raises(LostError):
            call(shells, broken)
        # It was opened again before it was given up, and both are closed.
        assert len(hosts.opened) == 2
        assert hosts.closed == hosts.opened
        call(shells)
    assert len(hosts.opened) == 3
    assert hosts.closed == hosts.opened


def test_a_host_that_reads_nothing_more_keeps_nobody_from_ending(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_CLOSE_SECONDS", 0.05)
    hosts.hangs = True
    with KeptShells() as shells:
        call(shells)
    assert hosts.closed == hosts.opened
    assert hosts.opened[0].c.cut.is_set(), "its connection was cut"
