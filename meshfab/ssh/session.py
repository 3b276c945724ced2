"""A root shell on a host, with a time limit for everything: connecting, waiting, running."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from meshfab.errors import LostError
from meshfab.ssh.connection import connect_by_settings, ensure_jump_host_open, ensure_open
from meshfab.ssh.deadline import limit
from meshfab.ssh.jump_hosts import JumpHostPool
from meshfab.ssh.root_shell import RootShell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fabric import Connection

    from meshfab.config.settings import Settings

T = TypeVar("T")
# The time limit for one host, in seconds. A healthy host on a fast network takes a tenth of a second.
HOST_SECONDS = 30.0
# The time limit of each step of connecting: TCP, SSH banner, authentication. They follow each other.
_STEP_SECONDS = 10
# How often a connection without traffic shows that it is there, so that no firewall forgets it.
_KEEPALIVE_SECONDS = 30
# How long a host may take to let a kept shell end.
_CLOSE_SECONDS = 2.0


@contextmanager
def shell_within(
    host: str,
    settings: Settings,
    config: Any,
    seconds: float,
    jumps: JumpHostPool | None = None,
    *,
    as_root: bool = True,
) -> Iterator[RootShell]:
    """Open a root shell on a host; it is closed when the time limit expires, whatever it waits for.

    Args:
        host: the host to connect to.
        settings: the mesh's conventions.
        config: the Invoke or Fabric configuration to use; None for Fabric's defaults.
        seconds: the time limit, jump hosts included.
        jumps: the pool of jump hosts to share with other hosts; None opens jump hosts for this host only.
        as_root: False opens a shell of the login itself, without sudo.

    Raises:
        LostError: the time limit expired.
        ConnectError: the host cannot be reached or logged in to.
    """
    start = time.monotonic()
    with nullcontext(jumps) if jumps else JumpHostPool() as pool:
        c = _connection(host, settings, config, pool)
        ensure_jump_host_open(c, seconds)
        with limit(c, max(seconds - (time.monotonic() - start), 0.001)), _opened(c, seconds, as_root=as_root) as shell:
            yield shell


class KeptShells:
    """Shells that stay open from one round of checks to the next, one a host; use it as a context manager."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[RootShell, ExitStack]] = {}

    def __enter__(self) -> KeptShells:
        return self

    def __exit__(self, *_error: object) -> None:
        """Close all of them; the shells on the hosts end with their connections."""
        while self._open:
            _close(*self._open.popitem()[1])

    def call(
        self,
        host: str,
        settings: Settings,
        config: Any,
        seconds: float,
        jumps: JumpHostPool | None,
        use: Callable[[RootShell], T],
        *,
        as_root: bool = True,
    ) -> T:
        """Use the shell of a host within a time limit; one that broke since it was last used is opened again.

        Raises:
            LostError: the time limit expired.
            ConnectError: the host cannot be reached or logged in to.
        """
        kept = self._open.pop(host, None)
        if kept:
            try:
                return self._use(host, *kept, seconds, use)
            except LostError:
                pass
        stack = ExitStack()
        try:
            start = time.monotonic()
            pool = jumps or stack.enter_context(JumpHostPool())
            c = _connection(host, settings, config, pool)
            ensure_jump_host_open(c, seconds)
            with limit(c, max(seconds - (time.monotonic() - start), 0.001)):
                shell = stack.enter_context(_opened(c, seconds, as_root=as_root))
                c.transport.set_keepalive(_KEEPALIVE_SECONDS)
        except BaseException:
            stack.close()
            raise
        return self._use(host, shell, stack, max(seconds - (time.monotonic() - start), 0.001), use)

    def _use(self, host: str, shell: RootShell, stack: ExitStack, seconds: float, use: Callable[[RootShell], T]) -> T:
        try:
            with limit(shell.c, seconds):
                result = use(shell)
        except BaseException:
            # What the shell does now is not known.
            _close(shell, stack)
            raise
        self._open[host] = shell, stack
        return result


@contextmanager
def _opened(c: Connection, seconds: float, *, as_root: bool) -> Iterator[RootShell]:
    with c:
        ensure_open(c)
        with RootShell(c, timeout=seconds, as_root=as_root) as shell:
            yield shell


def _close(shell: RootShell, stack: ExitStack) -> None:
    """Close it, also where the host reads nothing: sending the last message then blocks."""
    with suppress(LostError), limit(shell.c, _CLOSE_SECONDS):
        stack.close()


def _connection(host: str, settings: Settings, config: Any, pool: JumpHostPool) -> Connection:
    c = connect_by_settings(host, settings, config, pool)
    c.connect_timeout = min(c.connect_timeout or _STEP_SECONDS, _STEP_SECONDS)
    c.connect_kwargs.update(banner_timeout=_STEP_SECONDS, auth_timeout=_STEP_SECONDS, channel_timeout=_STEP_SECONDS)
    return c
