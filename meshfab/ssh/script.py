"""Scripts for the root shell and their answers. Data is quoted for the shell here, and nowhere else."""

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
    """Exit statuses with a meaning, `status_…` in library.sh; any other nonzero status is a plain failure."""

    CONFIG_REFUSED = 3
    SERVER_IGNORED = 4
    NOT_INCLUDED = 5
    LOAD_FAILED = 6
    NOT_TAKEN_UP = 7
    NO_REAPER = 8
    IS_FOLDER = 9
    PARTLY_MOVED = 10
    FILE_CHANGED = 11
    TOO_LONG = 12
    INPUT_RECORDED = 20
    OTHER_TMP = 21
    BUSY = 75
    TIMED_OUT = 124


@dataclass(frozen=True)
class Request:
    """A call of one script of `meshfab/scripts`.

    Attributes:
        script: the script's name, without folder and `.sh`; `a+b` runs two files as one script.
        args: the positional parameters.
        data: the value of `$data` in the script, such as the password; never shown.
        persistent: run it in the shell itself and not in a subshell, so that its locks and traps stay.
        background: run it in parallel with the next scripts. The script `wait_background` waits for it and has its
            answer. The lock must be held already.
    """

    script: str
    args: tuple[str, ...] = ()
    data: str | None = None
    persistent: bool = False
    background: bool = False

    def __repr__(self) -> str:
        """Leave out the data, which may be the password."""
        return f"Request({self.script!r}, {self.args!r})"

    def body(self) -> str:
        """The text that the root shell evaluates."""
        begin, end = ("{", "}") if self.persistent else ("(", ")")
        if self.background:
            end = ') >/dev/null 2>"/run/meshfab/.background.$$" & background=$!'
        # The text that holds the data is in no variable, so that no traceback shows it.
        return "".join(
            (
                f"{begin}\n",
                f"data={shell_words([self.data])}\n" if self.data is not None else "",
                f"set -- {shell_words(self.args)}\n{text(self.script)}\n{end}",
            )
        )


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
        """Its stdout as text; bytes that are not UTF-8 become escapes such as `\\xff`."""
        return readable(self.out)


def message(requests: Sequence[Request], mark: str, *, with_library: bool) -> memoryview:
    """What is sent for a batch: the number of bytes, and the shell code.

    A memoryview, because its `repr` does not show its content, which may be the password.

    Args:
        requests: the scripts to run.
        mark: the mark that ends each answer.
        with_library: whether the shell has not read library.sh yet.
    """
    head = [f"mark={mark}", text("library"), "answer 0"] if with_library else []
    lines = memoryview(
        "\n".join(
            (
                # The shell has read the code; its own copy, with the data, is not needed any more.
                "{ unset run",
                *head,
                "failed=0",
                *(
                    f"if [ $failed = 0 ]; then {request.body()}\nanswer $?; else answer skipped; fi"
                    for request in requests
                ),
                "}",
            )
        ).encode()
    )
    return memoryview(b"".join((b"%d\n" % len(lines), lines)))


@cache
def text(name: str) -> str:
    """Read a script of the package; for `a+b` the two files together."""
    return "\n".join(_path(part).read_text(encoding="utf-8") for part in name.split("+"))


def _path(name: str) -> Path:
    """The script's file. Its folder has the name of the package that sends it; script names are unique."""
    (path,) = _FOLDER.glob(f"*/{name}.sh")
    return path


def shell_words(args: Sequence[str]) -> str:
    """Quote data as words of a shell command.

    >>> shell_words(["a b", "$(reboot)"])
    "'a b' '$(reboot)'"
    """
    return shlex.join(args)


def readable(output: bytes) -> str:
    """Decode a host's output as text, with escapes for bytes that are not UTF-8, and strip white space."""
    return output.decode("utf-8", "backslashreplace").strip()
