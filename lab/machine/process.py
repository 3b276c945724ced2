"""Processes: run a command, start a daemon, read pid files, send signals, wait for an event."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CLEAN_ENVIRONMENT = {"PATH": SYSTEM_PATH, "HOME": "/root", "LANG": "C.UTF-8"}


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> str:
    """Run a command, wait for its end and return its output. A failure raises an error of one line."""
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
        raise LabError(f"{argv[0]}: command not found; install it, or add it to PATH") from None
    except subprocess.TimeoutExpired:
        raise LabError(f"{argv[0]}: still running after {timeout} s") from None
    _raise_if_failed(argv, done.returncode, done.stderr or done.stdout)
    return done.stdout


def _raise_if_failed(argv: Sequence[str | os.PathLike[str]], status: int, output: str) -> None:
    if status:
        lines = output.strip().splitlines() or ["(no output)"]
        raise LabError(f"{os.fspath(argv[0])}: exit status {status}: {lines[-1]}")


@contextlib.contextmanager
def running_beside(argv: Sequence[str], env: Mapping[str, str]) -> Iterator[None]:
    """Run a command beside the block, which waits for it at its end; it is killed if the block fails.

    A failure of the command raises an error of one line.
    """
    with tempfile.TemporaryFile("w+") as output:
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env)
        with child:
            try:
                yield
                child.wait()
            except BaseException:
                child.kill()
                raise
        output.seek(0)
        _raise_if_failed(argv, child.returncode, output.read())


def spawn(argv: list[str], log: Path, pid_file: Path, env: Mapping[str, str] | None = None) -> int:
    """Start a daemon in its own session, with its output in `log`, and return its process ID.

    It uses posix_spawn, because a Popen object warns when it is deleted while its process runs.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    pid_file.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    pid = os.posix_spawnp(
        argv[0],
        argv,
        dict(CLEAN_ENVIRONMENT if env is None else env),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.fspath(log), flags, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigmask=(),
        setsigdef=(signal.SIGINT, signal.SIGTERM, signal.SIGPIPE),
    )
    pid_file.write_text(f"{pid} {start_time(pid)}\n")
    return pid


def start_time(pid: int) -> int | None:
    """The start time of a process in clock ticks since boot; None if it is dead or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def running_pid(pid_file: Path) -> int | None:
    """The process ID in a pid file; None if that process has ended, even if its ID is in use again."""
    try:
        pid, _, start = pid_file.read_text().partition(" ")
        return int(pid) if start_time(int(pid)) == int(start) else None
    except (OSError, ValueError):
        return None


def all_pids() -> Iterable[int]:
    """The IDs of all processes that are visible in /proc."""
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def children(pid: int) -> list[int]:
    """The IDs of the child processes of all threads of a process."""
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # the thread may have ended meanwhile
            found += map(int, thread.read_text().split())
    return found


def send_signal(pids: Iterable[int], number: signal.Signals | int) -> None:
    """Send a signal to each process that still exists."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def is_gone(pid: int) -> bool:
    """Whether a process has ended. If it is a child of this process, it is reaped too."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return start_time(pid) is None


def wait_until(condition: Callable[[], bool], event: str, seconds: float, interval: float = 0.01) -> None:
    """Check a condition until it is true. After so many seconds, raise an error that names the event."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(f"timed out after {seconds:g} s waiting for {event}")
        time.sleep(interval)
