"""Connections from this process into the lab's network: whether a port accepts, and the first bytes it sends."""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from lab.machine import namespace_holder

if TYPE_CHECKING:
    from lab.layout import Lab

_CLONE_NEWNET = 0x40000000


def read_banner(lab: Lab, address: str, port: int, length: int) -> bytes | None:
    """Connect to a port of the mesh and read the first `length` bytes that it sends.

    With a length of 0 the result of a successful connection is empty. None: no connection.
    """
    banners: list[bytes] = []
    # setns(2) changes the network namespace of one thread. This thread ends here, so no other code runs in it.
    thread = threading.Thread(target=_connect, args=(lab, address, port, length, banners))
    thread.start()
    thread.join()
    return banners[0] if banners else None


def _connect(lab: Lab, address: str, port: int, length: int, banners: list[bytes]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        with Path(f"/proc/{namespace_holder.pid(lab)}/ns/net").open("rb") as handle:
            if libc.setns(handle.fileno(), _CLONE_NEWNET):
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
        with socket.create_connection((address, port), timeout=1) as connection:
            banners.append(connection.recv(length) if length else b"")
    except OSError:
        return
