"""Bad input: one line, exit status 1, and no connection."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.on_host import assert_refused

if TYPE_CHECKING:
    from tests.integration.conftest import Inv, Mesh

pytestmark = pytest.mark.lab

GOOD = {"--name": "gongfoo", "--host": "h2"}
WORDS: dict[str, dict[str, str]] = {
    "name with a dot": {"--name": "gongfoo.internal"},
    "name in capitals": {"--name": "Gongfoo"},
    "name with a slash": {"--name": "../etc"},
    "name with a space": {"--name": "gong foo"},
    "name with a substitution": {"--name": "$(reboot)"},
    "name with backquotes": {"--name": "`reboot`"},
    "name with a leading dash": {"--name": "-rf"},
    "name of 64 characters": {"--name": "x" * 64},
    "empty name": {"--name": ""},
    "name that is not ASCII": {"--name": "gôngfoo"},
    "name with a newline": {"--name": "gong\nfoo"},
    "host like an option": {"--host": "-oProxyCommand=reboot"},
    "host like an option after a user": {"--host": "ops@-oProxyCommand=reboot"},
    "host with a substitution": {"--host": "$(reboot)"},
    "host with a space": {"--host": "h2 h3"},
    "empty host": {"--host": ""},
    "host with a port out of range": {"--host": "h2:99999"},
    "upstream that is no URL": {"--upstream": "localhost"},
    "upstream with a newline": {"--upstream": "http://127.0.0.1:80/\n"},
    "upstream with a brace": {"--upstream": "http://127.0.0.1/}"},
    "upstream with a semicolon": {"--upstream": "http://127.0.0.1/;"},
    "upstream of another scheme": {"--upstream": "file:///etc/shadow"},
    "upstream with a variable": {"--upstream": "http://$host"},
    "SAN that is no name": {"--san": "a b"},
    "SAN like an option": {"--san": "-x.internal"},
}
SETTINGS: dict[str, tuple[str, str]] = {
    "unknown key": ("ca_ulr: https://ca.internal", "meshfab.ca_url"),
    "plain CA": ("ca_url: http://ca.internal", "meshfab.ca_url"),
    "path with a semicolon": ("cert_dir: /etc/a;b", "meshfab.cert_dir"),
    "relative root": ("root: root.pem", "meshfab.root"),
    "provisioner like an option": ("provisioner: --force", "provisioner"),
    "user that is a number": ("nginx_user: 33", "meshfab.nginx_user"),
    "no password file": ("provisioner_password: /nonexistent", "/nonexistent"),
    "a number for the password file": ("provisioner_password: 7", "meshfab.provisioner_password"),
    "an SSH configuration that is not there": ("ssh_config: /nonexistent", "/nonexistent"),
}


@pytest.fixture
def attempts(tmp_path: Path) -> Path:
    """A file with a line for each connection that was tried: `attempts.conf` beside it, an SSH configuration."""
    file = tmp_path / "attempts"
    file.write_text("")
    (tmp_path / "attempts.conf").write_text(f"Host *\n  ProxyCommand sh -c 'echo tried >>{file}; exit 1'\n")
    return file


def settings(attempts: Path, line: str = "") -> str:
    """An Invoke configuration file that lets no connection go unnoticed."""
    path = attempts.with_name("invoke.yaml")
    own = "" if "ssh_config" in line else f"  ssh_config: {attempts}.conf\n"
    path.write_text(f"meshfab:\n{own}  {line}\n")
    return str(path)


@pytest.mark.parametrize("task", ["provision", "mint", "renew-enable", "wire-nginx"])
def test_with_good_input_a_connection_is_tried(inv: Inv, attempts: Path, task: str) -> None:
    # What the other tests here rely on.
    done = inv("-f", settings(attempts), task, "--name", "gongfoo", "--host", "h2")
    assert_refused(done, "h2")
    assert attempts.read_text() == "tried\n"


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS)
def test_a_bad_word_is_refused_in_one_line_before_any_connection(
    inv: Inv, attempts: Path, words: dict[str, str]
) -> None:
    line = [f"{option}={value}" for option, value in {**GOOD, **words}.items()]
    assert_refused(inv("-f", settings(attempts), "provision", *line))
    assert attempts.read_text() == ""


@pytest.mark.parametrize(("line", "word"), SETTINGS.values(), ids=SETTINGS)
def test_a_bad_setting_is_refused_in_one_line_that_names_it_before_any_connection(
    inv: Inv, attempts: Path, line: str, word: str
) -> None:
    done = inv("-f", settings(attempts, line), "provision", "--name", "gongfoo", "--host", "h2")
    assert word in assert_refused(done)
    assert attempts.read_text() == ""


@pytest.mark.parametrize("dashed", [["--name", "-rf", "--host", "h2"], ["--name", "gongfoo", "--host", "-v"]])
def test_a_word_that_looks_like_an_option_is_no_traceback(inv: Inv, dashed: list[str]) -> None:
    done = inv("provision", *dashed)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("words", [[], ["--name", "gongfoo"], ["--host", "h2"]], ids=["nothing", "name", "host"])
def test_a_word_that_is_missing_is_named(inv: Inv, words: list[str]) -> None:
    done = inv("provision", *words)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("content", ["", " \n", "one\ntwo\n"], ids=["empty", "blank", "two lines"])
def test_a_password_file_without_a_password_is_refused_before_any_connection(
    inv: Inv, attempts: Path, tmp_path: Path, content: str
) -> None:
    (tmp_path / "password").write_text(content)
    (tmp_path / "password").chmod(0o600)
    configured = settings(attempts, f"provisioner_password: {tmp_path}/password")
    assert_refused(inv("-f", configured, "provision", "--name", "gongfoo", "--host", "h2"), f"{tmp_path}/password")
    assert attempts.read_text() == ""


@pytest.mark.parametrize("text", ["Host h2\n  nonsense\n", "Host h2\n  Port ssh\n"], ids=["junk", "port"])
def test_an_ssh_configuration_that_cannot_be_read_is_said_in_one_line(
    inv: Inv, mesh: Mesh, tmp_path: Path, text: str
) -> None:
    (tmp_path / "ssh.conf").write_text(text)
    (tmp_path / "invoke.yaml").write_text(f"meshfab:\n  ssh_config: {tmp_path}/ssh.conf\n")
    assert os.environ["HOME"] == str(mesh.lab.home)
    done = inv("-f", str(tmp_path / "invoke.yaml"), "provision", "--name", "gongfoo", "--host", "h2")
    assert_refused(done)


class TestProject:
    """The console script in a folder that is somebody else's, or that decides what only the operator may."""

    @staticmethod
    def meshfab(folder: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(Path(sys.executable).with_name("meshfab")), *args],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={**os.environ, **env},
            cwd=folder,
            timeout=120,
            check=False,
        )

    def test_a_folder_of_another_user_is_refused_until_it_is_trusted(self, attempts: Path, mesh: Mesh) -> None:
        assert mesh.hosts.names()
        folder = attempts.with_name("project")
        (folder / "below").mkdir(parents=True)
        (folder / "invoke.yaml").write_text("meshfab: {hosts: [h2]}\n")
        for path in (folder, folder / "invoke.yaml"):
            os.chown(path, 4243, 4243)
        refused = self.meshfab(folder / "below", "check-certs")
        assert (refused.returncode, refused.stdout, len(refused.stderr.splitlines())) == (3, "", 1)
        assert "belongs to user 4243" in refused.stderr and str(folder) in refused.stderr
        allowed = self.meshfab(
            folder / "below", "check-certs", "--format", "json", MESHFAB_TRUSTED_PROJECTS=str(folder)
        )
        assert json.loads(allowed.stdout)["hosts"][0]["host"] == "h2", allowed.stderr

    def test_a_file_that_names_programs_runs_none(self, attempts: Path) -> None:
        folder = attempts.with_name("project")
        folder.mkdir()
        (folder / "invoke.py").write_text(f"open({str(attempts)!r}, 'a').write('run')\n")
        for text in (
            f"meshfab: {{ssh_config: {attempts}.conf}}",
            f"ssh_config_path: {attempts}.conf",
            f"gateway: sh -c 'echo tried >>{attempts}; exit 1'",
        ):
            (folder / "invoke.yaml").write_text(f"{text}\n")
            done = self.meshfab(folder, "provision", "--name", "gongfoo", "--host", "h2")
            warning, refusal = done.stderr.splitlines()
            assert (done.returncode, done.stdout) == (1, "")
            assert "invoke.py is not read" in warning and "which a project may not decide" in refusal
            assert attempts.read_text() == ""
        trusted = self.meshfab(
            folder, "provision", "--name", "gongfoo", "--host", "h2", MESHFAB_TRUSTED_PROJECTS=str(folder)
        )
        assert trusted.returncode == 1
        assert attempts.read_text() == "tried\n", "what the lines above would have run"
