"""The provisioner's password comes from a prompt, a command or a file; no message and no frame shows it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from meshfab.config import password, password_source
from meshfab.config.settings import Settings
from meshfab.errors import InputError, NotReadyError

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_mock import MockerFixture


def printing(code: str) -> Settings:
    return Settings(provisioner_password_command=(sys.executable, "-c", code))


def test_the_first_line_of_a_command_is_the_password() -> None:
    settings = printing(r"print('  gehe im \t\r\nuser: ops\n')")
    assert password_source.obtain(settings).reveal() == "  gehe im"


def test_an_argument_is_no_shell_text() -> None:
    settings = Settings(provisioner_password_command=("/bin/echo", "$(id)", ";", "id"))
    assert password_source.obtain(settings).reveal() == "$(id) ; id"


def test_a_command_goes_before_the_file_and_a_prompt_before_both(tmp_path: Path, mocker: MockerFixture) -> None:
    file = tmp_path / "password"
    file.touch(0o644)
    file.write_text("of the file\n")
    of_file = Settings(provisioner_password=str(file))
    of_command = Settings(provisioner_password=str(file), provisioner_password_command=("/bin/echo", "of the command"))
    of_prompt = Settings(provisioner_password_command=("/bin/false",), ask_password=True)
    mocker.patch("sys.stdin.isatty", return_value=True)
    prompt = mocker.patch("getpass.getpass", return_value="of the prompt ")
    sources = (of_file, of_command, of_prompt)
    expected = ["of the file", "of the command", "of the prompt"]
    assert [password_source.obtain(source).reveal() for source in sources] == expected
    assert "'lair'" in prompt.call_args.args[0]
    assert [password_source.describe(source) for source in sources] == [
        str(file),
        "the first line that /bin/echo prints",
        "a prompt",
    ]
    # Others can read the file: that matters where it is the source.
    assert [password_source.source_exposure(source) is not None for source in sources] == [True, False, False]


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        (
            "print('geheim'); import sys; sys.exit('the store\\nis \x1b[31mlocked')",
            "exit status 1: the store is locked",
        ),
        ("import sys; sys.exit(3)", "exit status 3"),
        ("", "printed nothing on its first line"),
        ("print(); print('geheim')", "printed nothing on its first line"),
        (r"print('geheim\0')", "printed no text"),
        (r"import sys; sys.stdout.buffer.write(b'geheim\xff\n')", "printed no text"),
    ],
    ids=["says why", "says nothing", "nothing", "second line", "zero", "not UTF-8"],
)
def test_a_command_without_a_password_is_one_line(code: str, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        password_source.obtain(printing(code))
    assert problem in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_a_command_that_is_not_there_or_does_not_end_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="cannot be run"):
        password_source.obtain(Settings(provisioner_password_command=("/no/such/program",)))
    monkeypatch.setattr(password_source, "COMMAND_SECONDS", 0.2)
    with pytest.raises(InputError, match="did not end within"):
        password_source.obtain(printing("import time; print('geheim', flush=True); time.sleep(600)"))


def test_a_command_gets_nothing_of_our_standard_input() -> None:
    with pytest.raises(InputError, match="printed nothing"):
        password_source.obtain(Settings(provisioner_password_command=("/bin/cat",)))


def test_a_prompt_needs_a_terminal_and_an_answer(mocker: MockerFixture) -> None:
    settings = Settings(ask_password=True)
    terminal = mocker.patch("sys.stdin.isatty", return_value=False)
    with pytest.raises(InputError, match="no terminal"):
        password_source.obtain(settings)
    terminal.return_value = True
    mocker.patch("getpass.getpass", return_value="  ")
    with pytest.raises(InputError, match="no password was typed"):
        password_source.obtain(settings)


@pytest.mark.parametrize(
    "settings", [Settings(ask_password=True), Settings(provisioner_password_command=("/bin/true",))]
)
def test_a_worker_asks_nobody(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(password, "_is_own_worker", True)
    with pytest.raises(NotReadyError, match="worker"):
        password_source.obtain(settings)
