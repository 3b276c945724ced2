"""The rollback after a failed script: when it must ask clients whether the old state is back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from meshfab.provisioning.rollback import roll_back
from meshfab.provisioning.verify import ServingCheck
from meshfab.ssh.script import Answer, ExitStatus
from tests.support.fake_host import Host, RecordingShell, planned, unit


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
    assert ("clients get something else than before" in error.remedy) is is_checked
    assert shell.sent == []


ENDS = {
    0: "",
    ExitStatus.LOAD_FAILED: "what was there before is back, and nginx is stopped: it does not start with it",
    ExitStatus.CONFIG_REFUSED: "going back failed too: boom",
}


@pytest.mark.parametrize(("status", "end"), ENDS.items(), ids=ENDS)
def test_an_nginx_that_was_to_be_started_is_restarted_and_reported_as_it_is(status: int, end: str) -> None:
    host = Host()
    host.units["nginx.service"] = unit("nginx.service", active="inactive")
    plan = planned(host.state(), parts=frozenset({"wire-nginx"}), start=True)
    # Nobody is asked: while nginx was stopped, clients got nothing, and now they get what the old files serve.
    before: Any = SimpleNamespace(service=plan.service, endpoint=plan.endpoint, clients=object(), served=None)
    check = ServingCheck(None, host.state(), plan, before)  # type: ignore[arg-type]
    shell: Any = RecordingShell({"remove_config": lambda request: Answer(request.script, status, b"", "boom")})
    failed = Answer("wait_background", 1, b"", "systemctl: boom")
    error = roll_back(shell, host.state(), [plan], failed, [check], [])
    ((action, *_),) = [request.args for request in shell.sent]
    assert action == "restart"
    assert error.remedy.endswith(end or "what was there before is back, and nginx runs with it")
