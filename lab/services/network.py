"""The mesh: one bridge, the operator's and the CA's addresses on it, and no way out."""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from lab import layout
from lab.machine import namespace_holder
from lab.machine.process import run

if TYPE_CHECKING:
    from lab.layout import Lab

_CLONE_NEWNET = 0x40000000
# A bridge that is left to choose takes the lowest of its ports', and another one when a port comes or goes, such as a
# long line's. Hosts that remember the old one then reach neither CA nor DNS for some seconds.
_BRIDGE_MAC = "02:00:00:00:00:01"

# Dropped here, a packet is answered by nobody: silence, where a port that is set down would soon
# say 'no route to host'. Address resolution is let through for the same reason.
_RULES = """
table bridge faults {
    set cut { type ifname; }
    chain input {
        type filter hook input priority 0;
        ether type != arp iifname @cut drop
    }
    chain forward {
        type filter hook forward priority 0;
        ether type != arp iifname @cut drop
        ether type != arp oifname @cut drop
    }
    chain output {
        type filter hook output priority 0;
        ether type != arp oifname @cut drop
    }
}
"""


def start(lab: Lab) -> None:
    """Lay the bridge and its two addresses, and the tables that `faults` fills."""
    addresses = [layout.OPERATOR_ADDRESS, layout.CA_ADDRESS]
    commands = ["link set lo up", f"link add {layout.BRIDGE} address {_BRIDGE_MAC} type bridge"]
    commands += [f"address add {one}/{layout.PREFIX_LENGTH} dev {layout.BRIDGE}" for one in addresses]
    commands.append(f"link set {layout.BRIDGE} up")
    run(namespace_holder.inside(lab, "ip", "-batch", "-"), stdin="\n".join(commands) + "\n")
    run(namespace_holder.inside(lab, "nft", "-f", "-"), stdin=_RULES)


def greeting(lab: Lab, address: str, port: int, length: int) -> bytes | None:
    """The first bytes that a port of the mesh says; empty when 0 are asked; None: no answer."""
    answer: list[bytes] = []
    # Only this thread goes into the lab's network, and it ends here.
    thread = threading.Thread(target=_greet, args=(lab, address, port, length, answer))
    thread.start()
    thread.join()
    return answer[0] if answer else None


def _greet(lab: Lab, address: str, port: int, length: int, answer: list[bytes]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        with Path(f"/proc/{namespace_holder.pid(lab)}/ns/net").open("rb") as handle:
            if libc.setns(handle.fileno(), _CLONE_NEWNET):
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
        with socket.create_connection((address, port), timeout=1) as link:
            answer.append(link.recv(length) if length else b"")
    except OSError:
        return
