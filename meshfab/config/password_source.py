"""Where the provisioner's password comes from: a prompt, a command, or a file. A run asks once, before it connects."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from meshfab.config.password import HiddenText, Password, exposure, read_password, require_operator
from meshfab.errors import InputError, one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshfab.config.settings import Settings

# Long enough to unlock a password store, or to touch a key.
COMMAND_SECONDS = 60.0


def obtain(settings: Settings) -> Password:
    """The password, from the prompt that `ask_password` asks for, else from the command, else from the file.

    Raises:
        InputError: there is none, and why.
        NotReadyError: this is a worker process, which never mints.
    """
    require_operator()
    if settings.ask_password:
        return _prompt(settings)
    if settings.provisioner_password_command:
        return _run(settings.provisioner_password_command)
    return read_password(settings.password_file)


def describe(settings: Settings) -> str:
    """The source in words, as `doctor` shows it."""
    if settings.ask_password:
        return "a prompt"
    if settings.provisioner_password_command:
        return f"the first line that {settings.provisioner_password_command[0]} prints"
    return str(settings.password_file)


def source_exposure(settings: Settings) -> InputError | None:
    """What is wrong with the mode of the password's file, if it comes from one that exists."""
    is_file = settings.signing != "agent" and not (settings.ask_password or settings.provisioner_password_command)
    return exposure(settings.password_file) if is_file and settings.password_file.is_file() else None


def _prompt(settings: Settings) -> Password:
    import getpass

    if not sys.stdin.isatty():
        remedy = "run it at a terminal, or set meshfab.provisioner_password_command"
        raise InputError("there is no terminal to ask for the provisioner's password", remedy=remedy)
    text = HiddenText(getpass.getpass(f"password of the provisioner '{settings.provisioner}' (not sudo's): ").rstrip())
    if not text:
        raise InputError("no password was typed", remedy="run it again")
    return Password(text)


def _run(command: Sequence[str]) -> Password:
    # Raised here: no frame of this function holds the command's output as plain text.
    text, problem = _first_line(command)
    if not text:
        # Only the program is named: its arguments are the operator's, and may be secret.
        what = f"{command[0]}, of meshfab.provisioner_password_command, {problem}"
        raise InputError(what, remedy="run it by hand; it must print the password on its first line")
    return Password(text)


def _first_line(command: Sequence[str]) -> tuple[HiddenText, str]:
    """The first line that a command prints, without white space at its end as `step` reads a password; or why not."""
    try:
        # It may ask a person at the terminal (/dev/tty) or by an agent, but nothing of our standard input is its own.
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return HiddenText(), f"did not end within {COMMAND_SECONDS:.0f} s"
    except (OSError, ValueError) as error:
        return HiddenText(), f"cannot be run ({getattr(error, 'strerror', None) or error})"
    if done.returncode:
        said = one_line(done.stderr.decode(errors="replace").strip())[:200]
        return HiddenText(), f"failed with exit status {done.returncode}" + (f": {said}" if said else "")
    try:
        text = HiddenText(done.stdout.partition(b"\n")[0].decode("utf-8-sig").rstrip())
    except UnicodeDecodeError:
        return HiddenText(), "printed no text"
    if "\0" in text:
        return HiddenText(), "printed no text"
    return text, "printed nothing on its first line"
