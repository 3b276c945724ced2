"""The workers of a Dask cluster behind the interface of `concurrent.futures`, with an end to every wait.

Dask waits for ever for a scheduler that comes back and for a worker that may join; somebody who looks at certificates
is told instead.
"""

from __future__ import annotations

import logging
import warnings
from concurrent.futures import Executor, Future
from concurrent.futures import TimeoutError as WaitedError
from functools import partial
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any, TypeVar

from meshfab.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
_CONNECT_SECONDS = 4
# How long a cluster may be without a worker before what is left is given up, and how often to look.
_ALONE_SECONDS, _LOOK_SECONDS = 8.0, 1.0


class Cluster(Executor):
    """The workers of the scheduler at `HOST:PORT`.

    Attributes:
        hosts_a_call: how many hosts to send at once: a worker asks them at the same time, whatever its own threads.

    Raises:
        InputError: Dask is not installed, or the scheduler cannot be reached, or has no worker.
    """

    hosts_a_call = 16

    def __init__(self, address: str) -> None:
        self._client = _connected(address)
        self._address = address
        self._lock, self._end = Lock(), Event()
        self._theirs: dict[Future[Any], Any] = {}
        self._watch = Thread(target=self._look, name="cluster", daemon=True)
        self._watch.start()

    @property
    def workers(self) -> int:
        """How many there are now."""
        return len(self._client.scheduler_info(n_workers=-1)["workers"])

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Have a call made by one of the workers."""
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()
        # Not pure: the same question a minute later has another answer.
        theirs = self._client.submit(fn, *args, **kwargs, pure=False)
        with self._lock:
            self._theirs[future] = theirs
        theirs.add_done_callback(lambda done: self._settle(future, done))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002  # the interface's
        """Leave the cluster; what is still under way there is called off."""
        self._end.set()
        self._watch.join()
        with self._lock:
            theirs = list(self._theirs.values())
            self._theirs.clear()
        if theirs and self._client.status == "running":
            self._client.cancel(theirs, force=True)
        self._client.close(timeout=2)

    def _settle(self, future: Future[Any], done: Any) -> None:
        with self._lock:
            if self._theirs.pop(future, None) is None:
                return  # given up before
        try:
            # It is done: this is not waited for. A lost connection shows as a cancellation.
            value, error = done.result(timeout=_CONNECT_SECONDS), None
        except BaseException as caught:  # CancelledError is no Exception
            value, error = None, caught
        if isinstance(error, Exception) or error is None:
            future.set_exception(error) if error else future.set_result(value)
        else:
            future.set_exception(ConnectionError(f"the Dask scheduler {self._address} was lost"))

    def _look(self) -> None:
        alone = 0.0
        while not self._end.wait(_LOOK_SECONDS):
            is_lost = self._client.status != "running"
            alone = alone + _LOOK_SECONDS if is_lost or not self.workers else 0.0
            if alone >= _ALONE_SECONDS:
                what = "was lost" if is_lost else "has no worker left"
                self._give_up(f"the Dask scheduler {self._address} {what}")

    def _give_up(self, why: str) -> None:
        with self._lock:
            futures = list(self._theirs)
            self._theirs.clear()
        for future in futures:
            future.set_exception(ConnectionError(why))


def _connected(address: str) -> Any:
    try:
        import dask
        from distributed import Client
    except ImportError:
        what = "--executor dask:// needs an extra that is not installed"
        raise InputError(what, remedy="pip install 'meshfab[dask]'") from None
    # Its word on a lost connection is a traceback; ours is a line.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    scheme = "tls" if dask.config.get("distributed.comm.require-encryption", None) else "tcp"
    with warnings.catch_warnings():
        # Of versions that differ: what comes of it is in the row of each host.
        warnings.simplefilter("ignore")
        client = _within(
            partial(Client, f"{scheme}://{address}", timeout=_CONNECT_SECONDS, set_as_default=False), address
        )
        try:
            client.wait_for_workers(1, timeout=_CONNECT_SECONDS)
        except TimeoutError:
            client.close(timeout=2)
            what = f"the Dask scheduler at {address} has no worker"
            raise InputError(what, remedy=f"start one: dask worker {scheme}://{address}") from None
    return client


def _within(connect: Callable[[], Any], address: str) -> Any:
    """A connection, or an end to waiting for it: to a port that is something else's Dask listens for ever."""
    made: Future[Any] = Future()

    def work() -> None:
        try:
            made.set_result(connect())
        except Exception as error:
            made.set_exception(error)

    Thread(target=work, name="dask", daemon=True).start()
    try:
        return made.result(timeout=_CONNECT_SECONDS + 2)
    except (OSError, TimeoutError, WaitedError, ValueError) as error:
        what = f"no Dask scheduler answers at {address} ({type(error).__name__})"
        raise InputError(what, remedy="is it up? `dask scheduler` says its address when it starts") from None
