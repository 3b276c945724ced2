"""Chromium without a window: the page that it has at the end."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def dump_page(url: str, home: Path) -> str:
    """The page that Chromium has at the end, for a user with this home."""
    # A sandbox needs name spaces that root in a container may not have; nothing but our own page is opened.
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    quiet = ["--disable-background-networking", "--disable-component-update", f"--user-data-dir={home}/profile"]
    done = subprocess.run(
        ["chromium", *flags, *quiet, "--dump-dom", url],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "HOME": str(home)},
        check=False,
    )
    return done.stdout
