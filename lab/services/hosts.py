"""The hosts as a test uses them: commands as root without SSH, and the state of their files."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from lab.errors import LabError
from lab.layout import current
from lab.machine import host_list, machine
from lab.machine.process import CLEAN_ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lab.machine.platforms import Platform

_ACL = "system.posix_acl_access"


def run(
    host: str,
    command: str | Sequence[str],
    *,
    input: str | None = None,  # noqa: A002 - the name that subprocess.run uses
    check: bool = True,
    timeout: float | None = 300,
) -> subprocess.CompletedProcess[str]:
    """Run a shell command line, or a list of arguments, as root on a host."""
    argv = ["sh", "-c", command] if isinstance(command, str) else list(command)
    done = subprocess.run(
        enter(host, argv),
        input=input or "",
        capture_output=True,
        text=True,
        env=CLEAN_ENVIRONMENT,
        timeout=timeout,
        check=False,
    )
    if check and done.returncode:
        lines = done.stderr.strip().splitlines() or ["(no output)"]
        raise LabError(f"{host}: exit status {done.returncode}: {lines[-1]}")
    return done


def enter(host: str, argv: Sequence[str]) -> list[str]:
    """The command line that runs `argv` in all namespaces of a host."""
    namespaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd"]
    return ["nsenter", f"--target={leader(host)}", *namespaces, "--", *argv]


def names() -> list[str]:
    """The names of the lab's hosts, up or down."""
    return list(platforms_by_host())


def platforms_by_host() -> dict[str, Platform]:
    """The platform of each host of the lab, up or down."""
    return host_list.read(current())


def root(host: str) -> Path:
    """The host's root folder, as this process can open it. Do not follow absolute symbolic links below it."""
    return Path(f"/proc/{leader(host)}/root")


def describe_files(host: str, folders: Iterable[str] = ("/etc", "/usr/local")) -> dict[str, str]:
    """Mode, owner, ACL and content hash of every file below the folders, by its path."""
    top = os.fspath(root(host))
    descriptions: dict[str, str] = {}
    for folder in folders:
        for path in _walk(top + folder):
            description = _describe(path)
            if description is not None:
                descriptions[path[len(top) :]] = description
    return descriptions


def checksum(host: str, folders: Iterable[str] = ("/etc", "/usr/local")) -> str:
    """One hash of `describe_files`; it is the same as long as no file changes."""
    return hashlib.sha256(repr(sorted(describe_files(host, folders).items())).encode()).hexdigest()


def address(host: str) -> str:
    """The mesh address of a host."""
    return host_list.address(current(), host)


def leader(host: str) -> int:
    """The host's PID 1, by its number on this machine."""
    pid = machine.leader(current(), host)
    if pid is None:
        raise LabError(f"{host} is not up; run: inv lab.status")
    return pid


def _walk(top: str) -> Iterable[str]:
    yield top
    for folder, folders, files in os.walk(top):
        for name in (*folders, *files):
            yield f"{folder}/{name}"


def _describe(path: str) -> str | None:
    try:
        status = os.lstat(path)
        kind = stat.S_IFMT(status.st_mode)
        content = ""
        if kind == stat.S_IFLNK:
            content = str(Path(path).readlink())
        elif kind == stat.S_IFREG:
            content = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        acl = "" if kind == stat.S_IFLNK else _acl(path)
    except FileNotFoundError:
        return None
    return f"{status.st_mode:o} {status.st_uid}:{status.st_gid} {acl} {content}"


def _acl(path: str) -> str:
    try:
        return os.getxattr(path, _ACL).hex()
    except OSError:
        return ""
