"""A lab of the benchmark's own, around whatever is measured in it: up before, down after, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lab import layout
from lab.cli import teardown
from lab.cli.up import bring_up
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_NAME = "meshbench"
# Ansible runs Python on the hosts; nothing else of the mesh does.
_MORE = ("python3",)


@contextmanager
def lab(count: int) -> Iterator[layout.Lab]:
    """Bring a lab up for the block, and take it down after it, after Ctrl-C and after a kill too."""
    os.environ.setdefault("MESHFAB_LAB_NAME", _NAME)
    ours = layout.current()
    if (ours.state / "operator.env").exists():
        raise LabError(f"lab {ours.name} is up: the benchmark wants one of its own; run: inv lab.down")

    def stop(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    bring_up(count, owner=os.getpid(), extra_packages=_MORE)
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield ours
    finally:
        for number in (signal.SIGINT, *before):
            signal.signal(number, signal.SIG_IGN)  # impatience must not leave half of it
        teardown.take_down()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number, handler in before.items():
            signal.signal(number, handler)


def inside(ours: layout.Lab, module: str, *words: str) -> None:
    """Run a module of this checkout as the operator of the lab.

    Raises:
        LabError: it did not end well.
    """
    argv = [str(ours.checkout / "lab" / "operator"), sys.executable, "-m", module, *words]
    status = subprocess.run(argv, cwd=ours.checkout, check=False).returncode
    if status:
        raise LabError(f"{module} ended with {status}")


def compile_all() -> None:
    """Spare every run, whoever's, the compiling of our Python; pip has compiled the rivals'."""
    checkout = layout.current().checkout
    ours = [str(checkout / name) for name in ("meshfab", "lab", "bench", "tasks.py")]
    libraries = [path for path in sys.path if path.endswith("site-packages")]
    subprocess.run([sys.executable, "-m", "compileall", "-q", *ours, *libraries], check=False)
