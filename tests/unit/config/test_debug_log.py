"""Invoke's debug log shows no password, whoever put it into the configuration."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from meshfab.config import debug_log

ROOT = Path(__file__).resolve().parents[3]
NOTHING_LISTENS = "127.0.0.1:1"


def inv(home: Path, program: str, *args: str, **environment: str) -> str:
    """A real process with its debug log on; the host refuses the connection after it was configured."""
    env = {**os.environ, "HOME": str(home), "INVOKE_DEBUG": "1", **environment}
    argv = [str(Path(sys.executable).with_name(program)), *args, "check-certs", "--host", NOTHING_LISTENS]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=home, env=env, timeout=60)
    assert "Merging config sources" in done.stderr
    assert "no SSH connection" in done.stdout or "refused" in done.stdout, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("program", ["inv", "meshfab"])
def test_the_password_of_sudo_from_the_environment(tmp_path: Path, program: str) -> None:
    (tmp_path / "tasks.py").write_text("from meshfab import ns\n")
    output = inv(tmp_path, program, INVOKE_SUDO_PASSWORD="geheim '42'")
    assert "geheim" not in output
    assert "'password': '***'" in output


def test_the_password_of_sudo_from_the_environment_of_fab(tmp_path: Path) -> None:
    (tmp_path / "fabfile.py").write_text("from meshfab import ns\n")
    output = inv(tmp_path, "fab", FABRIC_SUDO_PASSWORD="geheim")
    assert "geheim" not in output
    assert "'password': '***'" in output


@pytest.mark.parametrize("program", ["inv", "meshfab"])
def test_passwords_from_a_file_of_the_project(tmp_path: Path, program: str) -> None:
    (tmp_path / "tasks.py").write_text("from meshfab import ns\n")
    (tmp_path / "own.yaml").write_text("sudo: {password: geheim}\nconnect_kwargs: {passphrase: 'gehe\"im'}\n")
    output = inv(tmp_path, program, "-f", "own.yaml")
    assert "gehe" not in output


def test_the_files_of_the_user_are_read_after_the_filter_is_there_in_our_own_program(tmp_path: Path) -> None:
    (tmp_path / ".invoke.yaml").write_text("sudo: {password: geheim}\n")
    assert "geheim" not in inv(tmp_path, "meshfab")


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("{'sudo': {'password': 'a\\'b', 'user': None}}", "{'sudo': {'password': '***', 'user': None}}"),
        ("{'password': \"a'}b\", 'x': 1}", "{'password': '***', 'x': 1}"),
        ("{'passphrase': b'ab'}", "{'passphrase': '***'}"),
        ("{'password': 12345}", "{'password': '***'}"),
        ("{'password': None, 'prompt': '[sudo] password: '}", "{'password': None, 'prompt': '[sudo] password: '}"),
        ("100 % of {'a': 'b'}", "100 % of {'a': 'b'}"),
    ],
)
def test_the_values_of_passwords_are_masked_and_nothing_else(text: str, masked: str) -> None:
    record = logging.LogRecord("invoke", logging.DEBUG, __file__, 1, text, None, None)
    assert debug_log.PasswordFilter().filter(record)
    assert record.getMessage() == masked


def test_the_filter_is_added_once() -> None:
    debug_log.hide_passwords()
    debug_log.hide_passwords()
    filters = logging.getLogger("invoke").filters
    assert sum(isinstance(each, debug_log.PasswordFilter) for each in filters) == 1
