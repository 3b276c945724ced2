"""Names in the mesh's DNS: each way to write them against a real server, and as a step of a service's life."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from lab.machine.process import wait_until
from lab.services import dns, hosts, name_servers
from tests.integration.on_host import Site, assert_done, assert_refused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from subprocess import CompletedProcess

    from tests.integration.conftest import Inv, Mesh

pytestmark = pytest.mark.lab
# The host that has the name server, and the one that has the service.
DNS_HOST, HOST, OTHER = "h1", "h2", "h3"
KINDS = (
    "bind",
    "dnsmasq",
    # The same ways to write as those of bind and dnsmasq.
    pytest.param("unbound", marks=pytest.mark.slow),
    pytest.param("knot", marks=pytest.mark.slow),
    pytest.param("powerdns", marks=pytest.mark.slow),
    pytest.param("coredns", marks=pytest.mark.slow),
)
TEA = Site(HOST, "tea")
# The example of docs/how-to/dns.md, with a file for a DNS.
OWN_DNS = """
import json, pathlib, sys

state, question = pathlib.Path(sys.argv[1]), json.load(sys.stdin)
records = json.loads(state.read_text()) if state.exists() else {}
if question["action"] == "read":
    known = [name for name in question["names"] if name in records]
    print(json.dumps({"records": [{"name": name, "addresses": records[name], "ours": True} for name in known]}))
else:
    for change in question["changes"]:
        records[change["name"]] = change["addresses"]
    state.write_text(json.dumps({name: found for name, found in records.items() if found}))
"""


class Names:
    """A mesh whose names are published on one kind of server."""

    def __init__(self, kind: str, folder: Path, inv: Inv) -> None:
        self.server, self.folder, self._inv = name_servers.start(kind, DNS_HOST), folder, inv
        self.options: dict[str, Any] = {"server": self.server.address, "wait": 10}
        if kind in ("bind", "knot", "powerdns"):
            self.options |= {"kind": "rfc2136", "key_file": self.key("writer", name_servers.WRITER)}
            self.options |= {"ttl": name_servers.TTL}
        elif kind in ("dnsmasq", "coredns"):
            self.options |= {"kind": "hosts-file", "host": DNS_HOST, "file": name_servers.HOSTS_FILE}
        else:
            self.options |= {"kind": "unbound", "host": DNS_HOST, "file": name_servers.UNBOUND_INCLUDE, "ttl": 2}

    def key(self, name: str, secret: str) -> str:
        file = self.folder / f"{name}.key"
        file.write_text(f'key "{name}" {{\n\talgorithm hmac-sha256;\n\tsecret "{secret}";\n}};\n')
        file.chmod(0o600)
        return str(file)

    def __call__(self, *words: str, **settings: Any) -> CompletedProcess[str]:
        file = self.folder / "mesh.json"
        block = {"mesh_network": "10.87.0.0/16", "dns": self.options, **settings}
        file.write_text(json.dumps({"meshfab": block}))
        return self._inv("-f", str(file), *words)


def asked(fqdn: str) -> set[str]:
    """What the resolvers of three hosts say of a name, together."""
    said = [hosts.run(host, f"getent ahosts {fqdn} | awk '{{ print $1 }}'").stdout for host in (DNS_HOST, HOST, OTHER)]
    assert len({tuple(sorted(set(one.split()))) for one in said}) == 1, said
    return set(said[0].split())


@pytest.fixture(params=KINDS)
def names(request: pytest.FixtureRequest, tmp_path: Path, mesh: Mesh, inv: Inv) -> Iterator[Names]:
    yield from _names(str(request.param), tmp_path, mesh, inv)


@pytest.fixture
def bind(tmp_path: Path, mesh: Mesh, inv: Inv) -> Iterator[Names]:
    yield from _names("bind", tmp_path, mesh, inv)


@pytest.fixture
def dnsmasq(tmp_path: Path, mesh: Mesh, inv: Inv) -> Iterator[Names]:
    yield from _names("dnsmasq", tmp_path, mesh, inv)


def _names(kind: str, folder: Path, mesh: Mesh, inv: Inv) -> Iterator[Names]:
    # What another test left in the lab's own resolver would go before the server's record.
    for fqdn in dns.service_addresses():
        dns.unpoint(fqdn.partition(".")[0])
    try:
        yield Names(kind, folder, inv)
    finally:
        dns.forward(None)
        mesh.reset(DNS_HOST, HOST, OTHER)


def publish(names: Names, name: str, host: str, *more: str) -> CompletedProcess[str]:
    return names("publish-dns", "--name", name, "--host", host, *more)


def test_a_record_is_added_changed_and_removed_and_each_resolver_follows(names: Names) -> None:
    planned = publish(names, "tea", HOST, "--dry-run")
    assert planned.returncode == 2, planned.stderr
    assert f"would be done: tea.internal: it led nowhere, and leads to {hosts.address(HOST)}" in planned.stdout
    assert asked("tea.internal") == set()
    assert_done(publish(names, "tea", HOST))
    assert asked("tea.internal") == {hosts.address(HOST)}
    assert "all as they should be" in assert_done(publish(names, "tea", HOST))
    assert_done(publish(names, "milk", OTHER))
    assert f"{hosts.address(HOST)} -> {hosts.address(OTHER)}" in assert_done(publish(names, "tea", OTHER))
    assert asked("tea.internal") == {hosts.address(OTHER)}
    assert_done(names("publish-dns", "--remove", "--name", "tea"))
    assert asked("tea.internal") == set()
    assert asked("milk.internal") == {hosts.address(OTHER)}
    # A second removal has nothing to do.
    assert "all as they should be" in assert_done(names("publish-dns", "--remove", "--name", "tea"))


def test_a_foreign_record_stops_it_with_both_values_and_stays(names: Names) -> None:
    done = publish(names, "foreign", HOST)
    assert done.returncode == 1
    [line] = [line for line in done.stdout.splitlines() if "failed" in line and "foreign.internal" in line]
    assert f"meshfab did not write: 10.87.9.9, and {hosts.address(HOST)} is wanted" in line
    assert "all as they should be" in assert_done(names("publish-dns", "--remove", "--name", "foreign"))
    assert asked("foreign.internal") == {"10.87.9.9"}
    # It keeps no other name back.
    services = {name: {"host": HOST} for name in ("foreign", "tea")}
    done = names("publish-dns", services=services)
    assert done.returncode == 1
    assert "2 names in the DNS: 1 changed, 1 failed" in done.stdout
    assert asked("tea.internal") == {hosts.address(HOST)}


def test_a_server_that_is_down_loses_nothing(names: Names) -> None:
    assert_done(publish(names, "tea", HOST))
    names.server.stop()
    done = publish(names, "milk", HOST)
    assert done.returncode == 1
    assert "is it up?" in done.stdout, done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    names.server.begin()
    assert asked("tea.internal") == {hosts.address(HOST)}
    assert_done(publish(names, "milk", HOST))
    assert asked("milk.internal") == {hosts.address(HOST)}


@pytest.mark.parametrize("kind", ["bind", "knot", pytest.param("powerdns", marks=pytest.mark.slow)])
def test_a_wrong_key_and_one_without_rights_write_nothing(kind: str, tmp_path: Path, mesh: Mesh, inv: Inv) -> None:
    for names in _names(kind, tmp_path, mesh, inv):
        for name, secret, word in (
            ("writer", "d3Jvbmc=", "does not accept the TSIG key"),
            ("stranger", name_servers.WRITER, "does not accept the TSIG key"),
            ("reader", name_servers.READER, "what it may do there" if kind == "knot" else "may the key reader write"),
        ):
            names.options["key_file"] = names.key(name, secret)
            done = publish(names, "tea", HOST)
            assert done.returncode == 1
            assert word in done.stdout, done.stdout
            assert secret not in done.stdout + done.stderr
        names.options["key_file"] = str(tmp_path / "missing")
        assert_refused(publish(names, "tea", HOST), "missing does not exist")
        assert asked("tea.internal") == set()


def test_a_change_that_somebody_makes_meanwhile_is_seen(bind: Names) -> None:
    """The prerequisites: what was read is still there, or nothing is written."""
    script = f"""
from pathlib import Path
from meshfab.config.settings import Settings
from meshfab.dns import opening
from meshfab.dns.name_server import ChangedMeanwhileError
from meshfab.dns.record import Wish, plan
settings = Settings(mesh_network="10.87.0.0/16", dns={bind.options!r})
mine, theirs = (opening.name_server(settings.dns_options, settings) for _ in range(2))
before = mine.read(["tea.internal"])["tea.internal"]
theirs.write([plan(theirs.read(["tea.internal"])["tea.internal"], Wish(("10.87.0.99",)), "")])
try:
    mine.write([plan(before, Wish(("10.87.0.98",)), "")])
except ChangedMeanwhileError:
    print(mine.read(["tea.internal"])["tea.internal"].addresses)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "('10.87.0.99',)\n", done.stderr


def test_from_an_empty_machine_to_a_page_and_to_the_end_without_a_manual_step(names: Names, mesh: Mesh) -> None:
    done = assert_done(names("provision", *TEA.words))
    assert f"tea.internal: it led nowhere, and leads to {hosts.address(HOST)}" in done
    page = hosts.run(
        OTHER, f"curl -sS --cacert {mesh.layout.ROOT_ON_HOST} -o /dev/null -w '%{{http_code}}' https://tea.internal"
    )
    assert page.stdout != "000"
    again = assert_done(names("provision", *TEA.words))
    assert "nothing to do, nothing changed" in again
    planned = assert_done(names("retire", *TEA.words, "--dry-run"))
    assert "publish-dns" in planned
    assert asked("tea.internal") == {hosts.address(HOST)}
    assert f"tea.internal: {hosts.address(HOST)} is removed" in assert_done(names("retire", *TEA.words))
    assert asked("tea.internal") == set()


def test_apply_publishes_all_names_and_prune_removes_them(dnsmasq: Names) -> None:
    services = {"tea": {"host": HOST, "sans": ["pot.internal"]}, "both": {"hosts": [HOST, OTHER]}}
    assert dnsmasq("apply", "--dry-run", services=services).returncode == 2
    assert "4 names in the DNS: 4 changed" in assert_done(dnsmasq("apply", services=services))
    assert asked("pot.internal") == asked("tea.internal") == {hosts.address(HOST)}
    assert asked("both.internal") == {hosts.address(HOST), hosts.address(OTHER)}
    assert dnsmasq("apply", "--dry-run", services=services).returncode == 0
    # One of two hosts ends: the name keeps the other one.
    assert_done(dnsmasq("retire", "--name", "both", "--host", OTHER, services=services))
    assert asked("both.internal") == {hosts.address(HOST)}
    done = assert_done(dnsmasq("apply", "--prune", "--yes", services={"both": {"host": HOST}}, hosts=[HOST]))
    assert f"tea.internal: {hosts.address(HOST)} is removed" in done
    assert asked("tea.internal") == set()


def test_a_move_takes_the_name_along(bind: Names) -> None:
    assert_done(bind("provision", *TEA.words))
    done = assert_done(bind("move", "--name", "tea", "--from", HOST, "--to", OTHER))
    assert f"{hosts.address(HOST)} -> {hosts.address(OTHER)}" in done
    assert "retired" in done
    assert asked("tea.internal") == {hosts.address(OTHER)}


def test_a_program_of_ones_own_is_told_in_json(bind: Names, tmp_path: Path) -> None:
    program = tmp_path / "own-dns"
    state = tmp_path / "state.json"
    program.write_text(f"#!{sys.executable}\n{OWN_DNS}")
    program.chmod(0o755)
    bind.options = {"kind": "command", "command": [str(program), str(state)], "wait": 2}
    dns.point("tea", HOST)
    assert_done(publish(bind, "tea", HOST))
    assert json.loads(state.read_text()) == {"tea.internal": [hosts.address(HOST)]}
    dns.unpoint("tea")
    assert_done(bind("publish-dns", "--remove", "--name", "tea"))
    assert json.loads(state.read_text()) == {}
    program.write_text("#!/bin/sh\necho no permission >&2\nexit 3\n")
    done = publish(bind, "tea", HOST)
    assert done.returncode == 1
    assert "failed with exit status 3: no permission" in done.stdout


def test_an_address_outside_the_mesh_and_a_public_name_are_refused(dnsmasq: Names) -> None:
    refused = dnsmasq("publish-dns", "--name", "tea", "--host", HOST, mesh_network="10.99.0.0/16")
    assert refused.returncode == 1
    assert "it has no address in meshfab.mesh_network" in refused.stdout
    # The server itself is asked as if it were a public resolver.
    assert_done(publish(dnsmasq, "tea", HOST))
    public = dnsmasq("publish-dns", "--name", "tea", "--host", HOST, public_resolvers=[dnsmasq.server.address])
    assert public.returncode == 1
    assert "tea.internal is public" in public.stdout


def test_doctor_finds_what_hides_the_names(dnsmasq: Names) -> None:
    services = {"tea": {"host": HOST}}
    assert_done(dnsmasq("publish-dns", services=services))
    lines = ("dns-search", "dns-anchor", "dns-resolvers", "dns-cache", "dns-key")
    before = dnsmasq("doctor", "--host", HOST, services=services).stdout
    assert not any(f" {line} " in before for line in lines), before
    # A router's answer, a second resolver that knows nothing of the mesh, and anchors of somebody's own. The hosts have
    # no systemd-resolved, so its unit is another program.
    ignorant = name_servers.start("dnsmasq", OTHER).address
    dns.forward(dnsmasq.server.address)
    hosts.run(
        HOST,
        f"printf 'search internal\\nnameserver {ignorant}\\n' >>/etc/resolv.conf;"
        " systemd-run --unit=systemd-resolved sleep 600;"
        " mkdir -p /etc/dnssec-trust-anchors.d; echo home >/etc/dnssec-trust-anchors.d/own.negative",
    )
    found = dnsmasq("doctor", "--host", HOST, services=services).stdout
    assert "dns-search           internal is a search domain here" in found
    assert "dns-anchor           systemd-resolved's negative trust anchors lack internal" in found
    assert f"{ignorant} says nothing" in found
    hosts.run(HOST, "echo internal >>/etc/dnssec-trust-anchors.d/own.negative")
    assert "dns-anchor" not in dnsmasq("doctor", "--host", HOST, services=services).stdout


def test_the_records_of_the_declared_services_are_printed_without_a_connection(
    mesh: Mesh, inv: Inv, tmp_path: Path
) -> None:
    file = tmp_path / "mesh.json"
    file.write_text(json.dumps({"meshfab": {"services": {"tea": {"host": HOST}, "milk": {"host": OTHER}}}}))
    mesh.faults.cut(HOST)
    try:
        done = inv("-f", str(file), "dns-records", "--format", "zone", "--ttl", "60")
    finally:
        mesh.faults.restore(HOST)
    assert assert_done(done) == (
        f"milk.internal. 60 IN A {hosts.address(OTHER)}\ntea.internal. 60 IN A {hosts.address(HOST)}\n"
    )
    assert_refused(inv("-f", str(file), "dns-records", "--format", "bind"), "'bind' is unknown", "octodns")


def test_doctor_finds_a_resolver_that_keeps_a_name_too_long(dnsmasq: Names) -> None:
    services = {"tea": {"host": HOST}}
    assert_done(dnsmasq("publish-dns", services=services))
    keeper = name_servers.start("dnsmasq", OTHER)  # for its program
    keeper.stop()
    dns.forward(dnsmasq.server.address)
    hosts.run(
        OTHER,
        "systemd-run --unit=keeper --setenv=LD_LIBRARY_PATH=/opt/names/lib /opt/names/sbin/dnsmasq"
        " --conf-file=/dev/null --keep-in-foreground --user=root --pid-file= --no-resolv --no-hosts"
        f" --server=/internal/{dnsmasq.server.address} --min-cache-ttl=3600",
    )
    wait_until(keeper.is_answering, "the other resolver", 60)
    # It gives the longer time when it answers from what it has kept.
    hosts.run(HOST, f"echo nameserver {keeper.address} >/etc/resolv.conf; getent ahosts tea.internal")
    found = dnsmasq("doctor", "--host", HOST, services=services).stdout
    assert f"dns-cache            {keeper.address} keeps tea.internal for " in found, found
