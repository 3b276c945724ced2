"""The console script `meshfab`: the tasks of `meshfab.cli.tasks` without a `tasks.py`.

It reads what `inv` reads (`invoke.yaml`, `~/.invoke.yaml`, `INVOKE_…`), so that both have the same settings. But it
runs no code of the folder that it is called in: neither a `tasks.py` nor an `invoke.py`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from invoke.program import Program

from meshfab import ns
from meshfab.errors import fault_line
from meshfab.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Meshfab(Program):
    """Invoke's program. With a bundled namespace it ignores the project's settings (Invoke 2.2); this reads them.

    Whether the project may decide them is checked by `Settings.load`, as it is under `inv`.
    """

    def create_config(self) -> None:
        """Read the settings of the system and of the user as `inv` does, and those of the project."""
        super().create_config()
        self.config.set_project_location(_project(Path.cwd()))
        self.config.load_project()

    def update_config(self, merge: bool = True) -> None:
        """Read what the command line says; the name of a class in a settings file imports no module."""
        super().update_config(merge)
        self.config.tasks.executor_class = None
        for folder in _upwards(Path.cwd()):
            if (folder / "invoke.py").is_file():
                print(
                    f"warning: {folder}/invoke.py is not read, because it is code -> use invoke.yaml", file=sys.stderr
                )


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


def _project(start: Path) -> Path | None:
    """The nearest folder upwards with a settings file, as `inv` finds the nearest tasks.py.

    Invoke reads an `invoke.py` only where there is none of the other files, and so never in this folder.
    """
    return next((folder for folder in _upwards(start) if _has_settings(folder)), None)


def _upwards(start: Path) -> Iterator[Path]:
    """The folder and its parents, up to the nearest one with a settings file."""
    for folder in (start, *start.parents):
        yield folder
        if _has_settings(folder):
            return


def _has_settings(folder: Path) -> bool:
    return any((folder / f"invoke.{kind}").is_file() for kind in ("yaml", "yml", "json"))
