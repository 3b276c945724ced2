"""A long line to a host: each packet between the operator and it is held back for a while.

The kernels that labs run on often lack netem, so the host's port is taken off the bridge and a
process carries its frames: `python -m lab.faults.delay PORT OTHER SECONDS`. It hands over whole segments
with the kernel's own notes on them (PACKET_VNET_HDR), so the line is long and not narrow.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time
from collections import deque
from typing import TYPE_CHECKING

from lab import layout
from lab.errors import LabError
from lab.layout import current
from lab.machine import namespace_holder
from lab.machine.process import is_gone, recorded, run, send, spawn, wait_until
from lab.services import hosts

if TYPE_CHECKING:
    from lab.layout import Lab

# From linux/if_packet.h and linux/if_ether.h; Python's socket has none of them.
_SOL_PACKET = 263
_PACKET_VNET_HDR = 15
_PACKET_IGNORE_OUTGOING = 23
_ETH_P_ALL = 3
_VNET_HDR = 10
_BUFFER = 16 << 20
_KILL = 9
_READY = "ready\n"


def delay(host: str, ms: float) -> None:
    """Add `ms` milliseconds of round-trip time between the operator's address and a host.

    Half of it each way, on every IPv4 packet, those of the mesh's DNS (which has the operator's
    address) included; packets between the host and the CA or other hosts pass as before, and so
    does ARP. It lasts until `undelay`, or until the host's machine ends: a boot makes a new port.
    """
    undelay(host)
    lab = current()
    if host not in hosts.names():
        raise LabError(f"{host}: no host of lab {lab.name}; run: inv lab.status")
    port, near, far = layout.port(host), layout.delayed_port(host), f"dr-{host}"
    # The ports are not the kernel's to answer on: it would, for any address of the namespace.
    _links(
        lab,
        f"link add {near} type veth peer name {far}",
        f"link set {near} master {layout.BRIDGE} up",
        f"link set {far} arp off up",
        f"link set {port} nomaster arp off",
    )
    log = lab.logs / f"delay-{host}"
    log.unlink(missing_ok=True)
    argv = [sys.executable, "-m", "lab.faults.delay", port, far, str(ms / 2000)]
    environment = {**os.environ, "PYTHONPATH": str(lab.checkout)}
    pid = spawn(namespace_holder.inside(lab, *argv), log, lab.pids / f"delay-{host}", environment)
    wait_until(lambda: _READY in log.read_text() or is_gone(pid), f"the long line to {host}", 10, 0.005)
    if is_gone(pid):
        raise LabError(f"the long line to {host} did not come up; see {log}")


def undelay(host: str) -> None:
    """Take the delay away; what is on the line is lost, as on any line that is changed."""
    lab = current()
    pid = recorded(lab.pids / f"delay-{host}")
    if pid is not None:
        send([pid], _KILL)
        wait_until(lambda: is_gone(pid), f"the long line to {host} to end", 5)
    there = run(namespace_holder.inside(lab, "cat", "/proc/net/dev"))
    if f"{layout.delayed_port(host)}:" not in there:
        return
    _links(lab, f"link del {layout.delayed_port(host)}")
    if f"{layout.port(host)}:" in there:
        _links(lab, f"link set {layout.port(host)} arp on master {layout.BRIDGE}")


def _links(lab: Lab, *commands: str) -> None:
    run(namespace_holder.inside(lab, "ip", "-batch", "-"), stdin="\n".join(commands) + "\n")


def _carry(names: list[str], seconds: float) -> None:
    """Carry frames both ways for as long as both ports are there."""
    ports = [_open(name) for name in names]
    waiting: list[deque[tuple[float, bytes]]] = [deque(), deque()]
    operator = socket.inet_aton(layout.OPERATOR_ADDRESS)
    sys.stdout.write(_READY)
    sys.stdout.flush()
    while True:
        due = min((queue[0][0] for queue in waiting if queue), default=None)
        pause = None if due is None else max(0.0, due - time.monotonic())
        for port in select.select(ports, [], [], pause)[0]:
            way = ports.index(port)
            frame = port.recv(_BUFFER)
            if _is_held(frame, operator):
                waiting[way].append((time.monotonic() + seconds, frame))
            else:
                _send(ports[1 - way], frame)
        for way, queue in enumerate(waiting):
            while queue and queue[0][0] <= time.monotonic():
                _send(ports[1 - way], queue.popleft()[1])


def _open(name: str) -> socket.socket:
    port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    port.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
    port.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        port.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
    port.bind((name, _ETH_P_ALL))
    return port


def _is_held(frame: bytes, operator: bytes) -> bool:
    packet = frame[_VNET_HDR + 12 :]
    return packet[:2] == b"\x08\x00" and operator in (packet[14:18], packet[18:22])


def _send(port: socket.socket, frame: bytes) -> None:
    try:
        port.send(frame)
    except BlockingIOError:
        return  # a full line drops packets


if __name__ == "__main__":
    try:
        _carry(sys.argv[1:3], float(sys.argv[3]))
    except OSError as error:
        # The host has gone down, and its port with it.
        sys.exit(f"{error}")
