"""A root shell on a host, with a time limit for everything: connecting, waiting, running."""

from __future__ import annotations

import time
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from meshfab.ssh.connection import connect_by_settings, ensure_jump_host_open, ensure_open
from meshfab.ssh.deadline import limit
from meshfab.ssh.jump_hosts import JumpHostPool
from meshfab.ssh.root_shell import RootShell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshfab.config.settings import Settings

# The time limit for one host, in seconds. A healthy host on a fast network takes a tenth of a second.
HOST_SECONDS = 30.0
# The time limit of each step of connecting: TCP, SSH banner, authentication. They follow each other.
_STEP_SECONDS = 10


@contextmanager
def shell_within(
    host: str, settings: Settings, config: Any, seconds: float, jumps: JumpHostPool | None = None
) -> Iterator[RootShell]:
    """Open a root shell on a host; it is closed when the time limit expires, whatever it waits for.

    Args:
        host: the host to connect to.
        settings: the mesh's conventions.
        config: the Invoke or Fabric configuration to use; None for Fabric's defaults.
        seconds: the time limit, jump hosts included.
        jumps: the pool of jump hosts to share with other hosts; None opens jump hosts for this host only.

    Raises:
        LostError: the time limit expired.
        ConnectError: the host cannot be reached or logged in to.
    """
    start = time.monotonic()
    with nullcontext(jumps) if jumps else JumpHostPool() as pool:
        c = connect_by_settings(host, settings, config, pool)
        c.connect_timeout = min(c.connect_timeout or _STEP_SECONDS, _STEP_SECONDS)
        c.connect_kwargs.update(banner_timeout=_STEP_SECONDS, auth_timeout=_STEP_SECONDS, channel_timeout=_STEP_SECONDS)
        ensure_jump_host_open(c, seconds)
        with limit(c, max(seconds - (time.monotonic() - start), 0.001)), c:
            ensure_open(c)
            with RootShell(c, timeout=seconds) as shell:
                yield shell
