"""What happens on a host during a test, read from the kernel."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil

from lab.machine.process import wait_until
from lab.services import hosts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def traced(host: str, file: Path) -> Iterator[None]:
    """What every process of a host executes (with its environment), opens, reads and writes, from the kernel."""
    init = psutil.Process(hosts.leader(host))
    attach = [word for process in (init, *init.children(recursive=True)) for word in ("-p", str(process.pid))]
    calls = (
        "trace=execve,execveat,open,openat,openat2,creat,%network,read,readv,write,writev,pwrite64,link,linkat,rename"
    )
    argv = ["strace", "-f", "-v", "-s", "65536", "-e", calls, "-o", str(file), *attach]
    log = file.with_suffix(".log")
    with log.open("w") as said:
        strace = subprocess.Popen(argv, stderr=said)
    try:
        # A line for each process, whether it is attached or gone already.
        wait_until(lambda: log.read_text().count("\n") >= len(attach) // 2, "strace to be attached", 60)
        yield
    finally:
        strace.terminate()
        strace.wait(60)
