"""The lab's faults: each has the promised effect, and can be undone."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from lab.machine.process import wait_until

if TYPE_CHECKING:
    from tests.integration.conftest import Mesh


def connect(host: str, seconds: float = 30) -> float:
    """Connect to a host. Returns the duration in seconds."""
    start = time.monotonic()
    socket.create_connection((f"{host}.internal", 22), timeout=seconds).close()
    return time.monotonic() - start


def wait_for_no_delay(host: str, seconds: float) -> None:
    """Connect until it takes less time than the delay: a machine that is busy delays as well, but not each time."""
    wait_until(lambda: connect(host) < seconds, f"{host} to answer without a delay", 60)


def shortest_ping(mesh: Mesh) -> float:
    """The shortest of three round trips from h1 to h3, in milliseconds."""
    ping = mesh.hosts.run("h1", f"ping -c 3 -i 0.01 -q {mesh.hosts.address('h3')}").stdout
    return float(ping.rpartition(" = ")[2].split("/")[0])


def test_a_cut_link_drops_packets_without_an_answer(mesh: Mesh) -> None:
    mesh.faults.cut("h3")
    try:
        with pytest.raises(TimeoutError):
            connect("h3", 0.4)
    finally:
        mesh.faults.restore("h3")
    assert connect("h3")


def test_a_host_that_was_down_keeps_its_disk(mesh: Mesh) -> None:
    mesh.hosts.run("h3", "echo here >/etc/mark; sync")
    mesh.faults.host_down("h3")
    with pytest.raises(OSError, match=r"timed out|No route"):
        connect("h3", 0.4)
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
    wait_for_no_delay("h3", 0.04)
    mesh.faults.delay("h3", 40)
    try:
        assert min(connect("h3") for _ in range(3)) >= 0.04
        wait_until(lambda: shortest_ping(mesh) < 40, "a round trip between hosts without a delay", 60)
        mesh.faults.cut("h3")
        with pytest.raises(TimeoutError):
            connect("h3", 0.4)
        mesh.faults.restore("h3")
    finally:
        mesh.faults.restore("h3")
        mesh.faults.undelay("h3")
    wait_for_no_delay("h3", 0.04)


def test_a_delay_does_not_reduce_the_bandwidth(mesh: Mesh) -> None:
    size, frame = 20_000_000, 1500
    mesh.faults.delay("h3", 40)
    try:
        before = frames_of(mesh, "h3")
        assert len(subprocess.check_output(["ssh", "h3", f"head -c {size} /dev/zero"])) == size
        assert frames_of(mesh, "h3") - before < size / frame / 2, "whole segments are forwarded, not single frames"
    finally:
        mesh.faults.undelay("h3")


def frames_of(mesh: Mesh, host: str) -> int:
    """How many frames a host has sent."""
    shown = subprocess.check_output(["ip", "-j", "-s", "link", "show", "dev", mesh.layout.port(host)])
    return int(json.loads(shown)[0]["stats64"]["rx"]["packets"])


def test_a_ca_can_be_slow_stopped_or_paused(mesh: Mesh) -> None:
    def health(seconds: float = 60) -> float:
        start = time.monotonic()
        curl = ["curl", "-sS", "--max-time", str(seconds), "--cacert", str(mesh.root)]
        subprocess.run([*curl, f"{mesh.layout.CA_URL}/health"], check=True, capture_output=True)
        return time.monotonic() - start

    def is_quick() -> bool:
        return health() < 0.7

    wait_until(is_quick, "the CA to answer without a delay", 60)
    mesh.faults.ca_slow(0.7)
    try:
        assert health() >= 0.7
        start = time.monotonic()
        assert "ok" in mesh.hosts.run("h1", f"curl -sS {mesh.layout.CA_URL}/health").stdout
        assert time.monotonic() - start >= 0.7
    finally:
        mesh.faults.ca_quick()
    for fault, seconds, status in ((mesh.faults.ca_stop, 60, 7), (mesh.faults.ca_pause, 0.5, 28)):
        fault()
        try:
            with pytest.raises(subprocess.CalledProcessError) as caught:
                health(seconds)
            assert caught.value.returncode == status
        finally:
            mesh.faults.ca_start()
    wait_until(is_quick, "the CA to answer without a delay", 60)
