"""The wheel as a stranger has it: built, and installed with pip into an environment with nothing else, elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lab.machine.process import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

CHECKOUT = Path(__file__).resolve().parents[2]
# What ./dev fetches beside the first tests; the lab has no way out.
WHEELS = CHECKOUT / ".venv" / "wheels"


@dataclass(frozen=True)
class Installed:
    """A virtual environment, and the folder of the wheel that is in it."""

    folder: Path
    wheels: Path
    # Nothing of this checkout, of its venv, or of the one who runs the tests.
    environment: Mapping[str, str] = field(default_factory=dict)

    def bin(self, name: str) -> str:
        return str(self.folder / "bin" / name)

    def run(
        self, name: str, *args: str, cwd: Path, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A command of the environment's, in a folder of a stranger's."""
        return subprocess.run(
            [self.bin(name), *args],
            cwd=cwd,
            env={**self.environment, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @property
    def wheel(self) -> Path:
        (wheel,) = self.wheels.glob("meshfab-*.whl")
        return wheel


def install(folder: Path) -> Installed:
    """Build the wheel, and make an environment with it. Some seconds, of which pip takes most."""
    wait_until((WHEELS / "stamp").exists, f"./dev test to fill {WHEELS}", 120)
    made = Installed(folder / "venv", folder / "dist", _environment(folder / "venv"))
    python = [sys.executable, "-m"]
    _do(*python, "build", "--quiet", "--wheel", "--no-isolation", "--outdir", str(made.wheels), str(CHECKOUT))
    _do(*python, "venv", "--without-pip", str(made.folder))
    pip = (*python, "pip", "--python", made.bin("python"), "install", "--quiet", "--no-compile")
    _do(*pip, "--no-index", "--find-links", str(WHEELS), str(made.wheel))
    return made


def _environment(venv: Path) -> dict[str, str]:
    return {"PATH": f"{venv}/bin:/usr/local/bin:/usr/bin:/bin", "HOME": os.environ["HOME"], "LANG": "C.UTF-8"}


def _do(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
