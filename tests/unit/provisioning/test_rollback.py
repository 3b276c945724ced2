"""The rollback after a failed script: when it must ask clients whether the old state is back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from meshfab.provisioning.rollback import roll_back
from meshfab.ssh.script import Answer, ExitStatus
from tests.support.fake_host import Host, RecordingShell


@pytest.mark.parametrize(
    ("status", "is_checked"),
    [
        (1, False),
        (ExitStatus.CONFIG_REFUSED, False),
        (ExitStatus.SERVER_IGNORED, False),
        (ExitStatus.NOT_INCLUDED, False),
        (ExitStatus.BUSY, False),
        (ExitStatus.LOAD_FAILED, True),
        (ExitStatus.NOT_TAKEN_UP, True),
        # SIGKILL: the script may have loaded the new files and restored nothing.
        (137, True),
    ],
)
def test_clients_are_asked_when_nginx_may_have_loaded_the_new_files(status: int, is_checked: bool) -> None:
    check: Any = SimpleNamespace(is_restored=lambda: False)
    shell: Any = RecordingShell()
    failed = Answer("install_config", status, b"", "boom")
    error = roll_back(shell, Host().state(), [], failed, [check], [])
    assert ("clients get something else than before" in error.what) is is_checked
    assert shell.sent == []
