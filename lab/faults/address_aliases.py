"""A crowd: a thousand hosts as a thousand addresses of a few, each with a name and a line in known_hosts of its own.

The kernel takes a whole block of addresses for a host's own by one route, and the sshd of that host answers on all of
them. So the client has as many hosts to deal with as it would have on a mesh of that size, and the lab only a few.
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

_MOST_BEHIND = 32
_SSHD = "/etc/ssh/sshd_config.d/crowd.conf"


def gather(count: int, behind: Sequence[str]) -> list[str]:
    """Have the hosts `behind` answer to the names n0001, n0002, … n<count>, in turn; returns the names."""
    most = (1 << (32 - layout.CROWD_BLOCK_LENGTH)) - 2
    if not 1 <= count <= min(most * len(behind), 9999) or len(behind) > _MOST_BEHIND:
        raise LabError(
            f"a crowd of {count} behind {len(behind)} hosts: give up to {_MOST_BEHIND} hosts, {most} to each"
        )
    disperse()
    lab, table = current(), {}
    keys = {host: _keys(lab, host) for host in behind}
    blocks = [layout.crowd_block(index) for index in range(len(behind))]
    for at in range(count):
        table[f"n{at + 1:04}"] = str(blocks[at % len(behind)][at // len(behind) + 1])
    for host, block in zip(behind, blocks, strict=True):
        # sshd turns logins away while ten are under way; here it stands for hundreds of its kind.
        hosts.run(
            host,
            f"ip route replace local {block} dev lo; echo MaxStartups 1000 > {_SSHD}; systemctl reload ssh.service",
        )
        run(namespace_holder.inside(lab, "ip", "route", "replace", str(block), "via", layout.address(host)))
    known = lab.home / ".ssh" / "known_hosts"
    lines = [
        f"{name}.{layout.DOMAIN},{name} {key}"
        for at, name in enumerate(table)
        for key in keys[behind[at % len(behind)]]
    ]
    known.write_text(known.read_text() + "\n".join(lines) + "\n")
    dns.crowd(table)
    return list(table)


def disperse() -> None:
    """Undo `gather`."""
    lab = current()
    known = lab.home / ".ssh" / "known_hosts"
    lines = known.read_text().splitlines(keepends=True)
    if not any(line.startswith("n0001.") for line in lines):
        return
    known.write_text("".join(line for line in lines if not line.startswith("n")))
    dns.crowd({})
    for host in hosts.names():
        undo = f"[ ! -e {_SSHD} ] || {{ rm {_SSHD}; systemctl reload ssh.service; }}"
        hosts.run(host, f"{undo}; ip route flush table local root {layout.CROWD}", check=False)
    run(namespace_holder.inside(lab, "ip", "route", "flush", "root", layout.CROWD))


def _keys(lab: Lab, host: str) -> list[str]:
    lines = (lab.home / ".ssh" / "known_hosts").read_text().splitlines()
    return [line.split(" ", 1)[1] for line in lines if line.startswith(f"{layout.fqdn(host)},")]
