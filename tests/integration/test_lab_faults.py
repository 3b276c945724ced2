"""The lab's faults: each has the promised effect, and can be undone."""

from __future__ import annotations

import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.conftest import Mesh


def connect(host: str, port: int = 22, seconds: float = 0.4) -> float:
    """Connect to a host. Returns the duration in seconds."""
    start = time.monotonic()
    socket.create_connection((f"{host}.internal", port), timeout=seconds).close()
    return time.monotonic() - start


def test_a_cut_link_drops_packets_without_an_answer(mesh: Mesh) -> None:
    mesh.faults.cut("h3")
    try:
        with pytest.raises(TimeoutError):
            connect("h3")
    finally:
        mesh.faults.restore("h3")
    assert connect("h3")


def test_a_host_that_was_down_keeps_its_disk(mesh: Mesh) -> None:
    mesh.hosts.run("h3", "echo here >/etc/mark; sync")
    mesh.faults.host_down("h3")
    with pytest.raises(OSError, match=r"timed out|No route"):
        connect("h3")
    mesh.faults.host_up("h3")
    assert mesh.hosts.run("h3", "cat /etc/mark; rm /etc/mark").stdout == "here\n"
    assert subprocess.run(["ssh", "h3", "true"], check=False).returncode == 0


def test_a_full_disk_can_be_freed(mesh: Mesh) -> None:
    write = "head -c 64k /dev/zero >/srv/more"
    mesh.faults.fill("h3", "/srv")
    assert "No space left" in mesh.hosts.run("h3", write, check=False).stderr
    mesh.faults.free("h3", "/srv")
    mesh.hosts.run("h3", f"{write} && rm /srv/more")


def test_a_delay_applies_to_the_operators_packets_only(mesh: Mesh) -> None:
    assert min(connect("h3") for _ in range(3)) < 0.02
    mesh.faults.delay("h3", 40)
    try:
        assert 0.04 <= min(connect("h3") for _ in range(3)) < 0.06
        # Between hosts there is no delay: ping prints the shortest of three round trips.
        ping = mesh.hosts.run("h1", f"ping -c 3 -i 0.01 -q {mesh.hosts.address('h3')}").stdout
        assert float(ping.rpartition(" = ")[2].split("/")[0]) < 20
        mesh.faults.cut("h3")
        with pytest.raises(TimeoutError):
            connect("h3")
        mesh.faults.restore("h3")
        sent = ["ssh", "h3", "head -c 20000000 /dev/zero"]
        start = time.monotonic()
        assert len(subprocess.check_output(sent)) == 20_000_000
        assert time.monotonic() - start < 5, "the delay must not reduce the bandwidth"
    finally:
        mesh.faults.restore("h3")
        mesh.faults.undelay("h3")
    assert min(connect("h3") for _ in range(3)) < 0.02


def test_a_ca_can_be_slow_stopped_or_paused(mesh: Mesh) -> None:
    def health(seconds: float = 9) -> float:
        start = time.monotonic()
        curl = ["curl", "-sS", "--max-time", str(seconds), "--cacert", str(mesh.root)]
        subprocess.run([*curl, f"{mesh.layout.CA_URL}/health"], check=True, capture_output=True)
        return time.monotonic() - start

    assert health() < 0.5
    mesh.faults.ca_slow(0.7)
    try:
        assert 0.7 <= health() < 1.3
        start = time.monotonic()
        assert "ok" in mesh.hosts.run("h1", f"curl -sS {mesh.layout.CA_URL}/health").stdout
        assert time.monotonic() - start >= 0.7
    finally:
        mesh.faults.ca_quick()
    for fault, status in ((mesh.faults.ca_stop, 7), (mesh.faults.ca_pause, 28)):
        fault()
        try:
            with pytest.raises(subprocess.CalledProcessError) as caught:
                health(0.5)
            assert caught.value.returncode == status
        finally:
            mesh.faults.ca_start()
    assert health() < 0.5
