"""Many names for few hosts, so that a client can work on a thousand hosts and the lab only has to run a few.

Each name has its own address and its own line in known_hosts. One route of type `local` makes the kernel of a host
accept a whole block of addresses, and the sshd of that host answers on all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab import layout
from lab.errors import LabError
from lab.layout import current
from lab.machine import namespace_holder
from lab.machine.process import run
from lab.services import dns, hosts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.layout import Lab

_MAX_TARGETS = 32
_SSHD_CONFIG = "/etc/ssh/sshd_config.d/address-aliases.conf"


def add(count: int, targets: Sequence[str]) -> list[str]:
    """Create the names n0001, n0002, … n<count> for the target hosts, in rotation. Returns the names."""
    per_target = (1 << (32 - layout.ALIAS_BLOCK_LENGTH)) - 2
    if not 1 <= count <= min(per_target * len(targets), 9999) or len(targets) > _MAX_TARGETS:
        raise LabError(
            f"{count} aliases for {len(targets)} hosts: use up to {_MAX_TARGETS} hosts, and up to {per_target} "
            "aliases for each"
        )
    remove()
    lab = current()
    blocks = [layout.alias_block(index) for index in range(len(targets))]
    host_keys = [_host_keys(lab, target) for target in targets]
    addresses: dict[str, str] = {}
    known_hosts = lab.home / ".ssh" / "known_hosts"
    lines = [known_hosts.read_text()]
    for index in range(count):
        name = f"n{index + 1:04}"
        row, column = divmod(index, len(targets))
        addresses[name] = str(blocks[column][row + 1])
        lines += [f"{name}.{layout.DOMAIN},{name} {key}\n" for key in host_keys[column]]
    for target, block in zip(targets, blocks, strict=True):
        # By default sshd refuses connections while ten logins are in progress. This one serves hundreds of names.
        hosts.run(
            target,
            f"ip route replace local {block} dev lo; echo MaxStartups 1000 > {_SSHD_CONFIG};"
            " systemctl reload ssh.service",
        )
        run(namespace_holder.nsenter(lab, "ip", "route", "replace", str(block), "via", layout.address(target)))
    known_hosts.write_text("".join(lines))
    dns.set_aliases(addresses)
    return list(addresses)


def remove() -> bool:
    """Undo `add`. Returns whether there were any aliases."""
    lab = current()
    known_hosts = lab.home / ".ssh" / "known_hosts"
    lines = known_hosts.read_text().splitlines(keepends=True)
    if not any(line.startswith("n0001.") for line in lines):
        return False
    known_hosts.write_text("".join(line for line in lines if not line.startswith("n")))
    dns.set_aliases({})
    for host in hosts.names():
        undo = f"[ ! -e {_SSHD_CONFIG} ] || {{ rm {_SSHD_CONFIG}; systemctl reload ssh.service; }}"
        hosts.run(host, f"{undo}; ip route flush table local root {layout.ALIAS_NETWORK}", check=False)
    run(namespace_holder.nsenter(lab, "ip", "route", "flush", "root", layout.ALIAS_NETWORK))
    return True


def _host_keys(lab: Lab, host: str) -> list[str]:
    lines = (lab.home / ".ssh" / "known_hosts").read_text().splitlines()
    return [line.split(" ", 1)[1] for line in lines if line.startswith(f"{layout.fqdn(host)},")]
