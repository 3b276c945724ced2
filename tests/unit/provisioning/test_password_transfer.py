"""The provisioner's password: it is never shown, and it is removed after every end of a run."""

from __future__ import annotations

import copy
import pickle
import signal
import threading
import time
import traceback
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from meshfab.config.password import Password, exposure, read_password
from meshfab.errors import InputError, LockedError, LostError, MeshfabError, MintError, NotReadyError, SecretLeftError
from meshfab.provisioning import password_transfer
from meshfab.provisioning.password_transfer import password_on_host
from meshfab.ssh.script import Answer, ExitStatus, Request
from tests.support.certificates import SERVICE, SETTINGS
from tests.support.fake_host import PASSWORD, RecordingShell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from pytest_mock import MockerFixture

PATH = "/tmp/gongfoo-provisioner"


@pytest.mark.parametrize(
    "show",
    [repr, str, format, lambda p: f"{p!s:>40}", lambda p: str([p]), lambda p: str({"p": p}), lambda p: "%s" % p],  # noqa: UP031
    ids=["repr", "str", "format", "f-string", "list", "dict", "percent"],
)
def test_the_text_of_a_password_object_is_masked(show: Callable[[Password], str]) -> None:
    assert PASSWORD not in show(Password(PASSWORD))
    assert "***" in show(Password(PASSWORD))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_password_object_cannot_be_pickled(protocol: int) -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Password(PASSWORD), protocol)


@pytest.mark.parametrize("take", [vars, copy.copy, copy.deepcopy], ids=["vars", "copy", "deepcopy"])
def test_a_password_object_has_no_dict_and_cannot_be_copied(take: Callable[[Password], object]) -> None:
    with pytest.raises(TypeError):
        take(Password(PASSWORD))


def test_reveal_returns_the_password() -> None:
    assert Password(PASSWORD).reveal() == PASSWORD


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "provisioner"
    path.touch(0o600)
    return path


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\t \n\n"], ids=repr)
def test_white_space_at_the_end_is_removed(file: Path, end: str) -> None:
    file.write_text(f"  {PASSWORD}{end}")
    assert read_password(file).reveal() == f"  {PASSWORD}"


def test_a_byte_order_mark_is_removed(file: Path) -> None:
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
def test_an_unusable_password_file_is_refused_without_showing_its_content(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_password(file)
    output = "".join(traceback.format_exception(caught.value))
    assert str(file) in str(caught.value)
    assert "provisioner_password" in str(caught.value)
    assert "\n" not in str(caught.value)
    for word in ("two", "word", "xfd"):
        assert word not in output.replace("password", "")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist") as caught:
        read_password(tmp_path / "none")
    assert str(tmp_path / "none") in str(caught.value)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_password(tmp_path)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660], ids=oct)
def test_a_file_that_others_can_read_is_reported_with_the_remedy(file: Path, mode: int) -> None:
    assert exposure(file) is None
    file.chmod(mode)
    warning = exposure(file)
    assert warning is not None
    assert (f"{mode:04o}" in warning.what, warning.remedy) == (True, f"chmod 600 {file}")


def failing(status: int, output: str = "boom") -> Callable[[Request], Answer]:
    return lambda request: Answer(request.script, status, b"", output)


def lost(_request: Request) -> Answer:
    raise LostError("the connection dropped", host="h2")


@pytest.fixture
def cleanup_shell(mocker: MockerFixture) -> RecordingShell:
    """The shell that a clean-up opens when the first shell cannot be used."""
    new_shell = RecordingShell()
    mocker.patch.object(password_transfer, "RootShell", autospec=True, side_effect=lambda *_args, **_more: new_shell)
    return new_shell


def password_block(shell: RecordingShell) -> Any:
    return password_on_host(shell, SERVICE, Password(PASSWORD))  # type: ignore[arg-type]


def test_the_password_is_on_the_host_during_the_block_only(cleanup_shell: RecordingShell) -> None:
    shell = RecordingShell()
    with password_block(shell) as path:
        assert path == PATH
        assert shell.scripts == ["put_password"]
    assert shell.scripts == ["put_password", "remove_password"]
    assert cleanup_shell.sent == []


def test_the_password_is_sent_as_data_and_never_as_an_argument(cleanup_shell: RecordingShell) -> None:  # noqa: ARG001
    shell = RecordingShell()
    with password_block(shell):
        pass
    put, removal = shell.sent
    assert put.data == PASSWORD
    assert removal.data is None
    for request in shell.sent:
        assert not any(PASSWORD in arg for arg in request.args)
    assert put.args == removal.args
    assert put.args[0] == PATH
    assert int(put.args[3]) <= 120


def test_the_reaper_is_armed_before_the_file_is_written() -> None:
    from meshfab.ssh import script

    text = script.text("put_password")
    assert 0 < text.index("systemd-run") < text.index("printf '%s\\n' \"$data\"")


def test_the_folder_of_the_password_has_a_random_name(cleanup_shell: RecordingShell) -> None:  # noqa: ARG001
    folders = set()
    for _ in range(5):
        shell = RecordingShell()
        with password_block(shell):
            folders.add(shell.sent[0].args[1])
    assert len(folders) == 5
    assert all(len(folder) > 25 for folder in folders)


ENDS: dict[str, BaseException] = {
    "an error of meshfab": MintError("the CA is down", host="h2"),
    "any other error": RuntimeError("boom"),
    "Ctrl-C": KeyboardInterrupt(),
    "exit": SystemExit(3),
    "a lost connection": LostError("the connection dropped", host="h2"),
}


@pytest.mark.parametrize("error", ENDS.values(), ids=ENDS)
def test_the_password_is_removed_after_any_error_and_the_error_is_raised(
    cleanup_shell: RecordingShell, error: BaseException
) -> None:
    shell = RecordingShell()
    with pytest.raises(type(error)), password_block(shell):
        raise error
    assert shell.scripts == ["put_password", "remove_password"]
    assert cleanup_shell.sent == []


def test_a_running_command_is_stopped_and_the_password_removed_over_another_shell(
    cleanup_shell: RecordingShell,
) -> None:
    shell = RecordingShell()
    with pytest.raises(KeyboardInterrupt), password_block(shell):
        shell.is_idle = False
        raise KeyboardInterrupt
    assert shell.scripts == ["put_password"]
    assert cleanup_shell.scripts == ["stop", "remove_password"]
    assert cleanup_shell.sent[0].args == (shell.pid,)
    assert cleanup_shell.sent[1].args[0] == PATH


def test_after_a_lost_connection_the_password_is_removed_over_a_new_one(
    cleanup_shell: RecordingShell, mocker: MockerFixture
) -> None:
    shell = RecordingShell({"remove_password": lost})
    closed = mocker.patch.object(shell.c, "close")
    with password_block(shell):
        pass
    assert cleanup_shell.scripts[-1] == "remove_password"
    closed.assert_called_once_with()


@pytest.mark.parametrize("broken", [lost, failing(1, f"{PATH} is still there")], ids=["lost", "still there"])
def test_a_removal_that_cannot_be_verified_is_an_error_with_the_command_to_run(
    cleanup_shell: RecordingShell, broken: Callable[[Request], Answer]
) -> None:
    cleanup_shell.answers["remove_password"] = broken
    shell = RecordingShell({"remove_password": broken})
    with pytest.raises(SecretLeftError) as caught, password_block(shell):
        pass
    message = str(caught.value)
    assert PATH in message
    assert message.startswith("h2: THE PASSWORD")
    assert f"sudo rm -f {PATH}" in message
    assert "120 s" in message
    assert "\n" not in message
    assert cleanup_shell.scripts.count("remove_password") == 2


def test_the_whole_clean_up_has_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(password_transfer, "CLEANUP_SECONDS", 0.3)
    closed = threading.Event()

    class DrippingHost(RecordingShell):
        """A connection that hangs, whatever the time limits of its steps, until it is closed."""

        def __init__(self, *_args: object, **_more: object) -> None:
            super().__init__()
            self.c = SimpleNamespace(
                client=SimpleNamespace(close=closed.set), close=lambda: None, original_host="h2", gateway=None
            )

        def batch(self, requests: Sequence[Request], *, timeout: float | None = None) -> list[Answer]:
            if requests[0].script == "put_password":
                return super().batch(requests, timeout=timeout)
            assert closed.wait(20), "nobody closed the connection"
            raise LostError("the connection dropped", host="h2")

    monkeypatch.setattr(password_transfer, "RootShell", DrippingHost)
    began = time.monotonic()
    with pytest.raises(SecretLeftError, match="no answer within"), password_block(DrippingHost()):
        pass
    assert time.monotonic() - began < 5


def test_a_password_that_was_not_removed_is_reported_before_the_first_error(cleanup_shell: RecordingShell) -> None:
    cleanup_shell.answers["remove_password"] = lost
    shell = RecordingShell({"remove_password": lost})
    with pytest.raises(SecretLeftError) as caught, password_block(shell):
        raise MintError("the CA is down", host="h2")
    assert isinstance(caught.value.__context__, MintError)


REFUSALS: dict[str, tuple[int, type[MeshfabError], str]] = {
    "no reaper": (ExitStatus.NO_REAPER, NotReadyError, "systemd-run"),
    "a folder has the name": (ExitStatus.IS_FOLDER, MintError, PATH),
    "anything else": (1, MintError, "boom"),
}


@pytest.mark.parametrize(("status", "error_class", "expected"), REFUSALS.values(), ids=REFUSALS)
def test_a_password_that_cannot_be_written_is_an_error_and_is_removed(
    cleanup_shell: RecordingShell,  # noqa: ARG001
    status: int,
    error_class: type[MeshfabError],
    expected: str,
) -> None:
    shell = RecordingShell({"put_password": failing(status)})
    with pytest.raises(error_class, match=expected) as caught, password_block(shell):
        pytest.fail("the block ran without the password")
    assert shell.scripts == ["put_password", "remove_password"]
    assert caught.value.remedy
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))


UNSAFE: dict[str, tuple[int, str, str]] = {
    "sudo records its input": (ExitStatus.INPUT_RECORDED, "sudo there records", "NOLOG_INPUT: ALL`, or log in as root"),
    "another /tmp": (ExitStatus.OTHER_TMP, "another /tmp than systemd", "exempt ops in /etc/security/namespace.conf"),
    "anything else": (2, "cannot be found out .*: boom", "is /proc mounted"),
}


@pytest.mark.parametrize(("status", "what", "remedy"), UNSAFE.values(), ids=UNSAFE)
def test_the_password_is_not_sent_to_a_host_where_it_is_not_safe(
    mocker: MockerFixture, file: Path, status: int, what: str, remedy: str
) -> None:
    shell = RecordingShell({"check_transfer": failing(status)})
    mocker.patch.object(password_transfer, "RootShell", autospec=True, side_effect=lambda *_args, **_more: shell)
    file.write_text(PASSWORD)
    settings = replace(SETTINGS, provisioner_password=str(file))
    with (
        pytest.raises(NotReadyError, match=what) as caught,
        password_transfer.provisioner_password(shell.c, SERVICE.name, settings=settings),
    ):
        pytest.fail("the block ran without the password")
    assert remedy in caught.value.remedy
    assert shell.scripts == ["lock", "check_transfer"]
    assert not any(request.data for request in shell.sent)


def test_the_service_is_locked_while_a_fabfile_has_the_password(mocker: MockerFixture, file: Path) -> None:
    shell = RecordingShell()
    mocker.patch.object(password_transfer, "RootShell", autospec=True, side_effect=lambda *_args, **_more: shell)
    file.write_text(PASSWORD)
    settings = replace(SETTINGS, provisioner_password=str(file))
    with password_transfer.provisioner_password(shell.c, SERVICE.name, settings=settings) as path:
        assert shell.scripts == ["lock", "check_transfer", "put_password"]
    assert shell.scripts[3:] == ["remove_password"]
    lock = shell.sent[0]
    assert lock.persistent
    assert lock.args[4:] == (SERVICE.name, path, f"/run/meshfab/{SERVICE.name}.stage")
    shell.answers["lock"] = failing(ExitStatus.BUSY, "ann@desk since noon")
    with (
        pytest.raises(LockedError, match="ann@desk since noon"),
        password_transfer.provisioner_password(shell.c, SERVICE.name, settings=settings),
    ):
        pytest.fail("the block ran without the lock")


def test_each_run_has_a_reaper_of_its_own_and_a_sweep_disarms_the_armed_one(cleanup_shell: RecordingShell) -> None:  # noqa: ARG001
    shell = RecordingShell()
    for _ in range(2):
        with password_block(shell):
            pass
    put, removed, put_again, _ = (request.args for request in shell.sent)
    assert put[2] == removed[2] != put_again[2]
    assert put[2].startswith("meshfab-reap-gongfoo-")
    swept = password_transfer.sweep(SERVICE)
    assert swept.script == "remove_password"
    assert (swept.args[0], swept.args[2], swept.args[4]) == (PATH, "", put[4])


@pytest.fixture
def _handlers() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_handlers", "cleanup_shell")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda n: n.name)
def test_a_second_signal_does_not_abort_the_clean_up(number: signal.Signals) -> None:
    before = signal.signal(number, signal.default_int_handler)

    def raise_signal(request: Request) -> Answer:
        signal.raise_signal(number)
        return Answer(request.script, 0, b"", "")

    shell = RecordingShell({"remove_password": raise_signal})
    with pytest.raises(KeyboardInterrupt), password_block(shell):
        raise KeyboardInterrupt
    assert shell.scripts == ["put_password", "remove_password"]
    assert signal.getsignal(number) is signal.default_int_handler
    signal.signal(number, before)
