"""Commands that end, daemons that stay, and how to be sure that they are gone."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PLAIN = {"PATH": SYSTEM_PATH, "HOME": "/root", "LANG": "C.UTF-8"}


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> str:
    """Run a command to its end and return what it printed; a failure is one line."""
    try:
        done = subprocess.run(
            argv,
            input=stdin or "",
            capture_output=True,
            text=True,
            env=env,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError:
        raise LabError(f"{argv[0]}: no such command; install it, or put it on PATH") from None
    except subprocess.TimeoutExpired:
        raise LabError(f"{argv[0]}: no end after {timeout} s") from None
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["(it printed nothing)"]
        raise LabError(f"{os.fspath(argv[0])}: exit status {done.returncode}: {lines[-1]}")
    return done.stdout


def spawn(argv: list[str], log: Path, pid_file: Path, env: Mapping[str, str] | None = None) -> int:
    """Start a daemon in a session of its own, with its output in `log`.

    Plain posix_spawn: a Popen object would warn when it is dropped while its process lives.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    pid_file.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    pid = os.posix_spawnp(
        argv[0],
        argv,
        dict(PLAIN if env is None else env),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.fspath(log), flags, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigmask=(),
        setsigdef=(signal.SIGINT, signal.SIGTERM, signal.SIGPIPE),
    )
    pid_file.write_text(f"{pid} {started(pid)}\n")
    return pid


def started(pid: int) -> int | None:
    """When a process started, in the kernel's ticks; None if it is dead or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def recorded(pid_file: Path) -> int | None:
    """The living process of a pid file; None if it is gone, even if its number is in use again."""
    try:
        pid, _, start = pid_file.read_text().partition(" ")
        return int(pid) if started(int(pid)) == int(start) else None
    except (OSError, ValueError):
        return None


def everyone() -> Iterable[int]:
    """Every process of the machine that can be seen from here."""
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def children(pid: int) -> list[int]:
    """The processes that a process has started and not yet seen end."""
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def send(pids: Iterable[int], number: signal.Signals | int) -> None:
    """Send a signal to processes, of which some may be gone."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that is our own child is reaped as well."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return started(pid) is None


def wait_until(question: Callable[[], bool], what: str, seconds: float, pause: float = 0.01) -> None:
    """Ask until the answer is yes, or say what did not happen in time."""
    end = time.monotonic() + seconds
    while not question():
        if time.monotonic() > end:
            raise LabError(f"{what}: not within {seconds:g} s")
        time.sleep(pause)
