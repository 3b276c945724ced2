"""The workers of a Dask cluster as an executor: Dask's own, with bounded waits.

Dask waits without limit for a scheduler that comes back and for a worker that may join. check-certs must end with a
line for each host.
"""

from __future__ import annotations

import logging
import warnings
from concurrent.futures import Executor, Future
from concurrent.futures import TimeoutError as FutureTimeoutError  # the builtin from Python 3.11 on
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

from meshfab.errors import InputError
from meshfab.ssh.session import HOST_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
_CONNECT_SECONDS = 4
_MAX_HOSTS_PER_CALL = 16


class DaskExecutor(Executor):
    """The workers of the scheduler at `HOST:PORT`.

    Attributes:
        hosts_per_call: how many hosts to send at once. A worker checks them all at the same time, so that a call takes
            no longer than one host may.
        result_timeout: how many seconds may pass without a result before the rest is given up. A worker that dies has
            its call repeated by another one, so this is twice the time of a call.

    Raises:
        InputError: Dask is not installed, or the scheduler cannot be reached, or has no worker.
    """

    result_timeout = 2 * HOST_SECONDS + 5

    def __init__(self, address: str, parallel: int = _MAX_HOSTS_PER_CALL) -> None:
        self.hosts_per_call = min(parallel, _MAX_HOSTS_PER_CALL)
        self._client = _connect(address)
        # Not pure: the same call a minute later has another result.
        self._executor = self._client.get_executor(pure=False)

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Have a call made by one of the workers."""
        future: Future[T] = self._executor.submit(fn, *args, **kwargs)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002  # the interface's
        """Cancel the calls that have not ended, and leave the cluster."""
        if self._client.status == "running":
            self._executor.shutdown(wait=False)
        self._client.close(timeout=2)


def _connect(address: str) -> Any:
    try:
        import dask
        from distributed import Client
    except ImportError:
        what = "--executor dask:// needs an extra that is not installed"
        raise InputError(what, remedy="pip install 'meshfab[dask]'") from None
    # They log tracebacks when the connection is lost; the report has a line for each host. Each has a level of its own.
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    scheme = "tls" if dask.config.get("distributed.comm.require-encryption", None) else "tcp"
    with warnings.catch_warnings():
        # Warnings about different versions: if they matter, the lines of the hosts show it.
        warnings.simplefilter("ignore")
        client = _with_timeout(
            partial(Client, f"{scheme}://{address}", timeout=_CONNECT_SECONDS, set_as_default=False), address
        )
        try:
            client.wait_for_workers(1, timeout=_CONNECT_SECONDS)
        except TimeoutError:
            client.close(timeout=2)
            what = f"the Dask scheduler at {address} has no worker"
            raise InputError(what, remedy=f"start one: dask worker {scheme}://{address}") from None
    return client


def _with_timeout(connect: Callable[[], Any], address: str) -> Any:
    """Connect within a time limit: Dask's own does not apply if another kind of server listens on the port."""
    connected: Future[Any] = Future()

    def work() -> None:
        try:
            connected.set_result(connect())
        except Exception as error:
            connected.set_exception(error)

    Thread(target=work, name="dask", daemon=True).start()
    try:
        return connected.result(timeout=_CONNECT_SECONDS + 2)
    except (OSError, TimeoutError, FutureTimeoutError, ValueError) as error:
        what = f"no Dask scheduler answers at {address} ({type(error).__name__})"
        raise InputError(what, remedy="is it running? `dask scheduler` prints its address when it starts") from None
