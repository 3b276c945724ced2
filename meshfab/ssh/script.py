"""Scripts and their answers: the words of the root shell, and the one place where data becomes shell words."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_FOLDER = Path(__file__).resolve().parents[1] / "scripts"


class ExitStatus(IntEnum):
    """Exit statuses with a meaning, which library.sh has as `status_…`; any other one is a plain failure."""

    CONFIG_REFUSED = 3
    SERVER_IGNORED = 4
    NOT_INCLUDED = 5
    LOAD_FAILED = 6
    NOT_TAKEN_UP = 7
    NO_REAPER = 8
    IS_FOLDER = 9
    BUSY = 75
    TIMED_OUT = 124


@dataclass(frozen=True)
class Request:
    """A script of `meshfab/scripts`, its positional parameters and what it finds in `$data`.

    Attributes:
        script: its name, without the folder.
        args: its positional parameters.
        data: what it finds in `$data`; never shown.
        persistent: run it in the shell itself and not in a subshell, for a lock or a trap that must outlast it.
        background: run it beside those that follow, up to the script `wait_background`, whose answer is its own. A
            lock was taken before.
    """

    script: str
    args: tuple[str, ...] = ()
    data: str | None = None
    persistent: bool = False
    background: bool = False

    def __repr__(self) -> str:
        """Without the data, which may be the password."""
        return f"Request({self.script!r}, {self.args!r})"

    def body(self) -> str:
        """The text that the root shell evaluates."""
        begin, end = ("{", "}") if self.persistent else ("(", ")")
        if self.background:
            end = ') >/dev/null 2>"/run/meshfab/.background.$$" & background=$!'
        given = f"data={shell_words([self.data])}\n" if self.data is not None else ""
        return f"{begin}\n{given}set -- {shell_words(self.args)}\n{text(self.script)}\n{end}"


@dataclass(frozen=True)
class Answer:
    """The answer of a script: its name, exit status, stdout, and stderr as text."""

    script: str
    status: int
    out: bytes
    err: str

    @property
    def ok(self) -> bool:
        """Whether the script ended with 0."""
        return self.status == 0

    @property
    def text(self) -> str:
        """Its stdout as text; bytes that are not UTF-8 become escapes."""
        return readable(self.out)


@cache
def text(name: str) -> str:
    """The text of a script that ships with the package; `one+two` is two files in one script."""
    return "\n".join(_file(part).read_text(encoding="utf-8") for part in name.split("+"))


def _file(name: str) -> Path:
    """The script's file; the folders are named after the packages that send the scripts, and no two have one name."""
    (file,) = _FOLDER.glob(f"*/{name}.sh")
    return file


def shell_words(args: Sequence[str]) -> str:
    """Shell words from data, quoted.

    >>> shell_words(["a b", "$(reboot)"])
    "'a b' '$(reboot)'"
    """
    return shlex.join(args)


def readable(output: bytes) -> str:
    """A host's bytes as text that can be shown."""
    return output.decode("utf-8", "backslashreplace").strip()
