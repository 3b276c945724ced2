"""The hosts as a test looks at them: root commands without SSH, and what their files hold."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from lab import layout
from lab.errors import LabError
from lab.layout import current
from lab.machine import machine
from lab.machine.process import PLAIN

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_ACL = "system.posix_acl_access"


def run(
    host: str,
    command: str | Sequence[str],
    *,
    input: str | None = None,  # noqa: A002 - subprocess.run's own word
    check: bool = True,
    timeout: float | None = 60,
) -> subprocess.CompletedProcess[str]:
    """Run a shell line, or an argument list, as root on a host."""
    argv = ["sh", "-c", command] if isinstance(command, str) else list(command)
    done = subprocess.run(
        enter(host, argv),
        input=input or "",
        capture_output=True,
        text=True,
        env=PLAIN,
        timeout=timeout,
        check=False,
    )
    if check and done.returncode:
        lines = done.stderr.strip().splitlines() or ["(it printed nothing)"]
        raise LabError(f"{host}: exit status {done.returncode}: {lines[-1]}")
    return done


def enter(host: str, argv: Sequence[str]) -> list[str]:
    """The command line that runs `argv` among the host's own processes."""
    inner = machine.leader(current(), host)
    if inner is None:
        raise LabError(f"{host} is not up; run: inv lab.status")
    namespaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd"]
    return ["nsenter", f"--target={inner}", *namespaces, "--", *argv]


def names() -> list[str]:
    """The hosts of the lab, up or down."""
    return (current().state / "hosts.txt").read_text().split()


def root(host: str) -> Path:
    """The host's root folder as this process can open it; absolute links lead astray."""
    inner = machine.leader(current(), host)
    if inner is None:
        raise LabError(f"{host} is not up; run: inv lab.status")
    return Path(f"/proc/{inner}/root")


def describe_files(host: str, folders: Iterable[str] = ("/etc", "/usr/local")) -> dict[str, str]:
    """What every file below the folders is: kind, mode, owner, ACL and content, by its path."""
    top = os.fspath(root(host))
    found: dict[str, str] = {}
    for folder in folders:
        for path in _walk(top + folder):
            described = _describe(path)
            if described is not None:
                found[path[len(top) :]] = described
    return found


def checksum(host: str, folders: Iterable[str] = ("/etc", "/usr/local")) -> str:
    """One word for `describe_files`: equal as long as nothing changed."""
    table = sorted(describe_files(host, folders).items())
    return hashlib.sha256(repr(table).encode()).hexdigest()


def address(host: str) -> str:
    """The mesh address of a host."""
    return layout.address(host)


def _walk(top: str) -> Iterable[str]:
    yield top
    for folder, folders, files in os.walk(top):
        for name in (*folders, *files):
            yield f"{folder}/{name}"


def _describe(path: str) -> str | None:
    try:
        found = os.lstat(path)
        kind = stat.S_IFMT(found.st_mode)
        what = ""
        if kind == stat.S_IFLNK:
            what = str(Path(path).readlink())
        elif kind == stat.S_IFREG:
            what = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        acl = "" if kind == stat.S_IFLNK else _acl(path)
    except FileNotFoundError:
        return None
    return f"{found.st_mode:o} {found.st_uid}:{found.st_gid} {acl} {what}"


def _acl(path: str) -> str:
    try:
        return os.getxattr(path, _ACL).hex()
    except OSError:
        return ""
