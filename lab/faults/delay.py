"""Network delay: every packet between the operator and a host arrives later.

Many kernels that labs run on have no netem. So the host's port is removed from the bridge, and a process forwards its
frames with a delay: `python -m lab.faults.delay PORT PEER SECONDS`. It forwards whole segments together with the
kernel's header for them (PACKET_VNET_HDR), so the delay does not reduce the bandwidth.
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
from lab.machine.process import is_gone, run, running_pid, send_signal, spawn, wait_until
from lab.services import hosts

if TYPE_CHECKING:
    from lab.layout import Lab

# From linux/if_packet.h and linux/if_ether.h; Python's socket module does not define them.
_SOL_PACKET = 263
_PACKET_VNET_HDR = 15
_PACKET_IGNORE_OUTGOING = 23
_ETH_P_ALL = 3
_VNET_HDR_LENGTH = 10
_BUFFER_SIZE = 16 << 20
_SIGKILL = 9
_READY = "ready\n"


def delay(host: str, ms: float) -> None:
    """Add `ms` milliseconds of round-trip time between the operator's address and a host.

    Each direction gets half of it. It applies to every IPv4 packet, also to DNS, because the DNS server has the
    operator's address. It does not apply to ARP, or to packets between the host and the CA or other hosts. It ends
    with `undelay`, or when the host stops, because each boot creates a new port.
    """
    undelay(host)
    lab = current()
    if host not in hosts.names():
        raise LabError(f"{host}: lab {lab.name} has no such host; run: inv lab.status")
    port, delayed_port, peer = layout.port(host), layout.delayed_port(host), f"dr-{host}"
    # ARP is off on the ports of the forwarder: the kernel would answer there for every address of the namespace.
    _configure_links(
        lab,
        f"link add {delayed_port} type veth peer name {peer}",
        f"link set {delayed_port} master {layout.BRIDGE} up",
        f"link set {peer} arp off up",
        f"link set {port} nomaster arp off",
    )
    log = lab.logs / f"delay-{host}"
    log.unlink(missing_ok=True)
    argv = [sys.executable, "-m", "lab.faults.delay", port, peer, str(ms / 2000)]
    environment = {**os.environ, "PYTHONPATH": str(lab.checkout)}
    pid = spawn(namespace_holder.nsenter(lab, *argv), log, lab.pids / f"delay-{host}", environment)
    wait_until(lambda: _READY in log.read_text() or is_gone(pid), f"the delay of {host} to start; see {log}", 60, 0.005)
    if is_gone(pid):
        raise LabError(f"the delay of {host} did not start; see {log}")


def undelay(host: str) -> bool:
    """Remove the delay; packets that are being delayed are lost. Returns whether there was a delay."""
    lab = current()
    pid = running_pid(lab.pids / f"delay-{host}")
    if pid is not None:
        send_signal([pid], _SIGKILL)
        wait_until(lambda: is_gone(pid), f"the delay of {host} to end", 60)
    interfaces = run(namespace_holder.nsenter(lab, "cat", "/proc/net/dev"))
    if f"{layout.delayed_port(host)}:" not in interfaces:
        return False
    _configure_links(lab, f"link del {layout.delayed_port(host)}")
    if f"{layout.port(host)}:" in interfaces:
        _configure_links(lab, f"link set {layout.port(host)} arp on master {layout.BRIDGE}")
    return True


def _configure_links(lab: Lab, *commands: str) -> None:
    run(namespace_holder.nsenter(lab, "ip", "-batch", "-"), stdin="\n".join(commands) + "\n")


def _forward(interfaces: list[str], seconds: float) -> None:
    """Forward frames in both directions for as long as both interfaces exist."""
    ports = [_open(interface) for interface in interfaces]
    queues: list[deque[tuple[float, bytes]]] = [deque(), deque()]
    operator = socket.inet_aton(layout.OPERATOR_ADDRESS)
    sys.stdout.write(_READY)
    sys.stdout.flush()
    while True:
        next_due = min((queue[0][0] for queue in queues if queue), default=None)
        timeout = None if next_due is None else max(0.0, next_due - time.monotonic())
        for port in select.select(ports, [], [], timeout)[0]:
            direction = ports.index(port)
            frame = port.recv(_BUFFER_SIZE)
            if _is_delayed(frame, operator):
                queues[direction].append((time.monotonic() + seconds, frame))
            else:
                _send(ports[1 - direction], frame)
        for direction, queue in enumerate(queues):
            while queue and queue[0][0] <= time.monotonic():
                _send(ports[1 - direction], queue.popleft()[1])


def _open(interface: str) -> socket.socket:
    port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    port.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
    port.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        port.setsockopt(socket.SOL_SOCKET, option, _BUFFER_SIZE)
    port.bind((interface, _ETH_P_ALL))
    return port


def _is_delayed(frame: bytes, operator: bytes) -> bool:
    """Whether a frame is an IPv4 packet from or to the operator's address."""
    packet = frame[_VNET_HDR_LENGTH + 12 :]
    return packet[:2] == b"\x08\x00" and operator in (packet[14:18], packet[18:22])


def _send(port: socket.socket, frame: bytes) -> None:
    try:
        port.send(frame)
    except BlockingIOError:
        return  # the send buffer is full: the packet is dropped, as a network does


if __name__ == "__main__":
    try:
        _forward(sys.argv[1:3], float(sys.argv[3]))
    except OSError as error:
        # The host has stopped, and its port was removed.
        sys.exit(f"{error}")
