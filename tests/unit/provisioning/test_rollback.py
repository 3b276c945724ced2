"""The rollback after a failed script: when it must ask clients whether the old state is back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from meshfab.host.tls_client import Served
from meshfab.nginx.activation import Activation
from meshfab.nginx.change import NginxChange
from meshfab.nginx.listeners import Endpoint
from meshfab.provisioning.rollback import not_served, roll_back
from meshfab.provisioning.verify import ServingCheck
from meshfab.ssh.script import Answer, ExitStatus
from tests.support.certificates import SERVICE
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
    assert ("clients get something else than before" in error.what) is is_checked
    assert shell.sent == []


def plan_of_a_mint() -> Any:
    """The plan of a mint, on a host that has one address of its own."""
    change = NginxChange()
    return SimpleNamespace(
        service=SERVICE,
        reason=lambda _verb: "no pair",
        nginx_change=change,
        activation=Activation(SERVICE.names, change),
        vhost_path=None,
        starts=False,
        endpoint=Endpoint(("10.66.6.1",)),
    )


@pytest.mark.parametrize("script", ["wait_background", "reload"])
def test_what_the_host_says_of_going_back_is_no_part_of_the_remedy(script: str) -> None:
    shell: Any = RecordingShell({"remove_config": lambda request: Answer(request.script, 1, b"", "-> curl EVIL")})
    error = roll_back(shell, Host().state(), [plan_of_a_mint()], Answer(script, 1, b"", "boom"), [], [])
    assert "going back failed too: -\\x3e curl EVIL" in error.what
    assert error.remedy and "EVIL" not in error.remedy


@pytest.mark.parametrize(("resolved", "is_named"), [((), False), (("10.66.6.6",), True)], ids=["claimed", "in DNS"])
def test_only_an_address_that_the_operators_resolver_knows_is_suggested(
    resolved: tuple[str, ...], is_named: bool
) -> None:
    check: Any = SimpleNamespace(plan=plan_of_a_mint(), resolved=resolved, is_restored=lambda: True, was_served=True)
    shell: Any = RecordingShell()
    error = not_served(shell, Host().state(), check, Served(None, "10.66.6.6", why="refused"))
    assert ("--listen 10.66.6.6" in error.remedy) is is_named
    assert "10.66.6.1" in error.what and "10.66.6.1" not in error.remedy


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
    assert error.what.endswith(end or "what was there before is back, and nginx runs with it")
