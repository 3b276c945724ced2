"""check-certs as calls that any `concurrent.futures.Executor` can make, in this process or in another one.

Only plain values leave the process: names, settings, reports. No connection, no password, no key.
"""

from __future__ import annotations

import dataclasses
import os
import pickle
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from meshfab.config import inventory
from meshfab.errors import MeshfabError
from meshfab.fleet import portable_config
from meshfab.ssh.jump_hosts import JumpHostPool
from meshfab.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from meshfab.checks.report import HostReport, Look
    from meshfab.config.settings import Settings
    from meshfab.ssh.session import KeptShells

    RemoteCall = Callable[[], tuple[HostReport, ...]]


@dataclass(frozen=True)
class CheckContext:
    """What all calls of one check have in common when they are made in other processes.

    Attributes:
        version: the caller's version of meshfab.
        number: identifies the check.
        options: the options of the operator's configuration from `meshfab.fleet.portable_config`, pickled.
        look: how closely to look.
    """

    version: str
    number: str
    options: bytes
    look: Look = "full"


def split(
    hosts: Sequence[str],
    settings: Settings,
    config: Any,
    executor: Executor,
    jumps: JumpHostPool,
    look: Look = "full",
    shells: KeptShells | None = None,
) -> Iterator[tuple[tuple[str, ...], RemoteCall]]:
    """Yield the calls to make, each with its hosts. A call contains only the services that its hosts have.

    Args:
        hosts: the hosts to check.
        settings: the mesh's conventions.
        config: an Invoke or Fabric configuration, or None.
        executor: where the calls will be made; its `hosts_per_call`, if it has that, is the size of a call.
        jumps: the connections to jump hosts that threads share.
        look: how closely to look.
        shells: the shells that threads keep open between rounds.
    """
    declarations = inventory.declarations_by_host(settings)

    def settings_of(part: Sequence[str]) -> Settings:
        services = {name: options for host in part for name, options in declarations.get(host, {}).items()}
        return dataclasses.replace(settings, hosts=(), services=services)

    if isinstance(executor, ThreadPoolExecutor):
        for host in hosts:
            yield (host,), partial(check_here, host, settings_of((host,)), config, jumps, look, shells)
        return
    context = CheckContext(__version__, os.urandom(16).hex(), pickle.dumps(portable_config.packed(config)[0]), look)
    size = getattr(executor, "hosts_per_call", 1)
    for start in range(0, len(hosts), size):
        part = tuple(hosts[start : start + size])
        yield part, partial(check_hosts, part, settings_of(part), context)


def check_here(
    host: str,
    settings: Settings,
    config: Any,
    jumps: JumpHostPool,
    look: Look = "full",
    shells: KeptShells | None = None,
) -> tuple[HostReport, ...]:
    """Check one host, in this process."""
    from meshfab.fleet.host_check import check_host

    return (check_host(host, settings, config, jumps=jumps, look=look, shells=shells),)


def check_hosts(hosts: Sequence[str], settings: Settings, context: CheckContext) -> tuple[HostReport, ...]:
    """Check several hosts, in another process or on another machine. Arguments and reports are plain values.

    Args:
        hosts: the hosts to check, up to `settings.parallel` at once.
        settings: the mesh's conventions, and the services of these hosts.
        context: what all calls of the check have in common.

    Raises:
        MeshfabError: the caller has another version of meshfab.
    """
    from meshfab.fleet.host_check import check_host

    if context.version != __version__:
        what = f"the worker has meshfab {__version__}, and not {context.version}"
        raise MeshfabError(what, remedy="install the same version on both sides")
    jumps, config = _shared(context)
    if len(hosts) == 1:
        return (check_host(hosts[0], settings, config, jumps=jumps, look=context.look),)
    with (
        JumpHostPool() as jumps_of_call,
        ThreadPoolExecutor(min(settings.parallel, len(hosts)), thread_name_prefix="host") as pool,
    ):
        check = partial(check_host, settings=settings, config=config, jumps=jumps_of_call, look=context.look)
        return tuple(pool.map(check, hosts))


@lru_cache(maxsize=2)
def _shared(context: CheckContext) -> tuple[JumpHostPool, Any]:
    """Return what calls with one host share in this process; paramiko closes connections that are not referenced."""
    return JumpHostPool(), portable_config.unpacked(pickle.loads(context.options))  # noqa: S301  # from our own caller
