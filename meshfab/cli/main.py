"""The console script `meshfab`: the tasks of `meshfab.cli.tasks` without a `tasks.py`.

It reads what `inv` reads (`invoke.yaml`, `~/.invoke.yaml`, `INVOKE_…`), so that both have the same settings.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from invoke.program import Program

from meshfab import ns
from meshfab.errors import fault_line
from meshfab.version import __version__


class _Meshfab(Program):
    """Invoke's program. With a bundled namespace it ignores the project's settings (Invoke 2.2); this reads them."""

    def create_config(self) -> None:
        """Read the settings of the system and of the user as `inv` does, and those of the project."""
        super().create_config()
        self.config.set_project_location(_project(Path.cwd()))
        self.config.load_project()


def main() -> None:
    """Run the command line and exit; an error in it or in a settings file is one line."""
    name = "meshfab"
    program = _Meshfab(name=name, binary=name, binary_names=[name], version=__version__, namespace=ns)
    try:
        program.run()
    except BrokenPipeError:
        # The reader closed the pipe, as in `meshfab --list | head`; Python's flush at exit would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        # The tasks report their own errors; this is a file or a variable that Invoke cannot read.
        if os.environ.get("MESHFAB_DEBUG"):
            raise
        sys.exit(f"{type(error).__name__}: {fault_line(str(error))} -> check invoke.yaml, -f FILE and INVOKE_…")


def _project(start: Path) -> Path:
    """The nearest parent folder with a settings file, as `inv` finds the nearest tasks.py."""
    names = [f"invoke.{kind}" for kind in ("yaml", "yml", "json", "py")]
    places = (folder for folder in (start, *start.parents) if any((folder / name).is_file() for name in names))
    return next(places, start)
