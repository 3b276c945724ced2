"""The lab's namespaces: a network of its own, and mounts that nothing outside can see.

A keeper process holds the mount namespace. Every overlay lives in there alone, so that the end of
the lab's processes is the end of its mounts, whatever ended them.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from lab import layout
from lab.errors import LabError
from lab.machine.process import recorded, run, spawn, started, wait_until

if TYPE_CHECKING:
    from lab.layout import Lab

_PASSWD = Path("/etc/passwd")


def pid(lab: Lab) -> int:
    """The keeper's process."""
    found = recorded(lab.pids / "keeper")
    if found is None:
        raise LabError(f"lab {lab.name} is not up; run: inv lab.up")
    return found


def inside(lab: Lab, *argv: str) -> list[str]:
    """A command line that runs `argv` in the lab's network and mounts."""
    keeper = pid(lab)
    return ["nsenter", f"--net=/proc/{keeper}/ns/net", f"--mount=/proc/{keeper}/ns/mnt", *argv]


def seen(lab: Lab, path: Path) -> Path:
    """A path in the lab's mount namespace, as any other process can open it."""
    return Path(f"/proc/{pid(lab)}/root{path}")


def start(lab: Lab) -> None:
    """Make the network namespace and the keeper, with the operator's resolver and login in it."""
    # The first line tells whose lab it is: the name is the machine's, checkouts can be several.
    resolver = f"# {lab.checkout}\nnameserver {layout.OPERATOR_ADDRESS}\n"
    lab.resolver.parent.mkdir(parents=True, exist_ok=True)
    lab.resolver.write_text(resolver)
    run(["ip", "netns", "add", lab.name])
    (lab.state / "resolv.conf").write_text(resolver)
    (lab.state / "passwd").write_text(_passwd(lab))
    lab.hosts.mkdir()
    commands = [
        # systemd-nspawn keeps files here by the machine's name, and every lab has an h1; on some
        # machines /run is a disk besides, which nspawn will not tidy up.
        ["mkdir", "-p", "/run/systemd/nspawn"],
        ["mount", "-t", "tmpfs", "-o", "mode=0755", "lab", "/run/systemd/nspawn"],
        ["mount", "-t", "tmpfs", "-o", "mode=0755,size=90%", "lab", str(lab.hosts)],
        ["mount", "--bind", str(lab.state / "resolv.conf"), os.path.realpath("/etc/resolv.conf")],
        ["mount", "--bind", str(lab.state / "passwd"), str(_PASSWD)],
    ]
    script = " && ".join(map(shlex.join, commands)) + " && exec sleep infinity"
    unshare = ["unshare", "--mount", "--propagation=slave", "sh", "-c", script]
    argv = ["nsenter", f"--net={lab.namespace}", *unshare]
    keeper = spawn(argv, lab.logs / "keeper", lab.pids / "keeper")
    wait_until(lambda: _holds(lab, keeper), f"the keeper of lab {lab.name}", 10)


def _holds(lab: Lab, keeper: int) -> bool:
    if started(keeper) is None:
        lines = (lab.logs / "keeper").read_text().splitlines() or ["no word why"]
        raise LabError(f"the lab's namespaces: {lines[-1]}; see {lab.logs / 'keeper'}")
    return Path(f"/proc/{keeper}/cmdline").read_bytes().startswith(b"sleep\0")


def _passwd(lab: Lab) -> str:
    """The machine's accounts with root's home moved: OpenSSH asks for this file, not for $HOME."""
    lines = []
    for line in _PASSWD.read_text().splitlines():
        fields = line.split(":")
        if fields[0] == "root" and len(fields) == 7:
            fields[5] = str(lab.home)
        lines.append(":".join(fields))
    return "\n".join(lines) + "\n"
