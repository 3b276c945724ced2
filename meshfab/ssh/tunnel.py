"""A TCP connection through a host, for what this machine cannot reach itself (`ssh -W`, RFC 4254, 7.2)."""

from __future__ import annotations

import socket
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fabric import Connection

_SECONDS = 8.0
_CHUNK = 65536


def open_tunnel(c: Connection, host: str, port: int) -> socket.socket:
    """Connect to an address as the host of an open connection reaches it.

    Returns:
        A connected socket. TLS needs a real one, which paramiko's channel is not, so two threads copy the bytes.

    Raises:
        OSError: the host does not reach it, or forbids it (AllowTcpForwarding in sshd_config(5)).
    """
    from paramiko.ssh_exception import SSHException

    try:
        channel = c.transport.open_channel("direct-tcpip", (host, port), ("127.0.0.1", 0), timeout=_SECONDS)
    except (SSHException, EOFError) as error:
        raise OSError(f"through {c.original_host}: {error}") from None
    ours, theirs = socket.socketpair()
    ours.settimeout(_SECONDS)
    channel.settimeout(None)
    for source, target in ((theirs, channel), (channel, theirs)):
        Thread(target=_copy, args=(source, target), name="tunnel", daemon=True).start()
    return ours


def _copy(source: Any, target: Any) -> None:
    """Copy until one side ends, then end both: HTTP needs no half-open connection."""
    with suppress(OSError, EOFError):
        while data := source.recv(_CHUNK):
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError, EOFError):
            end.close()
