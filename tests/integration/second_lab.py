"""A second lab beside the one that the tests run in, brought up and taken down from outside."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lab import layout
from lab.machine import cgroups

if TYPE_CHECKING:
    import signal

CHECKOUT = Path(__file__).resolve().parents[2]
NAME = f"{layout.current().name}-2"
LAB = layout.Lab(NAME, CHECKOUT)


def outside(*argv: str) -> list[str]:
    """A command line that runs where whoever started these tests is: in no lab."""
    there = _outer()
    # A shell that runs pytest in the background may have it ignore Ctrl-C, and so its children.
    audible = ["env", "--default-signal=INT"]
    return [*audible, "nsenter", f"--net={there}/net", f"--mount={there}/mnt", f"--wdns={CHECKOUT}", "--", *argv]


def inv(*args: str, name: str = NAME) -> subprocess.CompletedProcess[str]:
    """`inv` outside of any lab, for the second one."""
    return subprocess.run(
        _command(*args), env=_environment(name), capture_output=True, text=True, timeout=60, check=False
    )


def interrupt(number: signal.Signals, moment: str) -> str:
    """Start to bring it up and send a signal once a line that starts so is there; what was said."""
    running = subprocess.Popen(
        _command("lab.up", "--hosts", "1"),
        env=_environment(NAME),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said = ""
    assert running.stdout is not None
    with running:
        for line in running.stdout:
            said += line
            if line.startswith(moment):
                running.send_signal(number)
    return said


def remains() -> list[str]:
    """Whatever there is of it: files, namespace, control groups, mounts, processes."""
    found = [str(path) for path in (LAB.state, LAB.namespace, LAB.resolver.parent) if path.exists()]
    found += map(str, cgroups.members(LAB))
    mounts = Path(f"{_outer().parent}/mounts").read_text()
    found += [line for line in mounts.splitlines() if f"/{NAME}/" in line or f"/{NAME} " in line]
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if f"/{NAME}/" in process.read_text():
                found.append(str(process))
        except OSError:
            continue
    return found


def machine() -> dict[str, str]:
    """What a lab may not change of the machine: its links, routes, rules, mounts and resolver."""
    commands = ["ip -o address", "ip route show table all", "ip rule", "nft list ruleset"]
    commands += ["cat /etc/resolv.conf /etc/hosts /etc/passwd", "grep -v /run/netns /proc/mounts"]
    return {one: subprocess.check_output(outside("sh", "-c", one), text=True) for one in commands}


def _command(*args: str) -> list[str]:
    return outside(str(Path(sys.executable).with_name("inv")), *args)


def _environment(name: str) -> dict[str, str]:
    return {**os.environ, "MESHFAB_LAB_NAME": name, "HOME": "/root"}


def _outer() -> Path:
    """The namespaces of the nearest ancestor that is not in the network of the lab."""
    inside, pid = Path("/proc/self/ns/net"), os.getppid()
    while inside.samefile(f"/proc/{pid}/ns/net"):
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return Path(f"/proc/{pid}/ns")
