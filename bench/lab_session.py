"""A lab that exists only for the benchmark: it is brought up before, and taken down however the benchmark ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lab import layout
from lab.cli import teardown, up
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_LAB_NAME = "meshbench"
# Ansible runs Python on the hosts; no other contender needs it there.
_EXTRA_PACKAGES = ("python3",)


@contextmanager
def lab(host_count: int) -> Iterator[layout.Lab]:
    """Bring up a lab for the block, and take it down after it, also after Ctrl-C, SIGTERM or SIGHUP."""
    os.environ.setdefault("MESHFAB_LAB_NAME", _LAB_NAME)
    bench_lab = layout.current()
    if (bench_lab.state / "operator.env").exists():
        raise LabError(f"lab {bench_lab.name} is up, and the benchmark needs a new one; run: inv lab.down")

    def stop(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    up.bring_up(host_count, owner=os.getpid(), extra_packages=_EXTRA_PACKAGES)
    handlers = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield bench_lab
    finally:
        for number in (signal.SIGINT, *handlers):
            signal.signal(number, signal.SIG_IGN)  # a second signal must not interrupt the teardown
        teardown.take_down()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def run_module(bench_lab: layout.Lab, module: str, *args: str) -> None:
    """Run a module of this checkout as the operator of the lab.

    Raises:
        LabError: its exit status is not 0.
    """
    argv = [str(bench_lab.checkout / "lab" / "operator"), sys.executable, "-m", module, *args]
    status = subprocess.run(argv, cwd=bench_lab.checkout, check=False).returncode
    if status:
        raise LabError(f"{module} ended with exit status {status}")


def compile_python() -> None:
    """Compile our Python to bytecode, so that no run includes it. pip has compiled Ansible and pyinfra."""
    checkout = layout.current().checkout
    sources = [str(checkout / name) for name in ("meshfab", "lab", "bench", "tasks.py")]
    libraries = [path for path in sys.path if path.endswith("site-packages")]
    subprocess.run([sys.executable, "-m", "compileall", "-q", *sources, *libraries], check=False)
