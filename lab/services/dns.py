"""Split-horizon DNS: dnsmasq answers for the mesh's names and knows nobody to ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab import layout
from lab.errors import LabError
from lab.layout import Lab, current
from lab.machine import cache, namespace_holder
from lab.machine.process import recorded, send, spawn, wait_until

if TYPE_CHECKING:
    from pathlib import Path

_HANGUP = 1
_OF_CROWD = " # crowd"


def start(lab: Lab, hosts: list[str]) -> None:
    """Start the resolver with the CA's name and the hosts'."""
    lines = [f"{layout.CA_ADDRESS} ca.{layout.DOMAIN}"]
    lines += [f"{layout.address(host)} {layout.fqdn(host)}" for host in hosts]
    (lab.state / "names").write_text("\n".join(lines) + "\n")
    _services(lab).touch()
    argv = namespace_holder.inside(
        lab,
        "dnsmasq",
        "--conf-file=/dev/null",
        "--keep-in-foreground",
        "--log-facility=-",
        "--user=root",
        "--pid-file=",
        "--bind-interfaces",
        "--except-interface=lo",
        f"--listen-address={layout.OPERATOR_ADDRESS}",
        "--no-resolv",
        "--no-hosts",
        "--cache-size=0",
        # What is in no file below does not exist; nothing is ever asked of anybody else.
        "--address=/#/",
        f"--addn-hosts={lab.state / 'names'}",
        f"--addn-hosts={_services(lab)}",
    )
    spawn(argv, lab.logs / "dns", lab.pids / "dns")
    wait_until(lambda: _reads(lab) > 0, f"the mesh's DNS; see {lab.logs / 'dns'}", 10, 0.005)


def pointed() -> dict[str, str]:
    """Which address each service name has."""
    lines = [line.split() for line in _services(current()).read_text().splitlines()]
    return {name: address for address, name in lines}


def point(name: str, host: str) -> None:
    """Make `<name>.internal` resolve to a host; a name that is there already is moved."""
    lab = current()
    _change(lab, name, layout.address(host))


def unpoint(name: str) -> None:
    """Make `<name>.internal` unknown."""
    _change(current(), name, None)


def crowd(table: dict[str, str]) -> None:
    """Give the members of a crowd their names; an empty table takes them all back."""
    lab = current()
    file = lab.state / "names"
    own = [line for line in file.read_text().splitlines() if not line.endswith(_OF_CROWD)]
    added = [f"{address} {name}.{layout.DOMAIN}{_OF_CROWD}" for name, address in table.items()]
    with cache.locked(lab.state / "services.lock"):
        file.write_text("\n".join([*own, *added]) + "\n")
        _reload(lab)


def _services(lab: Lab) -> Path:
    return lab.state / "services"


def _change(lab: Lab, name: str, address: str | None) -> None:
    full = f"{name}.{layout.DOMAIN}"
    with cache.locked(lab.state / "services.lock"):
        table = pointed()
        if table.get(full) == address:
            return
        table.pop(full, None)
        if address is not None:
            table[full] = address
        new = lab.state / "services.new"
        new.write_text("".join(f"{address} {full}\n" for full, address in table.items()))
        new.rename(_services(lab))
        _reload(lab)


def _reload(lab: Lab) -> None:
    """Have the files read again, and come back when that is done."""
    resolver = recorded(lab.pids / "dns")
    if resolver is None:
        raise LabError(f"the DNS of lab {lab.name} is not running; run: inv lab.down lab.up")
    before = _reads(lab)
    send([resolver], _HANGUP)
    wait_until(lambda: _reads(lab) >= before + 2, "the mesh's DNS to read its names", 5, 0.002)


def _reads(lab: Lab) -> int:
    """How many files it has read so far: its log has one line for each."""
    try:
        return (lab.logs / "dns").read_text().count(": read ")
    except FileNotFoundError:
        return 0
