"""A second lab next to the one that the tests run in. It is brought up and taken down from outside of any lab."""

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
    """The command line that runs `argv` in the namespaces of the process that started these tests: in no lab."""
    namespaces = _outer_namespaces()
    # If a shell runs pytest in the background, pytest and its children may ignore SIGINT.
    env = ["env", "--default-signal=INT"]
    nsenter = ["nsenter", f"--net={namespaces}/net", f"--mount={namespaces}/mnt", f"--wdns={CHECKOUT}"]
    return [*env, *nsenter, "--", *argv]


def inv(*args: str, name: str = NAME) -> subprocess.CompletedProcess[str]:
    """Run `inv` outside of any lab, for the second one."""
    return subprocess.run(
        _command(*args), env=_environment(name), capture_output=True, text=True, timeout=300, check=False
    )


def interrupt(number: signal.Signals, line_start: str) -> str:
    """Start `lab.up`, and send it a signal after the line that starts like this. Returns its output."""
    running = subprocess.Popen(
        _command("lab.up", "--hosts", "1"),
        env=_environment(NAME),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    output = ""
    assert running.stdout is not None
    with running:
        for line in running.stdout:
            output += line
            if line.startswith(line_start):
                running.send_signal(number)
    return output


def remains() -> list[str]:
    """What exists of the second lab: files, namespace, control groups, mounts, processes."""
    results = [str(path) for path in (LAB.state, LAB.namespace, LAB.resolver.parent) if path.exists()]
    results += map(str, cgroups.members(LAB))
    mounts = Path(f"{_outer_namespaces().parent}/mounts").read_text()
    results += [line for line in mounts.splitlines() if f"/{NAME}/" in line or f"/{NAME} " in line]
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if f"/{NAME}/" in process.read_text():
                results.append(str(process))
        except OSError:
            continue
    return results


def machine() -> dict[str, str]:
    """What a lab must not change on the machine: its links, routes, rules, mounts and resolver."""
    commands = ["ip -o address", "ip route show table all", "ip rule", "nft list ruleset"]
    commands += ["cat /etc/resolv.conf /etc/hosts /etc/passwd", "grep -v /run/netns /proc/mounts"]
    return {command: subprocess.check_output(outside("sh", "-c", command), text=True) for command in commands}


def _command(*args: str) -> list[str]:
    return outside(str(Path(sys.executable).with_name("inv")), *args)


def _environment(name: str) -> dict[str, str]:
    return {**os.environ, "MESHFAB_LAB_NAME": name, "HOME": "/root"}


def _outer_namespaces() -> Path:
    """The namespaces of the nearest ancestor process that is not in the network namespace of the lab."""
    inside, pid = Path("/proc/self/ns/net"), os.getppid()
    while inside.samefile(f"/proc/{pid}/ns/net"):
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return Path(f"/proc/{pid}/ns")
