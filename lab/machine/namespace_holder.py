"""The lab's network and mount namespaces, and the process that holds them.

One process stays in the lab's mount namespace as long as the lab is up. The overlay file systems of the hosts are
mounted in that namespace only, so the kernel unmounts them when the last process of the lab has ended, for any reason.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from lab import layout
from lab.errors import LabError
from lab.machine.process import run, running_pid, spawn, start_time, wait_until

if TYPE_CHECKING:
    from lab.layout import Lab

_PASSWD = Path("/etc/passwd")
_NAME = "namespace-holder"


def find_pid(lab: Lab) -> int | None:
    """The ID of the process that holds the namespaces; None if the lab is down."""
    return running_pid(lab.pids / _NAME)


def pid(lab: Lab) -> int:
    """The ID of the process that holds the namespaces; an error if the lab is down."""
    holder = find_pid(lab)
    if holder is None:
        raise LabError(f"lab {lab.name} is not up; run: inv lab.up")
    return holder


def nsenter(lab: Lab, *argv: str) -> list[str]:
    """The command line that runs `argv` in the lab's network and mount namespaces."""
    holder = pid(lab)
    return ["nsenter", f"--net=/proc/{holder}/ns/net", f"--mount=/proc/{holder}/ns/mnt", *argv]


def path_from_outside(lab: Lab, path: Path) -> Path:
    """The path by which a process outside the lab can open a path of the lab's mount namespace."""
    return Path(f"/proc/{pid(lab)}/root{path}")


def start(lab: Lab) -> None:
    """Create both namespaces, with the operator's resolver and home in them, and start the holder."""
    # The first line says which checkout the lab belongs to: the machine has one set of namespace names, and may have
    # several checkouts.
    resolver = f"# {lab.checkout}\nnameserver {layout.OPERATOR_ADDRESS}\n"
    lab.resolver.parent.mkdir(parents=True, exist_ok=True)
    lab.resolver.write_text(resolver)
    run(["ip", "netns", "add", lab.name])
    (lab.state / "resolv.conf").write_text(resolver)
    (lab.state / "passwd").write_text(_passwd(lab))
    lab.hosts.mkdir()
    commands = [
        # systemd-nspawn writes files here that are named after the host, and every lab has an h1. On some machines /run
        # is on a disk, and nspawn does not remove these files from it.
        ["mkdir", "-p", "/run/systemd/nspawn"],
        ["mount", "-t", "tmpfs", "-o", "mode=0755", "lab", "/run/systemd/nspawn"],
        ["mount", "-t", "tmpfs", "-o", "mode=0755,size=90%", "lab", str(lab.hosts)],
        ["mount", "--bind", str(lab.state / "resolv.conf"), os.path.realpath("/etc/resolv.conf")],
        ["mount", "--bind", str(lab.state / "passwd"), str(_PASSWD)],
    ]
    script = " && ".join(map(shlex.join, commands)) + " && exec sleep infinity"
    unshare = ["unshare", "--mount", "--propagation=slave", "sh", "-c", script]
    argv = ["nsenter", f"--net={lab.namespace}", *unshare]
    holder = spawn(argv, lab.logs / _NAME, lab.pids / _NAME)
    wait_until(lambda: _is_ready(lab, holder), f"the namespaces of lab {lab.name}", 60)


def _is_ready(lab: Lab, holder: int) -> bool:
    log = lab.logs / _NAME
    if start_time(holder) is None:
        lines = log.read_text().splitlines() or ["(no output)"]
        raise LabError(f"the namespaces of lab {lab.name} were not created: {lines[-1]}; see {log}")
    return Path(f"/proc/{holder}/cmdline").read_bytes().startswith(b"sleep\0")


def _passwd(lab: Lab) -> str:
    """/etc/passwd with the operator's home as root's home: OpenSSH reads it from there and ignores $HOME."""
    lines = []
    for line in _PASSWD.read_text().splitlines():
        fields = line.split(":")
        if fields[0] == "root" and len(fields) == 7:
            fields[5] = str(lab.home)
        lines.append(":".join(fields))
    return "\n".join(lines) + "\n"
