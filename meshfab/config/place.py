"""Where this code runs. The password stays on the operator's own process: nothing mints in a worker."""

from __future__ import annotations

import sys

from meshfab.errors import NotReadyError

_worker = False


def become_worker() -> None:
    """Said by a worker process of a sweep when it starts."""
    global _worker  # noqa: PLW0603  # a fact about the process
    _worker = True


def is_worker() -> bool:
    """Whether this process does what another one sent it: a sweep's own, or one of Dask's."""
    return _worker or _is_dask_worker()


def refuse_worker(what: str) -> None:
    """Refuse what is the operator's process's alone.

    Raises:
        NotReadyError: this is a worker.
    """
    if is_worker():
        raise NotReadyError(f"{what} does not run in a worker process", remedy="run it where the operator's files are")


def _is_dask_worker() -> bool:
    dask = sys.modules.get("distributed.worker")
    if dask is None:
        return False
    # The task's own thread knows; a thread that a task has started is known by its process.
    try:
        dask.get_worker()
    except ValueError:
        return bool(getattr(dask.Worker, "_instances", ()))
    return True
