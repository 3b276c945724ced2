"""The root shell's protocol, with a real shell on this machine as the remote end."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshfab.errors import LostError, NotReadyError, SudoAsksError
from meshfab.host import answer_fields
from meshfab.ssh import connection, script, shell_channel
from meshfab.ssh.root_shell import RootShell
from meshfab.ssh.script import Request
from tests.support.fake_host import PASSWORD
from tests.support.local_shell import LocalConnection

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPTS = {
    "show": 'for arg in "$@"; do put arg "$arg"; done',
    "count": "echo $#",
    "data": 'put data "$data"',
    "fail": "print_error it did not work\nexit 7",
    "unset": "set -eu\nfalse\necho not reached",
    "both": "echo out; echo err >&2",
    "raw": "printf '\\377\\000\\376'",
    "hold": "held=yes; trap 'echo gone >\"$1\"' EXIT",
    "held": "echo ${held-no}",
    "leave": "left=yes; cd /; umask 000; set -f",
    "left": 'echo "${left-no} $(umask)"',
    "environment": "env",
    "variables": "set",
    "drip last words": "exec >&-; while :; do printf x >&2 || exit; sleep 0.01; done",
    "fill stderr": "head -c 3000000 /dev/zero | tr '\\0' x >&2; echo out",
    "fill stdout": "head -c 3000000 /dev/zero | tr '\\0' x; echo err >&2",
    "die": "kill -9 $$",
    "slow": "exec sleep 60",
    "flood": "while :; do echo 0123456789012345678901234567890123456789012345678901234567890123; done",
    "noend": "printf x",
}
package_text = script.text


@pytest.fixture(autouse=True)
def _test_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    def text(name: str) -> str:
        return SCRIPTS[name] if name in SCRIPTS else package_text(name)

    monkeypatch.setattr(script, "text", text)
    monkeypatch.setattr(connection, "ensure_open", lambda c, *_seconds: c)


def command(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def fakes(tmp_path: Path) -> Path:
    """Fake commands that are first in PATH until library.sh sets it; `id` prints 0, for root."""
    folder = tmp_path / "bin"
    folder.mkdir()
    command(folder, "id", "echo 0")
    return folder


@pytest.fixture
def c(fakes: Path) -> Iterator[LocalConnection]:
    local = LocalConnection(f"{fakes}:/usr/local/bin:/usr/bin:/bin")
    yield local
    local.close()


@pytest.fixture
def root(c: LocalConnection) -> Iterator[RootShell]:
    with RootShell(c, timeout=20) as shell:
        yield shell


def test_a_script_answers_with_status_stdout_and_stderr(root: RootShell) -> None:
    answer = root.run("both")
    assert (answer.script, answer.status, answer.text, answer.err) == ("both", 0, "out", "err")
    assert answer.ok


def test_the_shell_continues_after_a_failed_script(root: RootShell) -> None:
    answer = root.run("fail")
    assert (answer.status, answer.ok, answer.err) == (7, False, "it did not work")
    assert root.run("both").ok


def test_a_script_with_set_e_ends_at_the_first_error(root: RootShell) -> None:
    answer = root.run("unset")
    assert answer.status == 1
    assert "not reached" not in answer.text


def test_any_arguments_arrive_unchanged(root: RootShell) -> None:
    texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)

    @given(st.lists(texts, max_size=4))
    def arrive(args: list[str]) -> None:
        answer = root.run("show", *args)
        # The script uses no `$(…)`, which would remove newlines at the end.
        expected = b"".join(b"arg %d\n%b\n" % (len(arg.encode()), arg.encode()) for arg in args)
        assert answer.out == expected
        assert answer.err == ""

    arrive()


@pytest.mark.parametrize(
    "arg",
    [
        "",
        "-n",
        "a b",
        "$(echo no)",
        "`echo no`",
        "'",
        '"',
        "\\",
        "a\nb\n",
        "*",
        "~",
        "\xe9\u20ac\U0001d11e",
        "--",
        "\r\n",
        "!x",
    ],
)
def test_an_argument_with_shell_syntax_is_not_interpreted(root: RootShell, arg: str) -> None:
    (value,) = answer_fields.parse_fields(root.run("show", arg).out, "h2").values()
    assert value == arg


def test_data_arrives_unchanged_and_in_no_environment_or_argument(root: RootShell, c: LocalConnection) -> None:
    answers = root.batch([Request("data", data=PASSWORD), Request("environment")])
    assert answer_fields.parse_fields(answers[0].out, "h2")["data"] == PASSWORD
    assert PASSWORD not in answers[1].text
    assert PASSWORD not in " ".join(c.channels[0].commands)


def test_variables_that_the_login_exports_do_not_export_the_data(c: LocalConnection) -> None:
    c.environment = dict.fromkeys(("data", "run", "n", "mark"), "exported") | {"SHELLOPTS": "allexport"}
    with RootShell(c, timeout=20) as shell:
        answer = shell.run("environment", data=PASSWORD)
        mark = shell._mark
    assert "PATH=" in answer.text
    for word in (PASSWORD, "exported", mark):
        assert word not in answer.text


def test_no_variable_keeps_the_data_after_its_script(root: RootShell) -> None:
    _, in_the_batch = root.batch([Request("data", data="geheim"), Request("variables")])
    after_it = root.run("variables")
    for answer in (in_the_batch, after_it):
        assert "PATH=" in answer.text
        assert "geheim" not in answer.text


@pytest.mark.parametrize(("name", "out", "err"), [("fill stderr", 3, 3_000_000), ("fill stdout", 3_000_000, 3)])
def test_a_script_may_fill_one_stream_while_the_other_is_awaited(
    root: RootShell, name: str, out: int, err: int
) -> None:
    answer = root.run(name)
    assert (len(answer.text), len(answer.err)) == (out, err)


def test_any_data_arrives_unchanged(root: RootShell) -> None:
    texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=200)

    @given(texts)
    def arrives(data: str) -> None:
        assert root.run("data", data=data).out == b"data %d\n%b\n" % (len(data.encode()), data.encode())

    arrives()


def test_large_data_arrives_whole(root: RootShell) -> None:
    data = "0123456789abcdef" * 20_000
    assert answer_fields.parse_fields(root.run("data", data=data).out, "h2")["data"] == data


def test_output_that_is_not_utf_8_is_returned_as_bytes(root: RootShell) -> None:
    answer = root.run("raw")
    assert answer.out == b"\xff\0\xfe"
    assert "\\xff" in answer.text


def test_a_batch_uses_one_channel_and_answers_in_order(root: RootShell, c: LocalConnection) -> None:
    answers = root.batch([Request("show", ("a",)), Request("both"), Request("count", ("x", "y"))])
    assert [answer.script for answer in answers] == ["show", "both", "count"]
    assert answers[2].text == "2"
    assert len(c.channels) == 1


def test_after_a_failure_the_rest_of_a_batch_is_not_run(root: RootShell, tmp_path: Path) -> None:
    SCRIPTS["touch"] = f"touch {tmp_path}/touched"
    answers = root.batch([Request("both"), Request("fail"), Request("touch"), Request("both")])
    assert [answer.script for answer in answers] == ["both", "fail"]
    assert not (tmp_path / "touched").exists()
    assert root.run("touch").ok
    assert (tmp_path / "touched").exists()


def test_a_script_does_not_change_the_shell(root: RootShell) -> None:
    root.run("leave")
    assert root.run("left").text == "no 0077"


def test_a_persistent_script_keeps_its_variables_and_traps(root: RootShell, tmp_path: Path) -> None:
    root.batch([Request("hold", (f"{tmp_path}/end",), persistent=True)])
    assert root.run("held").text == "yes"
    assert not (tmp_path / "end").exists()
    root.__exit__(None, None, None)
    assert (tmp_path / "end").read_text() == "gone\n"


def test_output_without_a_newline_at_the_end_is_separated_from_the_next(root: RootShell) -> None:
    answers = root.batch([Request("both"), Request("noend"), Request("both")])
    assert [answer.text for answer in answers] == ["out", "x", "out"]


def test_each_shell_has_its_own_mark(c: LocalConnection) -> None:
    with RootShell(c) as first, RootShell(c) as second:
        first.run("both")
        second.run("both")
        assert bytes(c.channels[0].sent[:60]) != bytes(c.channels[1].sent[:60])


def test_opening_the_shell_runs_one_command_only(c: LocalConnection) -> None:
    with RootShell(c) as shell:
        assert shell.is_idle
        assert len(c.channels[0].commands) == 1


def test_the_shell_ends_with_its_channel(c: LocalConnection) -> None:
    with RootShell(c) as shell:
        shell.run("both")
    assert c.channels[0].running.poll() is not None


def test_a_killed_shell_raises_an_error_and_is_not_idle(root: RootShell) -> None:
    with pytest.raises((LostError, NotReadyError)) as caught:
        root.run("die")
    assert str(caught.value).startswith("h2: ")
    assert not root.is_idle


def test_a_lost_connection_raises_an_error_with_a_remedy(root: RootShell, c: LocalConnection) -> None:
    root.run("both")
    c.channels[0].kill()
    with pytest.raises((LostError, NotReadyError)) as caught:
        root.run("both")
    assert caught.value.remedy


def test_a_timeout_raises_an_error_in_time(root: RootShell) -> None:
    start = time.monotonic()
    with pytest.raises(LostError, match="in time"):
        root.run("slow", timeout=0.2)
    assert time.monotonic() - start < 5
    assert not root.is_idle


def test_the_last_words_of_a_shell_are_waited_for_with_one_time_limit(
    root: RootShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shell_channel, "_END_SECONDS", 0.3)
    start = time.monotonic()
    with pytest.raises(LostError):
        root.batch([Request("drip last words", persistent=True)])
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("name", ["flood"])
def test_an_endless_answer_is_cut_off(root: RootShell, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(shell_channel, "MAX_ANSWER", 200_000)
    with pytest.raises(LostError, match="200000"):
        root.run(name)


SUDO: dict[str, tuple[str, type[Exception], str]] = {
    "password": ("echo 'sudo: a password is required' >&2; exit 1", SudoAsksError, "password"),
    "terminal": ("echo 'sudo: a terminal is required to read the password' >&2; exit 1", SudoAsksError, "password"),
    "not a sudoer": ("echo 'ops is not in the sudoers file.' >&2; exit 1", NotReadyError, "sudoers"),
    "not allowed": ("echo 'Sorry, user ops is not allowed to execute' >&2; exit 1", NotReadyError, "not allowed"),
    # sudo-rs 0.2.5 says `sudo-rs:` where 0.2.15 says `sudo:`.
    "password, in Rust": ("echo 'sudo-rs: interactive authentication is required' >&2; exit 1", SudoAsksError, "asks"),
    "the same as sudo": ("echo 'sudo: interactive authentication is required' >&2; exit 1", SudoAsksError, "asks"),
    "terminal, in Rust": ("echo 'sudo: A terminal is required to authenticate' >&2; exit 1", SudoAsksError, "asks"),
    "not a sudoer, in Rust": (
        "echo \"sudo: I'm sorry ops. I'm afraid I can't do that\" >&2; exit 1",
        NotReadyError,
        "refuses",
    ),
    "requiretty": (
        "echo 'sudo: sorry, you must have a tty to run sudo' >&2; exit 1",
        NotReadyError,
        r"requiretty.*Defaults:LOGIN !requiretty",
    ),
    "something else": ("echo 'sudo: oh no' >&2; exit 1", NotReadyError, "oh no"),
}


@pytest.mark.parametrize(("sudo", "error", "message"), SUDO.values(), ids=SUDO)
def test_a_refusal_of_sudo_is_an_error_of_one_line(
    fakes: Path, c: LocalConnection, sudo: str, error: type[Exception], message: str
) -> None:
    command(fakes, "id", "echo 1000")
    command(fakes, "sudo", sudo)
    with pytest.raises(error, match=message) as caught, RootShell(c) as shell:
        shell.run("both")
    assert "\n" not in str(caught.value)
    assert "->" in str(caught.value)


def test_a_missing_sudo_is_named(fakes: Path, c: LocalConnection) -> None:
    command(fakes, "id", "echo 1000")
    for name in ("sh", "dd"):
        (fakes / name).symlink_to(f"/bin/{name}")
    c.path = str(fakes)
    with pytest.raises(NotReadyError, match="sudo"), RootShell(c) as shell:
        shell.run("both")


def test_a_shell_without_a_printf_of_its_own_is_refused(fakes: Path, c: LocalConnection) -> None:
    # As in mksh: it would start a program, with the password among its arguments.
    (fakes / "sh").write_text('#!/bin/bash\nscript=$2\nshift 2\nexec bash -c "enable -n printf; $script" "$@"\n')
    (fakes / "sh").chmod(0o755)
    with pytest.raises(NotReadyError, match=r"/bin/sh .* has no printf of its own") as caught, RootShell(c) as shell:
        shell.run("both")
    assert "dash" in caught.value.remedy


def test_sudo_is_used_by_a_login_that_is_not_root(fakes: Path, c: LocalConnection) -> None:
    command(fakes, "sudo", 'echo used >&2; while [ $1 != -- ]; do shift; done; shift; exec "$@"')
    with RootShell(c) as shell:
        assert "used" not in shell.run("both").err
    command(fakes, "id", "echo 1000")
    with RootShell(c) as shell:
        assert shell.run("both").text == "out"


PROMPTING = """
[ "$1" = -n ] && { echo 'sudo: a password is required' >&2; exit 1; }
prompt=''
while [ "$1" != -- ]; do [ "$1" = -p ] && prompt=$2; shift; done
shift
for try in 1 2; do
    printf %s "$prompt" >&2
    read -r password
    [ "$password" = "open sesame" ] && exec "$@"
    echo 'Sorry, try again.' >&2
done
exit 1
"""


def test_sudos_password_is_sent_after_its_prompt_only(fakes: Path, c: LocalConnection) -> None:
    command(fakes, "id", "echo 1000")
    command(fakes, "sudo", PROMPTING)
    c.config.sudo.password = "open sesame"
    with RootShell(c) as shell:
        assert shell.run("both").text == "out"
        assert shell.run("show", "again").ok
    refused, accepted = c.channels
    assert b"open sesame" not in refused.sent
    assert bytes(accepted.sent).count(b"open sesame") == 1
    assert accepted.sent.startswith(b"open sesame\n")
    # Every user of the host sees the arguments of sudo.
    assert " -p " in accepted.commands[0]
    assert shell._mark not in accepted.commands[0]


def test_a_wrong_sudo_password_is_sent_once_and_never_printed(fakes: Path, c: LocalConnection) -> None:
    command(fakes, "id", "echo 1000")
    command(fakes, "sudo", PROMPTING)
    c.config.sudo.password = "wrong"
    with pytest.raises(NotReadyError, match="sudo") as caught, RootShell(c) as shell:
        shell.run("both")
    assert "wrong" not in str(caught.value)
    assert bytes(c.channels[1].sent).count(b"wrong") == 1


# sudo-rs puts the prompt into words of its own, and ends the line when it has read the password.
PROMPTING_IN_RUST = """
[ "$1" = -n ] && { echo 'sudo-rs: interactive authentication is required' >&2; exit 1; }
prompt=''
while [ "$1" != -- ]; do [ "$1" = -p ] && prompt=$2; shift; done
shift
for try in 1 2 3; do
    printf '[sudo: %%s] Password: ' "$prompt" >&2
    read -r password
    %s
    [ "$password" = "open sesame" ] && exec "$@"
    echo 'sudo: Authentication failed, try again.' >&2
done
echo 'sudo-rs: Maximum 3 incorrect authentication attempts' >&2
exit 1
"""


@pytest.mark.parametrize("end_of_line", ["echo >&2", "(sleep 0.3; echo >&2) &"], ids=["at once", "after the pid"])
def test_sudo_in_rust_gets_the_password_too(fakes: Path, c: LocalConnection, end_of_line: str) -> None:
    command(fakes, "id", "echo 1000")
    command(fakes, "sudo", PROMPTING_IN_RUST % end_of_line)
    c.config.sudo.password = "open sesame"
    with RootShell(c) as shell:
        assert shell.run("both").text == "out"
    c.config.sudo.password = "wrong"
    with pytest.raises(NotReadyError, match="does not accept the password"), RootShell(c) as shell:
        shell.run("both")


@pytest.mark.parametrize(
    ("end", "message"),
    [
        ("echo 'sudo: Authentication required but not attempted' >&2; exit 1", "asks for a password"),
        ("echo 'sudo: no password was provided' >&2; echo 'sudo: a password is required' >&2; exit 1", "asks for"),
        ("echo 'sudo: the account is locked' >&2; exit 1", "the account is locked"),
        ("exit 1", "the root shell ended with 1: no message"),
    ],
    ids=["Rust", "sudo", "locked", "silent"],
)
def test_a_sudo_that_ends_at_its_prompt_is_an_error_of_one_line(
    fakes: Path, c: LocalConnection, end: str, message: str
) -> None:
    ask = '[ "$1" = -n ] && { echo "sudo: a password is required" >&2; exit 1; }'
    command(fakes, "id", "echo 1000")
    command(fakes, "sudo", f'{ask}\nexec <&-; printf %s "$4" >&2\n{end}')
    c.config.sudo.password = "open sesame"
    with pytest.raises(NotReadyError, match=message) as caught, RootShell(c) as shell:
        shell.run("both")
    assert "\n" not in str(caught.value)
    assert "open sesame" not in str(caught.value)


@pytest.mark.parametrize("greeting", ["echo Welcome to h2", "echo 'fortune: 4711'"])
def test_output_of_the_login_shell_is_ignored(fakes: Path, c: LocalConnection, greeting: str) -> None:
    # A ~/.bashrc that prints something does so for every ssh command.
    command(fakes, "id", f"{greeting} >&2; echo 0")
    with RootShell(c) as shell:
        assert shell.run("both").text == "out"


def test_a_request_does_not_show_its_data() -> None:
    request = Request("put_password", ("/tmp/x",), data=PASSWORD)
    assert PASSWORD not in repr(request)
    assert PASSWORD not in str(request)
    assert PASSWORD not in f"{request}"
    assert PASSWORD not in request.body()


@pytest.mark.parametrize(
    "path", sorted((Path(script.__file__).parents[1] / "scripts").rglob("*.sh")), ids=lambda path: path.stem
)
def test_every_script_has_valid_posix_syntax(path: Path) -> None:
    import subprocess

    assert subprocess.run(["/bin/sh", "-n", str(path)], check=False, capture_output=True).stderr == b""


def test_exit_statuses_are_the_same_in_python_and_in_the_scripts() -> None:
    library = script.text("library")
    in_scripts = {name.upper(): int(number) for name, number in re.findall(r"\bstatus_(\w+)=(\d+)", library)}
    assert in_scripts == {status.name: status.value for status in script.ExitStatus}
    for file in (Path(script.__file__).parents[1] / "scripts").rglob("*.sh"):
        text = file.read_text()
        assert set(re.findall(r"\$status_(\w+)", text)) <= {name.lower() for name in in_scripts}, file.name
        assert not re.search(r"\b(exit|return) ([2-9]|[1-9]\d+)\b", text), f"{file.name}: a status without a name"
