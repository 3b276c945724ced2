"""`inv move`: a client that connects by name all the time sees no failed handshake, and the old host keeps nothing."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab import layout
from lab.machine.process import wait_until
from lab.services import dns, hosts
from tests.integration.conftest import CHECKOUT
from tests.integration.on_host import Site, assert_done, assert_refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Inv, Mesh

pytestmark = pytest.mark.lab
INV = str(Path(sys.executable).with_name("inv"))


@pytest.fixture(autouse=True)
def clean(mesh: Mesh) -> Iterator[None]:
    mesh.reset("h2", "h3")
    yield
    mesh.reset("h2", "h3")


class Client(threading.Thread):
    """Connects by name and verifies, again and again; every failure is kept."""

    def __init__(self, fqdn: str, root: Path) -> None:
        super().__init__(daemon=True)
        self.fqdn, self.context = fqdn, ssl.create_default_context(cafile=str(root))
        self.failures: list[str] = []
        self.addresses: list[str] = []
        self.is_over = threading.Event()

    def run(self) -> None:
        while not self.is_over.wait(0.02):
            try:
                with (
                    socket.create_connection((self.fqdn, 443), timeout=30) as raw,
                    self.context.wrap_socket(raw, server_hostname=self.fqdn) as client,
                ):
                    self.addresses.append(client.getpeername()[0])
            except OSError as error:
                self.failures.append(str(error))


def left(host: str, name: str) -> str:
    find = f"find /etc /usr/local /var/lib /run/meshfab /tmp -name '*{name}*'"
    return hosts.run(host, find, check=False).stdout.strip()


def is_served(host: str, fqdn: str) -> bool:
    ask = f"openssl s_client -connect {hosts.address(host)}:443 -servername {fqdn} </dev/null 2>/dev/null"
    return fqdn in hosts.run("h1", f"{ask} | openssl x509 -noout -subject", check=False).stdout


def test_no_client_sees_the_move(mesh: Mesh, inv: Inv) -> None:
    site = Site("h2")
    assert_done(inv("provision", *site.words, "--upstream", "http://127.0.0.1:8080"))
    words = ["move", "--name", site.name, "--from", "h2", "--to", "h3"]
    before = site.look()
    assert_done(inv(*words, "--dry-run"))
    assert site.look() == before
    assert left("h3", site.name) == ""
    client = Client(site.fqdn, mesh.root)
    client.start()
    process = subprocess.Popen([INV, *words], cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process:
        wait_until(lambda: is_served("h3", site.fqdn), "h3 to serve it", 120)
        dns.point(site.name, "h3")
        out, err = process.communicate(timeout=240)
    assert (process.returncode, err) == (0, ""), out
    wait_until(lambda: client.addresses[-5:] == [hosts.address("h3")] * 5, "the client to reach the new host", 60)
    client.is_over.set()
    client.join(60)
    assert client.failures == []
    assert client.addresses[0] == hosts.address("h2")
    assert left("h2", site.name) == ""
    assert "http://127.0.0.1:8080" in hosts.run("h3", f"grep -r proxy_pass /etc/nginx | grep -F {site.fqdn}").stdout
    # A second one changes nothing.
    again = assert_done(inv(*words))
    assert "nothing changed" in again


def test_a_move_whose_operator_dies_is_completed_by_the_next(mesh: Mesh, inv: Inv, tmp_path: Path) -> None:
    site = Site("h2")
    assert_done(inv("provision", *site.words))
    words = ["move", "--name", site.name, "--from", "h2", "--to", "h3"]
    output = tmp_path / "output"
    with output.open("w") as file, subprocess.Popen([INV, *words], cwd=CHECKOUT, stdout=file) as process:
        wait_until(lambda: "here gets" in output.read_text(), "the move to wait for the name", 120)
        process.kill()
    assert is_served("h2", site.fqdn)
    assert is_served("h3", site.fqdn)
    dns.point(site.name, "h3")
    # The retirement on the old host is struck, too: its vhost is gone already.
    mesh.hosts.run("h2", "rm /etc/nginx/conf.d/*.internal.conf && systemctl reload nginx")
    assert "retired" in assert_done(inv(*words))
    assert left("h2", site.name) == ""
    assert is_served("h3", site.fqdn)


@pytest.mark.slow
def test_two_operators_who_move_it_at_once_move_it_once(mesh: Mesh, inv: Inv, tmp_path: Path) -> None:
    site = Site("h2")
    assert_done(inv("provision", *site.words))
    client = Client(site.fqdn, mesh.root)
    client.start()
    words = [INV, "move", "--name", site.name, "--from", "h2", "--to", "h3"]
    outputs = [tmp_path / "first", tmp_path / "second"]
    operators = []
    for each in outputs:
        with each.open("w") as file:
            operators.append(subprocess.Popen(words, cwd=CHECKOUT, stdout=file, stderr=subprocess.STDOUT))
    try:
        wait_until(lambda: all("here gets" in each.read_text() for each in outputs), "both to wait for the name", 120)
        dns.point(site.name, "h3")
        ends = [operator.wait(240) for operator in operators]
    finally:
        for operator in operators:
            operator.kill()
            operator.wait()
    said = [each.read_text() for each in outputs]
    assert ends == [0, 0], said
    # One certificate was minted: the second found it, and found nothing left to retire.
    assert sum("mint" in each for each in said) == 1, said
    wait_until(lambda: client.addresses[-5:] == [hosts.address("h3")] * 5, "the client to reach the new host", 60)
    client.is_over.set()
    client.join(60)
    assert client.failures == []
    assert left("h2", site.name) == ""
    assert is_served("h3", site.fqdn)


@pytest.mark.slow
def test_it_waits_for_nothing_if_told_so_and_the_next_call_completes_it(inv: Inv) -> None:
    site = Site("h2")
    assert_done(inv("provision", *site.words))
    words = ["move", "--name", site.name, "--from", "h2", "--to", "h3"]
    said = assert_done(inv(*words, "--no-wait"))
    assert f"point {site.fqdn} at {layout.address('h3')}" in said
    assert site.served() == site.serial() != ""
    dns.point(site.name, "h3")
    assert "retired" in assert_done(inv(*words, "--no-wait"))
    assert left("h2", site.name) == ""


@pytest.mark.slow
def test_a_new_host_that_is_not_ready_leaves_the_old_one_as_it_was(inv: Inv) -> None:
    site = Site("h2")
    assert_done(inv("provision", *site.words))
    hosts.run("h3", "echo 'nonsense;' >/etc/nginx/conf.d/broken.conf")
    before = site.look()
    assert_refused(inv("move", "--name", site.name, "--from", "h2", "--to", "h3"), "h3", "nginx")
    assert site.look() == before
    assert site.served() == site.serial() != ""
