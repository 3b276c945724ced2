"""A sweep as calls that any `concurrent.futures.Executor` can make, in this process, in another or far away.

What leaves the process is plain: names, settings, reports. No connection, and no password or key.
"""

from __future__ import annotations

import dataclasses
import pickle
import uuid
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

    from meshfab.checks.report import HostReport
    from meshfab.config.settings import Settings

    RemoteCall = Callable[[], tuple[HostReport, ...]]


@dataclass(frozen=True)
class CheckContext:
    """What the calls of one sweep have in common when they are made elsewhere.

    Attributes:
        version: of meshfab, where the calls come from.
        number: tells the sweep from others.
        options: of the operator's configuration what `meshfab.fleet.portable_config` packed, pickled.
    """

    version: str
    number: str
    options: bytes


def of(
    names: Sequence[str], settings: Settings, config: Any, pool: Executor, jumps: JumpHostPool
) -> Iterator[tuple[tuple[str, ...], RemoteCall]]:
    """The calls to make, each with the hosts that it reports on; a call knows what is declared for its hosts only.

    Args:
        names: the hosts.
        settings: the mesh's conventions.
        config: an Invoke or Fabric configuration, or None.
        pool: where the calls will be made; `hosts_a_call`, if it has that, says how many hosts to put into one.
        jumps: what the calls share when they are made by threads.
    """
    shares = inventory.shares(settings)

    def share(part: Sequence[str]) -> Settings:
        mine = {name: said for host in part for name, said in shares.get(host, {}).items()}
        return dataclasses.replace(settings, hosts=(), services=mine)

    if isinstance(pool, ThreadPoolExecutor):
        for name in names:
            yield (name,), partial(check_here, name, share((name,)), config, jumps)
        return
    sweep = CheckContext(__version__, uuid.uuid4().hex, pickle.dumps(portable_config.packed(config)[0]))
    size = getattr(pool, "hosts_a_call", 1)
    for at in range(0, len(names), size):
        part = tuple(names[at : at + size])
        yield part, partial(check_hosts, part, share(part), sweep)


def check_here(name: str, settings: Settings, config: Any, jumps: JumpHostPool) -> tuple[HostReport, ...]:
    """One host, in this process."""
    from meshfab.fleet.host_check import check_host

    return (check_host(name, settings, config, jumps=jumps),)


def check_hosts(hosts: Sequence[str], settings: Settings, sweep: CheckContext) -> tuple[HostReport, ...]:
    """Several hosts, in another process or on another machine: plain values in, plain values out.

    Args:
        hosts: whom to ask, so many at once as the settings say.
        settings: the mesh's conventions, and what is declared for these hosts.
        sweep: what it belongs to.

    Raises:
        MeshfabError: this is another version, whose reports would not be understood.
    """
    from meshfab.fleet.host_check import check_host

    if sweep.version != __version__:
        what = f"the worker has meshfab {__version__}, and not {sweep.version}"
        raise MeshfabError(what, remedy="install the same version on both sides")
    jumps, config = _kept(sweep)
    if len(hosts) == 1:
        return (check_host(hosts[0], settings, config, jumps=jumps),)
    with (
        JumpHostPool() as own,
        ThreadPoolExecutor(min(settings.parallel, len(hosts)), thread_name_prefix="host") as pool,
    ):
        return tuple(pool.map(lambda host: check_host(host, settings, config, jumps=own), hosts))


@lru_cache(maxsize=2)
def _kept(sweep: CheckContext) -> tuple[JumpHostPool, Any]:
    """What calls for one host each share in this process; paramiko closes what nobody refers to any more."""
    return JumpHostPool(), portable_config.unpacked(pickle.loads(sweep.options))  # noqa: S301  # plain values of our own caller
