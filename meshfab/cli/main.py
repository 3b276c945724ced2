"""The console script `meshfab`: the tasks of `meshfab.cli.tasks` without any `tasks.py`.

It reads what `inv` reads (`invoke.yaml`, `~/.invoke.yaml`, `INVOKE_…`), so that both say the same about a mesh.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from invoke.program import Program

from meshfab import ns
from meshfab.errors import one_line
from meshfab.version import __version__


class _Meshfab(Program):
    """Invoke's own program, which with a namespace of its own looks for no project's settings (Invoke 2.2)."""

    def create_config(self) -> None:
        """The system's and the user's settings, as `inv` has them, and those of the project."""
        super().create_config()
        self.config.set_project_location(_project(Path.cwd()))
        self.config.load_project()


def main() -> None:
    """Run what the command line asks for, and exit; whatever is wrong with it or a file of settings is one line."""
    name = "meshfab"
    program = _Meshfab(name=name, binary=name, binary_names=[name], version=__version__, namespace=ns)
    try:
        program.run()
    except BrokenPipeError:
        # Whoever reads has seen enough, as in `meshfab --list | head`; Python's own flush at exit would say so again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        # The tasks have words of their own; what comes here is a file or a variable that Invoke cannot read.
        if os.environ.get("MESHFAB_DEBUG"):
            raise
        sys.exit(f"{type(error).__name__}: {one_line(str(error))} -> check invoke.yaml, -f FILE and INVOKE_…")


def _project(start: Path) -> Path:
    """The nearest folder upwards that has a file of settings, as `inv` looks for the nearest tasks.py."""
    names = [f"invoke.{kind}" for kind in ("yaml", "yml", "json", "py")]
    places = (folder for folder in (start, *start.parents) if any((folder / name).is_file() for name in names))
    return next(places, start)
