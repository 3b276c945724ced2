"""The root shell's protocol, for real: the other end is a shell of this machine."""

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
from meshfab.ssh import connection, root_shell, script
from meshfab.ssh.root_shell import RootShell
from meshfab.ssh.script import Request
from tests.support.fake_host import PASSWORD
from tests.support.local_shell import LocalConnection

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPTS = {
    "show": 'for word in "$@"; do put word "$word"; done',
    "count": "echo $#",
    "data": 'put data "$data"',
    "fail": "print_error it did not work\nexit 7",
    "unset": "set -eu\nfalse\necho not reached",
    "both": "echo out; echo err >&2",
    "raw": "printf '\\377\\000\\376'",
    "marks": 'printf "\\n%s 0" "$mark"; echo; echo "$mark 1"',
    "hold": "held=yes; trap 'echo gone >\"$1\"' EXIT",
    "held": "echo ${held-no}",
    "leave": "left=yes; cd /; umask 000; set -f",
    "left": 'echo "${left-no} $(umask)"',
    "environment": "env",
    "exit": "kill -9 $$",
    "die": "kill -9 $$",
    "slow": "exec sleep 60",
    "flood": "while :; do echo 0123456789012345678901234567890123456789012345678901234567890123; done",
    "eat": "cat",
    "noend": "printf x",
}
real_text = script.text


@pytest.fixture(autouse=True)
def _own_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    def text(name: str) -> str:
        return SCRIPTS[name] if name in SCRIPTS else real_text(name)

    monkeypatch.setattr(script, "text", text)
    monkeypatch.setattr(connection, "opened", lambda c: c)


def command(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def fakes(tmp_path: Path) -> Path:
    """Commands that come before the machine's own until the prelude sets PATH; `id` says root."""
    folder = tmp_path / "bin"
    folder.mkdir()
    command(folder, "id", "echo 0")
    return folder


@pytest.fixture
def c(fakes: Path) -> Iterator[LocalConnection]:
    made = LocalConnection(f"{fakes}:/usr/local/bin:/usr/bin:/bin")
    yield made
    made.close()


@pytest.fixture
def root(c: LocalConnection) -> Iterator[RootShell]:
    with RootShell(c, timeout=20) as opened:
        yield opened


def test_a_script_answers_with_status_stdout_and_stderr(root: RootShell) -> None:
    answer = root.run("both")
    assert (answer.script, answer.status, answer.text, answer.err) == ("both", 0, "out", "err")
    assert answer.ok


def test_a_failed_script_says_so_and_the_shell_lives_on(root: RootShell) -> None:
    answer = root.run("fail")
    assert (answer.status, answer.ok, answer.err) == (7, False, "it did not work")
    assert root.run("both").ok


def test_a_script_ends_at_the_first_error_it_does_not_expect(root: RootShell) -> None:
    answer = root.run("unset")
    assert answer.status == 1
    assert "not reached" not in answer.text


def test_any_words_arrive_unchanged(root: RootShell) -> None:
    texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)

    @given(st.lists(texts, max_size=4))
    def arrive(words: list[str]) -> None:
        answer = root.run("show", *words)
        # As every answer: `$(…)` is not in the way here, so even newlines at the end are there.
        expected = b"".join(b"word %d\n%b\n" % (len(w.encode()), w.encode()) for w in words)
        assert answer.out == expected
        assert answer.err == ""

    arrive()


@pytest.mark.parametrize(
    "word",
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
def test_a_word_that_a_shell_would_read_is_only_a_word(root: RootShell, word: str) -> None:
    (value,) = answer_fields.parse_fields(root.run("show", word).out).values()
    assert value == word


def test_data_arrives_unchanged_and_in_no_environment_or_argument(root: RootShell, c: LocalConnection) -> None:
    answers = root.batch([Request("data", data=PASSWORD), Request("environment")])
    assert answer_fields.parse_fields(answers[0].out)["data"] == PASSWORD
    assert PASSWORD not in answers[1].text
    assert PASSWORD not in " ".join(c.channels[0].commands)


def test_any_data_arrives_unchanged(root: RootShell) -> None:
    texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=200)

    @given(texts)
    def arrives(data: str) -> None:
        assert root.run("data", data=data).out == b"data %d\n%b\n" % (len(data.encode()), data.encode())

    arrives()


def test_large_data_arrives_whole(root: RootShell) -> None:
    data = "0123456789abcdef" * 20_000
    assert answer_fields.parse_fields(root.run("data", data=data).out)["data"] == data


def test_bytes_that_are_no_text_are_bytes(root: RootShell) -> None:
    answer = root.run("raw")
    assert answer.out == b"\xff\0\xfe"
    assert "\\xff" in answer.text


def test_a_batch_is_one_round_trip_and_answers_in_order(root: RootShell, c: LocalConnection) -> None:
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


def test_a_script_leaves_nothing_behind_in_the_shell(root: RootShell) -> None:
    root.run("leave")
    assert root.run("left").text == "no 0077"


def test_a_script_that_stays_leaves_what_is_to_outlive_it(root: RootShell, tmp_path: Path) -> None:
    root.batch([Request("hold", (f"{tmp_path}/end",), persistent=True)])
    assert root.run("held").text == "yes"
    assert not (tmp_path / "end").exists()
    root.__exit__(None, None, None)
    assert (tmp_path / "end").read_text() == "gone\n"


def test_a_script_that_eats_its_input_gets_nobody_elses(root: RootShell) -> None:
    # stdin is the pipe that the next request comes through.
    answers = root.batch([Request("both"), Request("noend"), Request("both")])
    assert [answer.text for answer in answers] == ["out", "x", "out"]


def test_one_shell_cannot_forge_the_others_marks(c: LocalConnection) -> None:
    with RootShell(c) as first, RootShell(c) as second:
        first.run("both")
        second.run("both")
        assert bytes(c.channels[0].sent[:60]) != bytes(c.channels[1].sent[:60])


def test_nothing_is_run_when_nothing_is_asked(c: LocalConnection) -> None:
    with RootShell(c) as opened:
        assert opened.is_idle
        assert len(c.channels[0].commands) == 1


def test_the_shell_ends_with_its_channel(c: LocalConnection) -> None:
    with RootShell(c) as opened:
        opened.run("both")
    assert c.channels[0].running.poll() is not None


def test_a_shell_that_dies_is_a_lost_or_broken_host_and_not_idle(root: RootShell) -> None:
    with pytest.raises((LostError, NotReadyError)) as caught:
        root.run("die")
    assert str(caught.value).startswith("h2: ")
    assert not root.is_idle


def test_a_line_that_drops_is_lost_and_says_what_to_do(root: RootShell, c: LocalConnection) -> None:
    root.run("both")
    c.channels[0].kill()
    with pytest.raises((LostError, NotReadyError)) as caught:
        root.run("both")
    assert caught.value.remedy


def test_no_answer_in_time_is_lost_at_the_time_that_was_set(root: RootShell) -> None:
    began = time.monotonic()
    with pytest.raises(LostError, match="in time"):
        root.run("slow", timeout=0.2)
    assert time.monotonic() - began < 5
    assert not root.is_idle


@pytest.mark.parametrize("name", ["flood"])
def test_a_host_that_talks_without_end_is_hung_up_on(
    root: RootShell, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(root_shell, "MAX_ANSWER", 200_000)
    with pytest.raises(LostError, match="200000"):
        root.run(name)


SUDO: dict[str, tuple[str, type[Exception], str]] = {
    "password": ("echo 'sudo: a password is required' >&2; exit 1", SudoAsksError, "password"),
    "terminal": ("echo 'sudo: a terminal is required to read the password' >&2; exit 1", SudoAsksError, "password"),
    "not a sudoer": ("echo 'ops is not in the sudoers file.' >&2; exit 1", NotReadyError, "sudoers"),
    "not allowed": ("echo 'Sorry, user ops is not allowed to execute' >&2; exit 1", NotReadyError, "not allowed"),
    "something else": ("echo 'sudo: oh no' >&2; exit 1", NotReadyError, "oh no"),
}


@pytest.mark.parametrize(("text", "kind", "word"), SUDO.values(), ids=SUDO)
def test_a_sudo_that_refuses_says_why_in_one_line(
    fakes: Path, c: LocalConnection, text: str, kind: type[Exception], word: str
) -> None:
    command(fakes, "id", "echo 1000")
    command(fakes, "sudo", text)
    with pytest.raises(kind, match=word) as caught, RootShell(c) as opened:
        opened.run("both")
    assert "\n" not in str(caught.value)
    assert "->" in str(caught.value)


def test_without_sudo_it_says_so(fakes: Path, c: LocalConnection) -> None:
    command(fakes, "id", "echo 1000")
    for name in ("sh", "dd"):
        (fakes / name).symlink_to(f"/bin/{name}")
    c.path = str(fakes)
    with pytest.raises(NotReadyError, match="sudo"), RootShell(c) as opened:
        opened.run("both")


def test_a_plain_login_goes_through_sudo_and_root_does_not(fakes: Path, c: LocalConnection) -> None:
    command(fakes, "sudo", 'echo used >&2; while [ $1 != -- ]; do shift; done; shift; exec "$@"')
    with RootShell(c) as opened:
        assert "used" not in opened.run("both").err
    command(fakes, "id", "echo 1000")
    with RootShell(c) as opened:
        assert opened.run("both").text == "out"


PROMPTING = """
[ "$1" = -n ] && { echo 'sudo: a password is required' >&2; exit 1; }
prompt=''
while [ "$1" != -- ]; do [ "$1" = -p ] && prompt=$2; shift; done
shift
for try in 1 2; do
    printf %s "$prompt" >&2
    read -r given
    [ "$given" = "open sesame" ] && exec "$@"
    echo 'Sorry, try again.' >&2
done
exit 1
"""


def test_sudos_password_is_given_when_sudo_asks_and_only_then(fakes: Path, c: LocalConnection) -> None:
    command(fakes, "id", "echo 1000")
    command(fakes, "sudo", PROMPTING)
    c.config.sudo.password = "open sesame"
    with RootShell(c) as opened:
        assert opened.run("both").text == "out"
        assert opened.run("show", "again").ok
    refused, accepted = c.channels
    assert b"open sesame" not in refused.sent
    assert bytes(accepted.sent).count(b"open sesame") == 1
    assert accepted.sent.startswith(b"open sesame\n")


def test_a_wrong_sudo_password_is_tried_once_and_shown_nowhere(fakes: Path, c: LocalConnection) -> None:
    command(fakes, "id", "echo 1000")
    command(fakes, "sudo", PROMPTING)
    c.config.sudo.password = "wrong"
    with pytest.raises(NotReadyError, match="sudo") as caught, RootShell(c) as opened:
        opened.run("both")
    assert "wrong" not in str(caught.value)
    assert bytes(c.channels[1].sent).count(b"wrong") == 1


@pytest.mark.parametrize("greeting", ["echo Welcome to h2", "echo 'fortune: 4711'"])
def test_a_greeting_of_the_logins_shell_does_not_confuse_it(fakes: Path, c: LocalConnection, greeting: str) -> None:
    # As a ~/.bashrc that prints something does, for every ssh command.
    command(fakes, "id", f"{greeting} >&2; echo 0")
    with RootShell(c) as opened:
        assert opened.run("both").text == "out"


def test_a_request_does_not_show_its_data() -> None:
    request = Request("put_password", ("/tmp/x",), data=PASSWORD)
    assert PASSWORD not in repr(request)
    assert PASSWORD not in str(request)
    assert PASSWORD not in f"{request}"
    assert PASSWORD not in request.body()


@pytest.mark.parametrize(
    "path", sorted((Path(script.__file__).parents[1] / "scripts").rglob("*.sh")), ids=lambda path: path.stem
)
def test_every_script_is_sound_for_a_posix_shell(path: Path) -> None:
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
