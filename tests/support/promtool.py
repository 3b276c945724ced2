"""promtool, which judges docs/monitoring: from PATH, or out of Debian's package, unpacked into the lab's cache.

`python -m tests.support.promtool` puts it there. The package is not installed: it would start a daemon. Its version is
the one that this machine's apt has and verifies; a mirror keeps no older one that could be asked for.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from lab.errors import LabError
from lab.machine import cache
from lab.machine.process import run

_FOLDER = "promtool"


def find() -> Path | None:
    """Where it is; None if this machine has none."""
    on_path = shutil.which("promtool")
    path = Path(on_path) if on_path else cache.folder() / _FOLDER / "usr" / "bin" / "promtool"
    return path if path.exists() else None


def ensure() -> None:
    """Fetch it if it is missing."""
    if find() is None:
        cache.ensure_folder(_FOLDER, _unpack)


def _unpack(folder: Path) -> None:
    # _apt downloads, and may not write into root's cache.
    fetch = (
        'cd "$1" && { apt-get -qq download prometheus || { apt-get -qq update && apt-get -qq download prometheus; }; }'
    )
    run(["sh", "-c", f"{fetch} 2>&1", "sh", str(folder)])
    (archive,) = folder.glob("prometheus_*.deb")
    run(
        [
            "sh",
            "-c",
            'dpkg-deb --fsys-tarfile "$1" | tar -x -C "$2" ./usr/bin/promtool',
            "sh",
            str(archive),
            str(folder),
        ]
    )
    archive.unlink()


if __name__ == "__main__":
    try:
        ensure()
    except LabError as error:
        sys.exit(str(error))
