"""The cache of files that are expensive to build: each folder in it is built once, under a lock, then renamed."""

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
    """The cache of this user: the base images and the binaries of every lab."""
    override = os.environ.get("MESHFAB_LAB_CACHE")
    if override:
        return Path(override)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "meshfab-lab"


def key(*inputs: str) -> str:
    """A short hash of everything that a folder is built from; if an input changes, the hash changes."""
    return hashlib.sha256("\0".join(inputs).encode()).hexdigest()[:12]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on the file `path`; the kernel releases it when the process ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def ensure_folder(name: str, build: Callable[[Path], None]) -> tuple[Path, bool]:
    """Build the folder `name` of the cache if it is missing. Returns its path and whether it was built now.

    `build` fills a temporary folder, which is renamed when it is complete, so an interrupted build is
    never used. A temporary folder that exists when the lock is acquired is left over from a build that
    died, and is deleted.
    """
    target = folder() / name
    if target.is_dir():
        return target, False
    with locked(folder() / f"{name}.lock"):
        if target.is_dir():
            return target, False
        temporary = folder() / f"{name}.part"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(mode=0o755)
        try:
            build(temporary)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        temporary.rename(target)
    return target, True
