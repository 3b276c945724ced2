"""Name servers on a host of the lab: BIND, Knot, PowerDNS, unbound, dnsmasq, CoreDNS. A reset of the host ends them.

The lab's own resolver asks them for every name of the domain that it does not know itself (`dns.forward`).
"""

from __future__ import annotations

import functools
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab import layout
from lab.machine import binaries, debian_programs
from lab.machine.process import run, wait_until
from lab.machine.tcp_banner import read_banner
from lab.services import dns, hosts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TTL = 2
_FOLDER = "/opt/names"
_ALGORITHM = "hmac-sha256"
# The secrets of keys that exist in the lab only: one that may write, and one that may not.
WRITER, READER = "bWVzaGZhYi1sYWItd3JpdGVy", "bWVzaGZhYi1sYWItcmVhZGVy"
_ZONE = f"""$TTL {TTL}
@ IN SOA ns.{layout.DOMAIN}. root.{layout.DOMAIN}. 1 3600 600 86400 {TTL}
@ IN NS ns.{layout.DOMAIN}.
ns IN A 127.0.0.1
foreign IN A 10.87.9.9
"""
_NAMED = f"""
key "writer" {{ algorithm {_ALGORITHM}; secret "{WRITER}"; }};
key "reader" {{ algorithm {_ALGORITHM}; secret "{READER}"; }};
options {{ directory "{_FOLDER}/state"; listen-on {{ any; }}; listen-on-v6 {{ none; }}; recursion no;
  dnssec-validation no; pid-file none; session-keyfile none; managed-keys-directory "{_FOLDER}/state"; }};
controls {{ }};
zone "{layout.DOMAIN}" {{ type primary; file "{_FOLDER}/state/zone"; update-policy {{ grant writer zonesub ANY; }}; }};
"""
_KNOT = f"""
server:
    rundir: {_FOLDER}/state
    listen: 0.0.0.0@53
database:
    storage: {_FOLDER}/state
key:
  - id: writer
    algorithm: {_ALGORITHM}
    secret: {WRITER}
  - id: reader
    algorithm: {_ALGORITHM}
    secret: {READER}
acl:
  - id: update
    key: writer
    action: update
zone:
  - domain: {layout.DOMAIN}
    file: zone
    storage: {_FOLDER}/state
    acl: update
"""
_POWERDNS = f"""
launch=gsqlite3
gsqlite3-database={_FOLDER}/state/pdns.db
module-dir={_FOLDER}/lib/pdns
socket-dir={_FOLDER}/state
local-address=0.0.0.0
dnsupdate=yes
cache-ttl=0
query-cache-ttl=0
negquery-cache-ttl=0
"""
UNBOUND_INCLUDE = "/etc/meshfab-names.conf"
_UNBOUND = f"""
server:
  interface: 0.0.0.0
  access-control: 0.0.0.0/0 allow
  username: ""
  chroot: ""
  directory: ""
  pidfile: ""
  use-syslog: no
  local-zone: "{layout.DOMAIN}." static
  local-data: "foreign.{layout.DOMAIN}. {TTL} IN A 10.87.9.9"
include: "{UNBOUND_INCLUDE}"
remote-control:
  control-enable: yes
  control-interface: /run/unbound.ctl
  control-use-cert: no
"""
HOSTS_FILE = "/etc/meshfab-names"
_COREDNS = f"""
{layout.DOMAIN}:53 {{
    hosts {HOSTS_FILE} {layout.DOMAIN} {{
        10.87.9.9 foreign.{layout.DOMAIN}
        ttl {TTL}
        reload 1s
    }}
}}
"""


@dataclass(frozen=True)
class NameServer:
    """A name server that runs on a host.

    Attributes:
        kind: bind, knot, powerdns, unbound, dnsmasq or coredns.
        host: the host.
    """

    kind: str
    host: str

    @property
    def address(self) -> str:
        """The address that it answers at."""
        return hosts.address(self.host)

    def is_answering(self) -> bool:
        """Whether it takes TCP connections, as each of them does when it answers."""
        return read_banner(layout.current(), self.address, 53, 0) is not None

    def stop(self) -> None:
        """Stop it; nothing answers any more, and the lab's resolver waits for no answer of it."""
        dns.forward(None)
        hosts.run(self.host, "systemctl stop names.service")

    def begin(self) -> None:
        """Start it with what it had, and have the lab's resolver ask it for what that does not know."""
        hosts.run(self.host, ["systemd-run", "--unit=names", "--quiet", "--collect", *_argv(self.kind)])
        wait_until(self.is_answering, f"{self.kind} on {self.host} to answer", 60)
        dns.forward(self.address)
        # BIND takes connections before it has loaded its zone.
        question = f"getent ahosts foreign.{layout.DOMAIN}"
        ask = functools.partial(hosts.run, self.host, question, check=False)
        wait_until(lambda: "10.87.9.9" in ask().stdout, f"{self.kind} on {self.host} to know its zone", 60)


def start(kind: str, host: str) -> NameServer:
    """Start a name server with one foreign record."""
    folder = hosts.root(host) / _FOLDER.lstrip("/")
    run(["cp", "-a", "-T", str(debian_programs.ensure_name_servers()), str(folder)])
    (folder / "state").mkdir(exist_ok=True)
    _SETUP[kind](folder)
    server = NameServer(kind, host)
    server.begin()
    return server


def _argv(kind: str) -> list[str]:
    programs = {
        "bind": ["named", "-f", "-c", f"{_FOLDER}/state/named.conf"],
        "knot": ["knotd", "-c", f"{_FOLDER}/state/knot.conf"],
        "powerdns": ["pdns_server", f"--config-dir={_FOLDER}/state"],
        "unbound": ["unbound", "-d", "-c", f"{_FOLDER}/state/unbound.conf"],
        "coredns": ["coredns", "-conf", f"{_FOLDER}/state/Corefile"],
        "dnsmasq": [
            *("dnsmasq", "--conf-file=/dev/null", "--keep-in-foreground", "--user=root", "--pid-file="),
            *("--no-resolv", "--no-hosts", f"--local=/{layout.DOMAIN}/", f"--addn-hosts={HOSTS_FILE}"),
            *(f"--local-ttl={TTL}", f"--host-record=foreign.{layout.DOMAIN},10.87.9.9"),
        ],
    }
    name, *rest = programs[kind]
    return [f"--setenv=LD_LIBRARY_PATH={_FOLDER}/lib", f"{_FOLDER}/sbin/{name}", *rest]


def _bind(folder: Path) -> None:
    (folder / "state" / "zone").write_text(_ZONE)
    (folder / "state" / "named.conf").write_text(_NAMED)


def _knot(folder: Path) -> None:
    (folder / "state" / "zone").write_text(_ZONE)
    (folder / "state" / "knot.conf").write_text(_KNOT)


def _powerdns(folder: Path) -> None:
    (folder / "state" / "pdns.conf").write_text(_POWERDNS)
    zone = layout.DOMAIN
    records = (
        (zone, "SOA", f"ns.{zone} root.{zone} 1 3600 600 86400 {TTL}"),
        (zone, "NS", f"ns.{zone}"),
        (f"ns.{zone}", "A", "127.0.0.1"),
        (f"foreign.{zone}", "A", "10.87.9.9"),
    )
    # SQLite opens no file by a path that leads through /proc/PID/root.
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript((folder / debian_programs.POWERDNS_SCHEMA).read_text())
        database.execute("INSERT INTO domains (id, name, type) VALUES (1, ?, 'NATIVE')", (zone,))
        database.executemany(
            "INSERT INTO records (domain_id, name, type, content, ttl, auth) VALUES (1, ?, ?, ?, ?, 1)",
            [(*record, TTL) for record in records],
        )
        database.executemany(
            "INSERT INTO tsigkeys (name, algorithm, secret) VALUES (?, ?, ?)",
            (("writer", _ALGORITHM, WRITER), ("reader", _ALGORITHM, READER)),
        )
        database.executemany(
            "INSERT INTO domainmetadata (domain_id, kind, content) VALUES (1, ?, ?)",
            (("TSIG-ALLOW-DNSUPDATE", "writer"), ("ALLOW-DNSUPDATE-FROM", "0.0.0.0/0")),
        )
        database.commit()
        (folder / "state" / "pdns.db").write_bytes(database.serialize())


def _unbound(folder: Path) -> None:
    root = folder.parents[1]
    (folder / "state" / "unbound.conf").write_text(_UNBOUND)
    (root / UNBOUND_INCLUDE.lstrip("/")).write_text("")
    # As on a host where unbound is installed, both know the configuration without being told.
    for name, option in (("unbound-checkconf", ""), ("unbound-control", "-c ")):
        wrapper = root / "usr" / "local" / "sbin" / name
        program = f"LD_LIBRARY_PATH={_FOLDER}/lib exec {_FOLDER}/sbin/{name}"
        wrapper.write_text(f'#!/bin/sh\n{program} {option}{_FOLDER}/state/unbound.conf "$@"\n')
        wrapper.chmod(0o755)


def _dnsmasq(folder: Path) -> None:
    (folder.parents[1] / HOSTS_FILE.lstrip("/")).write_text("10.87.9.9 elsewhere.internal\n")


def _coredns(folder: Path) -> None:
    program = binaries.ensure_name_server(lambda _what, _how: None)
    run(["cp", str(program), str(folder / "sbin" / "coredns")])
    (folder / "state" / "Corefile").write_text(_COREDNS)
    (folder.parents[1] / HOSTS_FILE.lstrip("/")).write_text("10.87.9.9 elsewhere.internal\n")


_SETUP: dict[str, Callable[[Path], None]] = {
    "bind": _bind,
    "knot": _knot,
    "powerdns": _powerdns,
    "unbound": _unbound,
    "dnsmasq": _dnsmasq,
    "coredns": _coredns,
}
