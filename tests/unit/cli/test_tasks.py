"""The command line: exit statuses, one line, no traceback."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from invoke.config import Config
from invoke.exceptions import Exit
from invoke.program import Program

from meshfab import ns
from meshfab.errors import MintError, SecretLeftError
from meshfab.provisioning import api
from meshfab.provisioning.outcome import Outcome
from meshfab.provisioning.request import ProvisionRequest
from meshfab.ssh import connection
from tests.support.certificates import SERVICE
from tests.support.fake_host import PASSWORD

Inv = Callable[..., tuple[int, str, str]]


@pytest.fixture
def inv(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Inv:
    """`inv …` in this process: exit status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(connection, "ensure_open", lambda c, *_seconds: c)
    password = Path.home() / ".step" / "secrets" / "provisioner"
    password.parent.mkdir(parents=True)
    password.touch(0o600)
    password.write_text(PASSWORD)

    def run(*args: str) -> tuple[int, str, str]:
        status = 0
        try:
            Program(namespace=ns, version="0").run(["inv", *args], exit=True)
        except SystemExit as end:
            status = int(end.code or 0)
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


@pytest.fixture
def doing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], list[ProvisionRequest]]:
    """Put a function in the place of the run; returns the list of the requests that it was handed."""

    def put(do: Callable[..., Any]) -> list[ProvisionRequest]:
        calls: list[ProvisionRequest] = []

        def run(_c: object, request: ProvisionRequest, _on_step: object) -> Any:
            calls.append(request)
            return do()

        monkeypatch.setattr(api, "run", run)
        return calls

    return put


Doing = Callable[[Callable[..., Any]], list[ProvisionRequest]]
TASKS = ["provision", "mint", "renew-enable", "wire-nginx"]
WORDS = ("--name", "gongfoo", "--host", "h2")


def nothing_to_do() -> Outcome:
    return Outcome("h2", SERVICE, (), None, None)


def raising(error: BaseException) -> Callable[[], NoReturn]:
    def do() -> NoReturn:
        raise error

    return do


@pytest.mark.parametrize("task", TASKS)
def test_success_is_0_and_says_so_on_stdout(inv: Inv, doing: Doing, task: str) -> None:
    doing(nothing_to_do)
    status, out, err = inv(task, *WORDS)
    assert (status, err) == (0, "")
    assert "nothing changed" in out


@pytest.mark.parametrize("task", TASKS)
def test_a_failure_is_1_and_one_line_on_stderr(inv: Inv, doing: Doing, task: str) -> None:
    doing(raising(MintError("the CA is down", host="h2", remedy="start it")))
    assert inv(task, *WORDS) == (1, "", "h2: the CA is down -> start it\n")


def test_options_become_arguments(inv: Inv, doing: Doing) -> None:
    calls = doing(nothing_to_do)
    more = (
        "--san",
        "a.internal",
        "--san",
        "b.internal",
        "--upstream",
        "https://x:1",
        "--mtls",
        "--no-verify-upstream",
        "--keep-host",
        "--no-vhost",
        "--dry-run",
    )
    assert inv("provision", *WORDS, *more)[0] == 0
    (call,) = calls
    (service,) = call.services
    assert service.name == "gongfoo"
    assert service.sans == ("a.internal", "b.internal")
    assert (service.upstream, service.mtls, service.vhost, call.dry_run) == ("https://x:1", True, False, True)
    assert (service.verify_upstream, service.keep_host) == (False, True)
    assert call.password is None


def test_options_that_are_left_out_are_left_open(inv: Inv, doing: Doing) -> None:
    calls = doing(nothing_to_do)
    inv("provision", *WORDS)
    (call,) = calls
    (service,) = call.services
    assert (service.sans, service.upstream, service.mtls, service.vhost) == (None, None, False, True)
    assert (service.verify_upstream, service.keep_host) == (True, False)
    assert not call.dry_run


def test_invokes_own_dry_run_is_ours_too(inv: Inv, doing: Doing) -> None:
    calls = doing(nothing_to_do)
    status, out, _ = inv("--dry", "provision", *WORDS)
    assert status == 0
    assert calls[0].dry_run
    assert "nothing was written" in out


BAD = {
    "name": ("--name", "Gong.foo", "--host", "h2"),
    "empty name": ("--name", "", "--host", "h2"),
    "dashed name": ("--name=-rf", "--host", "h2"),
    "host": ("--name", "gongfoo", "--host=-oProxyCommand=x"),
    "upstream": (*WORDS, "--upstream", "nonsense"),
    "newline": (*WORDS, "--upstream", "http://h/\nx"),
    "san": (*WORDS, "--san", "A B"),
    "mtls": (*WORDS, "--mtls"),
    "an address to verify": (*WORDS, "--upstream", "https://10.87.0.13:8443"),
}


@pytest.mark.parametrize("words", BAD.values(), ids=BAD)
def test_bad_input_is_1_and_one_line_and_nothing_is_called(inv: Inv, doing: Doing, words: tuple[str, ...]) -> None:
    calls = doing(nothing_to_do)
    status, out, err = inv("provision", *words)
    assert (status, out, len(err.splitlines())) == (1, "", 1)
    assert "Traceback" not in err
    assert calls == []


@pytest.mark.parametrize("words", [("--name", "gongfoo"), ("--host", "h2"), ()], ids=["no host", "no name", "nothing"])
def test_a_word_that_is_missing_is_1(inv: Inv, words: tuple[str, ...]) -> None:
    status, _, err = inv("provision", *words)
    assert status == 1
    assert "Traceback" not in err


def test_a_setting_that_is_unknown_is_1_and_one_line(
    inv: Inv, doing: Doing, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "invoke.yaml").write_text("meshfab:\n  ca_ulr: https://x\n")
    calls = doing(nothing_to_do)
    status, _, err = inv("-f", str(tmp_path / "invoke.yaml"), "provision", *WORDS)
    assert (status, len(err.splitlines())) == (1, 1)
    assert "meshfab.ca_url" in err
    assert calls == []


def test_a_setting_comes_by_environment(inv: Inv, doing: Doing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVOKE_MESHFAB_CA_URL", "https://other.example")
    calls = doing(nothing_to_do)
    assert inv("provision", *WORDS)[0] == 0
    assert calls[0].settings.ca_url == "https://other.example"


def test_a_crash_of_ours_is_one_line_that_says_how_to_see_more(inv: Inv, doing: Doing) -> None:
    doing(raising(ZeroDivisionError("division\nby zero")))
    status, _, err = inv("provision", *WORDS)
    assert (status, len(err.splitlines())) == (1, 1)
    assert "ZeroDivisionError" in err
    assert "MESHFAB_DEBUG=1" in err


def test_with_the_debug_switch_a_crash_is_a_traceback(inv: Inv, doing: Doing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESHFAB_DEBUG", "1")
    doing(raising(ZeroDivisionError("x")))
    with pytest.raises(ZeroDivisionError):
        inv("provision", *WORDS)


def test_a_password_that_may_be_left_is_the_first_line_and_what_led_to_it_the_second(inv: Inv, doing: Doing) -> None:
    def do() -> NoReturn:
        try:
            raise MintError("the CA is down", host="h2")
        finally:
            raise SecretLeftError("THE PASSWORD MAY STILL LIE at /tmp/x", host="h2", remedy="rm it")

    doing(do)
    status, _, err = inv("provision", *WORDS)
    assert status == 1
    assert err.splitlines() == ["h2: THE PASSWORD MAY STILL LIE at /tmp/x -> rm it", "h2: the CA is down"]


def test_an_error_that_was_put_in_other_words_is_one_line(inv: Inv, doing: Doing) -> None:
    def do() -> NoReturn:
        try:
            raise MintError("first", host="h2")
        except MintError:
            raise MintError("second", host="h2") from None

    doing(do)
    assert inv("provision", *WORDS) == (1, "", "h2: second\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=lambda n: n.name)
def test_a_signal_unwinds_and_is_1_and_one_line(inv: Inv, doing: Doing, number: signal.Signals) -> None:
    unwound = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def do() -> None:
        try:
            signal.raise_signal(number)
        finally:
            unwound.append(True)

    doing(do)
    handler = signal.getsignal(number)
    try:
        status, _, err = inv("provision", *WORDS)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (status, len(err.splitlines())) == (1, 1)
    assert unwound == [True]
    if number is not signal.SIGINT:
        assert signal.getsignal(number) is handler


@pytest.mark.parametrize("task", TASKS)
def test_every_task_and_option_has_its_help(inv: Inv, task: str) -> None:
    status, out, _ = inv("--help", task)
    assert status == 0
    assert "Docstring:" in out
    options = [line for line in out.splitlines() if line.strip().startswith("-")]
    assert len(options) >= 3
    assert "none" not in out.partition("Docstring:")[2].partition("Options:")[0]


def test_the_tasks_are_listed_with_their_first_line(inv: Inv) -> None:
    _, out, _ = inv("--list")
    for task in TASKS:
        (line,) = [line for line in out.splitlines() if line.split()[:1] == [task]]
        assert len(line.split()) > 4


def test_another_fabfile_can_mount_the_namespace() -> None:
    from invoke.collection import Collection

    mounted = Collection("mine")
    mounted.add_collection(ns, name="mesh")
    assert "mesh.provision" in mounted.task_names
    assert mounted.configuration("mesh.provision")["meshfab"]["ca_url"] == "https://ca.internal"


def test_a_parent_that_sets_one_key_drops_no_other() -> None:
    # pyinvoke/invoke#782: configurations of collections are merged shallowly.
    from meshfab import Settings

    config = Config(overrides={"meshfab": {"domain": "mesh.example"}})
    assert Settings.load(config) == Settings(domain="mesh.example")


def test_exit_is_invokes_own() -> None:
    assert issubclass(Exit, Exception)
