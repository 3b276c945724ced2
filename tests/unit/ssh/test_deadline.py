"""The time limit of a connection: whatever it waits for, it gets an error."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from typing import Any

import pytest

from meshfab.errors import LostError
from meshfab.ssh.deadline import limit
from tests.support.ssh_server import ServerConnection


def dripping_host(first: bytes, drop: bytes) -> socket.socket:
    """The operator's end of a connection to a host that sends one piece after the other."""
    ours, theirs = socket.socketpair()

    def drip() -> None:
        with theirs, suppress(OSError):
            theirs.sendall(first)
            while True:
                theirs.sendall(drop)
                time.sleep(0.02)

    threading.Thread(target=drip, daemon=True).start()
    return ours


@pytest.mark.parametrize(
    ("first", "drop"),
    [(b"", b"x"), (b"SSH-2.0-drip\r\n\x00\x00\x7f\xf4", b"\0"), (b"SSH-2.0-drip\r\n", b"")],
    ids=["a banner", "a packet", "nothing more"],
)
def test_connecting_to_a_host_that_drips_ends(first: bytes, drop: bytes) -> None:
    from fabric import Connection

    c = Connection("h2", connect_kwargs={"sock": dripping_host(first, drop), "look_for_keys": False})
    began = time.monotonic()
    with pytest.raises(LostError, match="no answer within"), limit(c, 0.3):
        c.open()
    assert time.monotonic() - began < 8


@pytest.mark.parametrize("wait", ["for a channel", "for a command", "for output", "for the window", "for the status"])
def test_whatever_an_open_connection_waits_for_it_ends(wait: str) -> None:
    never = threading.Event()
    c: Any = ServerConnection(lambda _: never.wait(30), answers_exec=wait != "for a command")
    channel = c.create_session()
    if wait not in ("for a channel", "for a command"):
        channel.exec_command("true")
    began = time.monotonic()
    try:
        with pytest.raises(LostError, match="no answer within"), limit(c, 0.3):
            if wait == "for a channel":
                c.server.check_channel_request = lambda *_: never.wait(30)
                c.create_session()
            elif wait == "for a command":
                channel.exec_command("true")
            elif wait == "for output":
                assert channel.recv(1) == b""
                raise EOFError
            elif wait == "for the window":
                channel.sendall(b"x" * 3_000_000)
            else:
                assert channel.recv_exit_status() == -1
                raise EOFError
        assert time.monotonic() - began < 8
    finally:
        never.set()
        c.close()


def test_work_that_ends_in_time_is_left_alone() -> None:
    c: Any = ServerConnection(lambda _: None)
    with limit(c, 20):
        c.create_session()
    assert c.transport.is_active()
    with pytest.raises(ZeroDivisionError), limit(c, 20):
        raise ZeroDivisionError
    c.close()
