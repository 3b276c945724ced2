"""The provisioner's password: shown to nobody, and gone after any end."""

from __future__ import annotations

import copy
import pickle
import signal
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from meshfab.config.password import Password, exposure, read_password
from meshfab.errors import InputError, LostError, MeshfabError, MintError, NotReadyError, SecretLeftError
from meshfab.provisioning import password_transfer
from meshfab.provisioning.password_transfer import password_on_host
from meshfab.ssh.script import Answer, ExitStatus, Request
from tests.support.certificates import SERVICE
from tests.support.fake_host import PASSWORD, RecordingShell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytest_mock import MockerFixture

PATH = "/tmp/gongfoo-provisioner"


@pytest.mark.parametrize(
    "show",
    [repr, str, format, lambda p: f"{p!s:>40}", lambda p: str([p]), lambda p: str({"p": p}), lambda p: "%s" % p],  # noqa: UP031
    ids=["repr", "str", "format", "f-string", "list", "dict", "percent"],
)
def test_the_password_shows_itself_to_nothing(show: Callable[[Password], str]) -> None:
    assert PASSWORD not in show(Password(PASSWORD))
    assert "***" in show(Password(PASSWORD))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_the_password_does_not_travel_to_another_process(protocol: int) -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Password(PASSWORD), protocol)


@pytest.mark.parametrize("take", [vars, copy.copy, copy.deepcopy], ids=["vars", "copy", "deepcopy"])
def test_the_password_has_no_dict_and_no_copies(take: Callable[[Password], object]) -> None:
    with pytest.raises(TypeError):
        take(Password(PASSWORD))


def test_the_password_is_revealed_where_it_is_sent() -> None:
    assert Password(PASSWORD).reveal() == PASSWORD


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "provisioner"
    path.touch(0o600)
    return path


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\t \n\n"], ids=repr)
def test_white_space_at_the_end_is_no_part_of_the_password(file: Path, end: str) -> None:
    file.write_text(f"  {PASSWORD}{end}")
    assert read_password(file).reveal() == f"  {PASSWORD}"


def test_a_byte_order_mark_is_no_part_of_the_password(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbfpass")
    assert read_password(file).reveal() == "pass"


REFUSED = {
    "empty": b"",
    "white space": b" \n\n",
    "two lines": b"one\ntwo\n",
    "a NUL": b"pass\0word",
    "no text": b"\xff\xfe\xfd",
}


@pytest.mark.parametrize("content", REFUSED.values(), ids=REFUSED)
def test_a_file_that_holds_no_password_is_refused_without_showing_it(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_password(file)
    said = "".join(traceback.format_exception(caught.value))
    assert str(file) in str(caught.value)
    assert "provisioner_password" in str(caught.value)
    assert "\n" not in str(caught.value)
    for word in ("two", "word", "xfd"):
        assert word not in said.replace("password", "")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist") as caught:
        read_password(tmp_path / "none")
    assert str(tmp_path / "none") in str(caught.value)


def test_a_folder_is_no_password(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_password(tmp_path)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660], ids=oct)
def test_a_file_that_others_can_read_is_told_with_the_remedy(file: Path, mode: int) -> None:
    assert exposure(file) == ""
    file.chmod(mode)
    assert f"chmod 600 {file}" in exposure(file)


def failing(status: int, said: str = "boom") -> Callable[[Request], Answer]:
    return lambda request: Answer(request.script, status, b"", said)


def lost(_request: Request) -> Answer:
    raise LostError("the connection dropped", host="h2")


@pytest.fixture
def second(mocker: MockerFixture) -> RecordingShell:
    """The shell that a clean-up opens when the first one cannot be used."""
    made = RecordingShell()
    mocker.patch.object(password_transfer, "RootShell", autospec=True, side_effect=lambda *_args, **_more: made)
    return made


def use(shell: RecordingShell) -> Any:
    return password_on_host(shell, SERVICE, Password(PASSWORD))  # type: ignore[arg-type]


def test_the_password_is_there_in_the_block_and_gone_after_it(second: RecordingShell) -> None:
    shell = RecordingShell()
    with use(shell) as path:
        assert path == PATH
        assert shell.scripts == ["put_password"]
    assert shell.scripts == ["put_password", "remove_password"]
    assert second.sent == []


def test_it_is_sent_as_data_and_never_as_a_word(second: RecordingShell) -> None:  # noqa: ARG001
    shell = RecordingShell()
    with use(shell):
        pass
    put, gone = shell.sent
    assert put.data == PASSWORD
    assert gone.data is None
    for request in shell.sent:
        assert not any(PASSWORD in word for word in request.args)
    assert put.args == gone.args
    assert put.args[0] == PATH
    assert int(put.args[3]) <= 120


def test_the_reaper_is_armed_before_the_file_is_written() -> None:
    from meshfab.ssh import script

    text = script.text("put_password")
    assert 0 < text.index("systemd-run") < text.index("printf '%s\\n' \"$data\"")


def test_the_folder_that_it_is_made_in_cannot_be_guessed(second: RecordingShell) -> None:  # noqa: ARG001
    folders = set()
    for _ in range(5):
        shell = RecordingShell()
        with use(shell):
            folders.add(shell.sent[0].args[1])
    assert len(folders) == 5
    assert all(len(folder) > 25 for folder in folders)


ENDS: dict[str, BaseException] = {
    "an error of ours": MintError("the CA is down", host="h2"),
    "an error of anybody's": RuntimeError("boom"),
    "Ctrl-C": KeyboardInterrupt(),
    "exit": SystemExit(3),
    "a lost line": LostError("the connection dropped", host="h2"),
}


@pytest.mark.parametrize("error", ENDS.values(), ids=ENDS)
def test_it_is_gone_after_any_error_and_the_error_goes_on(second: RecordingShell, error: BaseException) -> None:
    shell = RecordingShell()
    with pytest.raises(type(error)), use(shell):
        raise error
    assert shell.scripts == ["put_password", "remove_password"]
    assert second.sent == []


def test_while_a_command_runs_it_is_ended_and_the_password_removed_beside_it(second: RecordingShell) -> None:
    shell = RecordingShell()
    with pytest.raises(KeyboardInterrupt), use(shell):
        shell.is_idle = False
        raise KeyboardInterrupt
    assert shell.scripts == ["put_password"]
    assert second.scripts == ["stop", "remove_password"]
    assert second.sent[0].args == (shell.pid,)
    assert second.sent[1].args[0] == PATH


def test_after_a_lost_line_it_is_removed_over_a_fresh_connection(second: RecordingShell, mocker: MockerFixture) -> None:
    shell = RecordingShell({"remove_password": lost})
    closed = mocker.patch.object(shell.c, "close")
    with use(shell):
        pass
    assert second.scripts[-1] == "remove_password"
    closed.assert_called_once_with()


@pytest.mark.parametrize("broken", [lost, failing(1, f"{PATH} is still there")], ids=["lost", "still there"])
def test_a_removal_that_cannot_be_verified_is_said_loudly_with_the_command(
    second: RecordingShell, broken: Callable[[Request], Answer]
) -> None:
    second.answers["remove_password"] = broken
    shell = RecordingShell({"remove_password": broken})
    with pytest.raises(SecretLeftError) as caught, use(shell):
        pass
    said = str(caught.value)
    assert PATH in said
    assert said.startswith("h2: THE PASSWORD")
    assert f"sudo rm -f {PATH}" in said
    assert "120 s" in said
    assert "\n" not in said
    assert second.scripts.count("remove_password") == 2


def test_a_left_password_is_said_before_what_led_to_it(second: RecordingShell) -> None:
    second.answers["remove_password"] = lost
    shell = RecordingShell({"remove_password": lost})
    with pytest.raises(SecretLeftError) as caught, use(shell):
        raise MintError("the CA is down", host="h2")
    assert isinstance(caught.value.__context__, MintError)


REFUSALS: dict[str, tuple[int, type[MeshfabError], str]] = {
    "no reaper": (ExitStatus.NO_REAPER, NotReadyError, "systemd-run"),
    "a folder bears the name": (ExitStatus.IS_FOLDER, MintError, PATH),
    "anything else": (1, MintError, "boom"),
}


@pytest.mark.parametrize(("status", "kind", "word"), REFUSALS.values(), ids=REFUSALS)
def test_a_password_that_cannot_be_put_there_is_an_error_and_removed_all_the_same(
    second: RecordingShell,  # noqa: ARG001
    status: int,
    kind: type[MeshfabError],
    word: str,
) -> None:
    shell = RecordingShell({"put_password": failing(status)})
    with pytest.raises(kind, match=word) as caught, use(shell):
        pytest.fail("the block ran without the password")
    assert shell.scripts == ["put_password", "remove_password"]
    assert caught.value.remedy
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))


@pytest.fixture
def _handlers() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_handlers", "second")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda n: n.name)
def test_a_second_signal_does_not_abort_the_clean_up(number: signal.Signals) -> None:
    before = signal.signal(number, signal.default_int_handler)

    def impatient(request: Request) -> Answer:
        signal.raise_signal(number)
        return Answer(request.script, 0, b"", "")

    shell = RecordingShell({"remove_password": impatient})
    with pytest.raises(KeyboardInterrupt), use(shell):
        raise KeyboardInterrupt
    assert shell.scripts == ["put_password", "remove_password"]
    assert signal.getsignal(number) is signal.default_int_handler
    signal.signal(number, before)
