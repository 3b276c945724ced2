"""What is expensive to make is made once: under a lock, beside its place, then moved in."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def folder() -> Path:
    """Where every lab of this user keeps its base image and its binaries."""
    own = os.environ.get("MESHFAB_LAB_CACHE")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "meshfab-lab"


def key(*parts: str) -> str:
    """A short name for what something is made from; a change of any part changes it."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`; the kernel lets go of it however the holder ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def made(name: str, make: Callable[[Path], None]) -> tuple[Path, bool]:
    """The folder `name` of the cache, and whether it had to be made by `make` just now.

    `make` fills a folder beside the real one, so that an interrupted build is never taken for a
    complete one. The lock is held all the while: any other such folder is a dead builder's.
    """
    place = folder() / name
    if place.is_dir():
        return place, False
    with locked(folder() / f"{name}.lock"):
        if place.is_dir():
            return place, False
        part = folder() / f"{name}.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(mode=0o755)
        try:
            make(part)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        part.rename(place)
    return place, True
