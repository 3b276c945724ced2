"""A root shell on a host within a deadline."""

from __future__ import annotations

import time
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from meshfab.ssh.connection import connect, opened, pass_through
from meshfab.ssh.deadline import limit
from meshfab.ssh.jump_hosts import JumpHostPool
from meshfab.ssh.root_shell import RootShell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshfab.config.settings import Settings

# The time limit for one host. A healthy one takes a tenth of a second; behind a slow line, a few tenths.
HOST_SECONDS = 30.0
# The time limit of each step of connecting; up to three of them can follow each other.
_STEP_SECONDS = 10


@contextmanager
def shell_within(
    host: str, settings: Settings, config: Any, seconds: float, jumps: JumpHostPool | None = None
) -> Iterator[RootShell]:
    """A root shell on a host, which is closed when the time is up, whatever it waits for.

    Args:
        host: the host to connect to.
        settings: the mesh's conventions.
        config: the Invoke or Fabric configuration to carry on.
        seconds: the time limit, jump hosts included.
        jumps: the pool that is shared with other hosts; None opens jump hosts for this host alone.

    Raises:
        LostError: the time was up.
        ConnectError: the host cannot be reached or logged in to.
    """
    began, accept_new = time.monotonic(), settings.host_keys == "accept-new"
    with nullcontext(jumps) if jumps else JumpHostPool() as shared:
        c = connect(host, config, ssh_config=settings.ssh_config, accept_new=accept_new, jumps=shared)
        c.connect_timeout = min(c.connect_timeout or _STEP_SECONDS, _STEP_SECONDS)
        c.connect_kwargs.update(banner_timeout=_STEP_SECONDS, auth_timeout=_STEP_SECONDS, channel_timeout=_STEP_SECONDS)
        pass_through(c, seconds)
        with limit(c, max(seconds - (time.monotonic() - began), 0.001)), c:
            opened(c)
            with RootShell(c, timeout=seconds) as shell:
                yield shell
