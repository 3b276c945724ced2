"""Tools that print the local variables of a traceback find neither the provisioner's password nor sudo's."""

from __future__ import annotations

import io
import sys
import traceback
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console
from rich.traceback import Traceback

from meshfab.config import password_source
from meshfab.config.password import HiddenText, Password, hide_sudo_password, read_password
from meshfab.config.settings import Settings
from meshfab.errors import InputError, LostError, MintError, NotReadyError, SecretLeftError
from meshfab.provisioning import mint, password_transfer
from meshfab.provisioning.password_transfer import password_on_host
from meshfab.ssh import connection, script, shell_channel
from meshfab.ssh.root_shell import RootShell
from tests.support.certificates import SERVICE, SETTINGS
from tests.support.fake_host import Host
from tests.support.local_shell import LocalChannel, LocalConnection
from tests.support.ssh_server import ServerConnection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import FrameType

# Longer than what rich shows of a text, and put together here, so that no source line has them.
SECRETS = {"provisioner": "-".join(["correct"] * 20), "sudo": "-".join(["geheim"] * 20)}
SCRIPTS = {"put_password": ":", "mint": "echo refused >&2; exit 1", "remove_password": ":", "stop": ":"}
package_text = script.text

SUDO = """
[ "$1" = -n ] && { echo 'sudo: a password is required' >&2; exit 1; }
while [ "$1" != -p ]; do shift; done
while :; do printf %s "$2" >&2; read -r password || exit 1; done
"""


@pytest.fixture(autouse=True)
def _test_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "text", lambda name: SCRIPTS.get(name) or package_text(name))
    monkeypatch.setattr(shell_channel, "_END_SECONDS", 0.2)
    monkeypatch.setattr(password_transfer, "CLEANUP_SECONDS", 1.0)
    monkeypatch.setattr(connection, "ensure_open", lambda c, *_seconds: c)


@pytest.fixture
def c(tmp_path: Path) -> Iterator[LocalConnection]:
    for name, text in {"id": 'echo "${ID-0}"', "sudo": SUDO}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    local = LocalConnection(f"{tmp_path}:/usr/local/bin:/usr/bin:/bin")
    yield local
    local.close()


def assert_hidden(error: BaseException) -> None:
    """Neither the local variables nor what rich prints of them shows a password."""
    assert_hidden_in_locals(error)
    out = io.StringIO()
    shown_by_rich = Traceback.from_exception(type(error), error, error.__traceback__, show_locals=True)
    Console(file=out, width=400).print(shown_by_rich)
    assert " locals " in out.getvalue()
    for secret in SECRETS.values():
        assert secret[:40] not in out.getvalue()


def assert_hidden_in_locals(error: BaseException) -> None:
    """No frame of the error, nor of an error that led to it, shows a password in a local variable."""
    pending: list[BaseException | None] = [error]
    while pending:
        current = pending.pop()
        if current is None:
            continue
        pending += [current.__cause__, current.__context__]
        for frame, _ in traceback.walk_tb(current.__traceback__):
            for name, value in frame.f_locals.items():
                is_ours = type(value).__module__.startswith("meshfab")
                for shown in (value, vars(value) if is_ours and hasattr(value, "__dict__") else None):
                    for what, secret in SECRETS.items():
                        assert secret not in repr(shown), f"{what}: {name} in {frame.f_code.co_name}"


def put(c: Any, action: Callable[[RootShell, Password], object]) -> BaseException:
    """Do it with the password, and return what is raised."""
    password = Password(SECRETS["provisioner"])
    c.config.sudo.password = SECRETS["sudo"]
    with pytest.raises(BaseException) as caught, RootShell(c, timeout=10) as shell:  # each test says which
        action(shell, password)
    return caught.value


def minted(shell: RootShell, password: Password) -> None:
    mint.mint(shell, Host().state(), SERVICE, SETTINGS, password)


def carried(shell: RootShell, password: Password) -> None:
    with password_on_host(shell, SERVICE, password):
        raise MintError("the block fails")


class FailingChannel(LocalChannel):
    """Fails while it sends the password; its frame holds the bytes, as those of paramiko do."""

    failure: BaseException

    def send(self, data: memoryview) -> int:
        content = bytes(data)
        if any(secret.encode() in content for secret in SECRETS.values()):
            raise self.failure
        return super().send(data)


class WaitingChannel(LocalChannel):
    """Is interrupted while it waits for the answer."""

    def recv(self, size: int) -> bytes:
        if any(secret.encode() in bytes(self.sent) for secret in SECRETS.values()):
            raise KeyboardInterrupt
        return super().recv(size)


@pytest.mark.parametrize(("action", "words"), [(minted, "refused"), (carried, "the block fails")])
def test_a_mint_that_is_refused(c: LocalConnection, action: Any, words: str) -> None:
    error = put(c, action)
    assert isinstance(error, MintError)
    assert words in str(error)
    assert_hidden(error)


@pytest.mark.parametrize("action", [minted, carried])
@pytest.mark.parametrize("failure", [BrokenPipeError(), EOFError(), KeyboardInterrupt(), MemoryError()], ids=repr)
def test_a_failure_while_the_password_is_sent(c: LocalConnection, action: Any, failure: BaseException) -> None:
    FailingChannel.failure = failure
    c.channel_class = FailingChannel
    error = put(c, action)
    assert isinstance(error, (LostError, NotReadyError) if isinstance(failure, (OSError, EOFError)) else type(failure))
    assert_hidden(error)


@pytest.mark.parametrize("action", [minted, carried])
def test_an_interruption_while_the_answer_is_awaited(c: LocalConnection, action: Any) -> None:
    c.channel_class = WaitingChannel
    error = put(c, action)
    assert isinstance(error, (KeyboardInterrupt, SecretLeftError))
    assert_hidden(error)


def test_a_refused_password_of_sudo(c: LocalConnection) -> None:
    c.environment = {"ID": "1000"}
    error = put(c, minted)
    assert "sudo does not accept" in str(error.__context__ or error)
    assert_hidden(error)


@pytest.mark.parametrize("failure", [BrokenPipeError(), KeyboardInterrupt()], ids=repr)
def test_a_failure_while_the_password_of_sudo_is_sent(c: LocalConnection, failure: BaseException) -> None:
    c.environment = {"ID": "1000"}
    FailingChannel.failure = failure
    c.channel_class = FailingChannel
    error = put(c, minted)
    assert len(c.channels) > 1, "sudo has asked"
    assert_hidden(error)


def test_a_connection_of_paramiko_that_is_lost_while_the_password_is_sent() -> None:
    def hang_up(channel: Any) -> None:
        channel.recv(1)
        channel.transport.sock.close()

    server = ServerConnection(hang_up)
    try:
        error = put(
            server, lambda shell, _password: shell.run("put_password", data=HiddenText(SECRETS["provisioner"] * 20_000))
        )
    finally:
        server.close()
    assert isinstance(error, LostError)
    assert_hidden(error)


def test_an_interruption_at_any_line_while_the_message_is_put_together() -> None:
    requests = [script.Request("put_password", ("/tmp/x",), Password(SECRETS["provisioner"]).reveal())]
    lines = 0

    def interrupted_at(stop: int) -> BaseException | None:
        nonlocal lines
        lines = 0

        def trace(_frame: FrameType, event: str, _arg: object) -> Any:
            nonlocal lines
            lines += event == "line"
            if lines == stop:
                sys.settrace(None)
                raise KeyboardInterrupt
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            script.message(requests, "mark", with_library=True)
        except KeyboardInterrupt as interruption:
            return interruption
        finally:
            sys.settrace(before)
        return None

    interrupted_at(-1)
    assert lines > 20
    for stop in range(1, lines + 1):
        interruption = interrupted_at(stop)
        if interruption:
            assert_hidden_in_locals(interruption)


@pytest.mark.parametrize("end", [b"\nsecond line\n", b"\xff\n"], ids=["two lines", "not UTF-8"])
def test_a_password_file_that_is_refused(tmp_path: Path, end: bytes) -> None:
    file = tmp_path / "password"
    file.write_bytes(SECRETS["provisioner"].encode() + end)
    with pytest.raises(InputError) as caught:
        read_password(file)
    assert_hidden(caught.value)


@pytest.mark.parametrize(
    ("content", "command"),
    [
        ("{secret}", ("/bin/cat", "{file}", "/no/such/file")),
        ("{secret}", ("/usr/bin/tail", "-f", "{file}")),
        ("{secret}\0", ("/bin/cat", "{file}")),
        ("\n{secret}", ("/bin/cat", "{file}")),
    ],
    ids=["fails", "does not end", "no text", "second line"],
)
def test_a_password_command_that_is_refused(
    tmp_path: Path, content: str, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(password_source, "COMMAND_SECONDS", 0.5)
    file = tmp_path / "password"
    file.write_text(content.format(secret=SECRETS["provisioner"]))
    settings = Settings(provisioner_password_command=[word.format(file=file) for word in command])  # type: ignore[arg-type]
    with pytest.raises(InputError) as caught:
        password_source.obtain(settings)
    assert_hidden(caught.value)


def test_a_configuration_does_not_show_the_password_of_sudo() -> None:
    from invoke.config import Config

    config = Config(overrides={"sudo": {"password": SECRETS["sudo"]}})
    hide_sudo_password(config)
    assert SECRETS["sudo"] not in repr(config)
    assert config.sudo.password == SECRETS["sudo"]
    hide_sudo_password(Config())
    hide_sudo_password({})


def test_a_hidden_text_is_sent_as_it_is_and_not_shown() -> None:
    text = HiddenText("geheim")
    assert f"{text}!".encode() == b"geheim!"
    for shown in (repr(text), repr([text]), repr({"a": text}), repr(text[1:]), f"{text!r}"):
        assert "ehe" not in shown
