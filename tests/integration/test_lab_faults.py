"""The lab's faults: each goes wrong in the way that it says, and is mended."""

from __future__ import annotations

import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.conftest import Mesh


def dial(host: str, port: int = 22, seconds: float = 0.4) -> float:
    """Connect to a host, and how long that took."""
    began = time.monotonic()
    socket.create_connection((f"{host}.internal", port), timeout=seconds).close()
    return time.monotonic() - began


def test_a_cut_link_is_silence(mesh: Mesh) -> None:
    mesh.faults.cut("h3")
    try:
        with pytest.raises(TimeoutError):
            dial("h3")
    finally:
        mesh.faults.restore("h3")
    assert dial("h3")


def test_a_host_that_was_down_has_what_it_had(mesh: Mesh) -> None:
    mesh.hosts.run("h3", "echo here >/etc/mark; sync")
    mesh.faults.host_down("h3")
    with pytest.raises(OSError, match=r"timed out|No route"):
        dial("h3")
    mesh.faults.host_up("h3")
    assert mesh.hosts.run("h3", "cat /etc/mark; rm /etc/mark").stdout == "here\n"
    assert subprocess.run(["ssh", "h3", "true"], check=False).returncode == 0


def test_a_full_disk_has_room_again(mesh: Mesh) -> None:
    write = "head -c 64k /dev/zero >/srv/more"
    mesh.faults.fill("h3", "/srv")
    assert "No space left" in mesh.hosts.run("h3", write, check=False).stderr
    mesh.faults.free("h3", "/srv")
    mesh.hosts.run("h3", f"{write} && rm /srv/more")


def test_a_long_line_holds_the_operators_packets_back(mesh: Mesh) -> None:
    assert min(dial("h3") for _ in range(3)) < 0.02
    mesh.faults.delay("h3", 40)
    try:
        assert 0.04 <= min(dial("h3") for _ in range(3)) < 0.06
        # Among hosts all is as before: a round trip of three is told by ping itself.
        ping = mesh.hosts.run("h1", f"ping -c 3 -i 0.01 -q {mesh.hosts.address('h3')}").stdout
        assert float(ping.rpartition(" = ")[2].split("/")[0]) < 20
        mesh.faults.cut("h3")
        with pytest.raises(TimeoutError):
            dial("h3")
        mesh.faults.restore("h3")
        sent = ["ssh", "h3", "head -c 20000000 /dev/zero"]
        began = time.monotonic()
        assert len(subprocess.check_output(sent)) == 20_000_000
        assert time.monotonic() - began < 5, "long, and not narrow"
    finally:
        mesh.faults.restore("h3")
        mesh.faults.undelay("h3")
    assert min(dial("h3") for _ in range(3)) < 0.02


def test_a_ca_can_be_slow_stopped_or_frozen(mesh: Mesh) -> None:
    def health(seconds: float = 9) -> float:
        began = time.monotonic()
        curl = ["curl", "-sS", "--max-time", str(seconds), "--cacert", str(mesh.root)]
        subprocess.run([*curl, f"{mesh.layout.CA_URL}/health"], check=True, capture_output=True)
        return time.monotonic() - began

    assert health() < 0.5
    mesh.faults.ca_slow(0.7)
    try:
        assert 0.7 <= health() < 1.3
        began = time.monotonic()
        assert "ok" in mesh.hosts.run("h1", f"curl -sS {mesh.layout.CA_URL}/health").stdout
        assert time.monotonic() - began >= 0.7
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
