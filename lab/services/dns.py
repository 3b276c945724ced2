"""The mesh's split-horizon DNS: a dnsmasq that answers for the mesh's names and forwards no query."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab import layout
from lab.errors import LabError
from lab.layout import Lab, current
from lab.machine import cache, host_list, namespace_holder
from lab.machine.process import is_gone, running_pid, send_signal, spawn, wait_until

if TYPE_CHECKING:
    from pathlib import Path

_SIGHUP, _SIGKILL = 1, 9
_ALIAS_COMMENT = " # alias"


def start(lab: Lab, hosts: list[str]) -> None:
    """Start the DNS server with the names of the CA and of the hosts."""
    lines = [f"{layout.CA_ADDRESS} ca.{layout.DOMAIN}"]
    if host_list.needs_ipv6(lab):
        lines.append(f"{layout.CA_IPV6} ca.{layout.DOMAIN}")
    lines += [f"{host_list.address(lab, host)} {layout.fqdn(host)}" for host in hosts]
    _host_file(lab).write_text("\n".join(lines) + "\n")
    _service_file(lab).touch()
    _launch(lab)


def forward(server: str | None) -> None:
    """Ask this server for the names of the domain that are in none of the files; None asks nobody."""
    lab = current()
    with cache.locked(lab.state / "dns.lock"):
        if (running := running_pid(lab.pids / "dns")) is not None:
            send_signal([running], _SIGKILL)
            wait_until(lambda: is_gone(running), "the DNS server to stop", 60)
        _launch(lab, *([f"--server=/{layout.DOMAIN}/{server}"] if server else []))


def _launch(lab: Lab, *more: str) -> None:
    before = _files_read(lab)
    argv = namespace_holder.nsenter(
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
        f"--listen-address={layout.OPERATOR_IPV6}",
        "--no-resolv",
        "--no-hosts",
        "--cache-size=0",
        # A name that is not in the files below does not exist. No query is forwarded.
        "--address=/#/",
        f"--addn-hosts={_host_file(lab)}",
        f"--addn-hosts={_service_file(lab)}",
        *more,
    )
    spawn(argv, lab.logs / "dns", lab.pids / "dns")
    wait_until(lambda: _files_read(lab) > before, f"the DNS server to start; see {lab.logs / 'dns'}", 60, 0.005)


def service_addresses() -> dict[str, str]:
    """The address of each service name."""
    lines = [line.split() for line in _service_file(current()).read_text().splitlines()]
    return {fqdn: address for address, fqdn in lines}


def point(name: str, host: str) -> bool:
    """Make `<name>.internal` resolve to a host, whatever it resolved to before. Returns whether that is a change."""
    return _set_service_address(current(), name, host_list.address(current(), host))


def point_at(name: str, address: str) -> bool:
    """Make `<name>.internal` resolve to an address, such as a second one of a host. Returns whether it changed."""
    return _set_service_address(current(), name, address)


def add_address(name: str, address: str) -> None:
    """Give `<name>.internal` one more address; `point` and `point_at` take it away again."""
    lab = current()
    with cache.locked(lab.state / "dns.lock"):
        path = _service_file(lab)
        path.write_text(f"{path.read_text()}{address} {name}.{layout.DOMAIN}\n")
        _reload(lab)


def unpoint(name: str) -> bool:
    """Remove `<name>.internal` from the DNS. Returns whether it was there."""
    return _set_service_address(current(), name, None)


def set_aliases(addresses: dict[str, str]) -> None:
    """Replace the names of all address aliases; an empty dictionary removes them."""
    lab = current()
    path = _host_file(lab)
    lines = [line for line in path.read_text().splitlines() if not line.endswith(_ALIAS_COMMENT)]
    lines += [f"{address} {name}.{layout.DOMAIN}{_ALIAS_COMMENT}" for name, address in addresses.items()]
    with cache.locked(lab.state / "dns.lock"):
        path.write_text("\n".join(lines) + "\n")
        _reload(lab)


def _host_file(lab: Lab) -> Path:
    return lab.state / "dns-hosts"


def _service_file(lab: Lab) -> Path:
    return lab.state / "dns-services"


def _set_service_address(lab: Lab, name: str, address: str | None) -> bool:
    fqdn = f"{name}.{layout.DOMAIN}"
    with cache.locked(lab.state / "dns.lock"):
        addresses = service_addresses()
        if addresses.get(fqdn) == address:
            return False
        addresses.pop(fqdn, None)
        if address is not None:
            addresses[fqdn] = address
        new = lab.state / "dns-services.new"
        new.write_text("".join(f"{address} {fqdn}\n" for fqdn, address in addresses.items()))
        new.rename(_service_file(lab))
        _reload(lab)
    return True


def _reload(lab: Lab) -> None:
    """Make the server read both files again, and wait until it has."""
    server = running_pid(lab.pids / "dns")
    if server is None:
        raise LabError(f"the DNS server of lab {lab.name} is not running; run: inv lab.down lab.up")
    before = _files_read(lab)
    send_signal([server], _SIGHUP)
    wait_until(lambda: _files_read(lab) >= before + 2, "the DNS server to read its files", 60, 0.002)


def _files_read(lab: Lab) -> int:
    """How many files the server has read since its start; it logs one line for each."""
    try:
        return (lab.logs / "dns").read_text().count(": read ")
    except FileNotFoundError:
        return 0
