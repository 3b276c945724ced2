"""Jump hosts on real ones: opened once for all who go through them, held to the same rules, and blamed by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lab.faults import address_aliases
from lab.machine.process import wait_until
from meshfab import Settings, check_certs
from meshfab.errors import ConnectError, InputError
from meshfab.fleet.host_check import check_host
from meshfab.ssh.jump_hosts import JumpHostPool
from meshfab.ssh.session import shell_within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from meshfab.checks.report import Report
    from tests.integration.conftest import Mesh

JUMP, BEHIND, MANY = "h3", "h1", 40


@pytest.fixture(scope="module", autouse=True)
def clean_hosts(mesh: Mesh) -> None:
    """Other tests leave services behind whose names lead elsewhere since."""
    mesh.reset("h1", "h2", "h3")


@pytest.fixture(scope="module")
def targets() -> Iterator[list[str]]:
    """Forty hosts behind one sshd with the limits that sshd comes with: ten logins under way, then some are refused."""
    yield address_aliases.add(MANY, [BEHIND])
    address_aliases.remove()


@pytest.fixture
def way(tmp_path: Path, mesh: Mesh) -> Callable[[str], Settings]:
    """Settings under which everybody in the crowd, and h2, lies behind a jump host, given as ProxyJump takes it."""

    def make(words: str, more: str = "") -> Settings:
        file = tmp_path / "config"
        file.write_text(
            f"{more}Host n???? h2\n ProxyJump {words}\nHost h? n????\n HostName %h.internal\n"
            f"Host *\n User ops\n IdentityFile {mesh.lab.home}/.ssh/id_ed25519\n IdentitiesOnly yes\n"
        )
        return Settings(ssh_config=str(file), parallel=40)

    return make


class Logins:
    """How often somebody logged in to a host, and was turned away, since this was made."""

    def __init__(self, mesh: Mesh, host: str) -> None:
        self.mesh, self.host = mesh, host
        self.cursor = mesh.hosts.run(host, "journalctl -n 0 --show-cursor | sed -n 's/^-- cursor: //p'").stdout.strip()

    def __call__(self, words: str = "Accepted publickey") -> int:
        # Not by unit: --after-cursor then passes over the first entry as well.
        script = f"journalctl --sync; journalctl -o cat --after-cursor='{self.cursor}' | grep -c '{words}' || :"
        return int(self.mesh.hosts.run(self.host, script).stdout)


def errors(report: Report) -> set[str]:
    return {str(host.error) for host in report.hosts}


def test_forty_hosts_behind_one_cost_it_one_login(
    mesh: Mesh, targets: list[str], way: Callable[[str], Settings]
) -> None:
    logins = Logins(mesh, JUMP)
    report = check_certs(targets, settings=way(JUMP))
    assert [host.status for host in report.hosts] == ["ok"] * MANY, errors(report)
    assert (logins(), logins("MaxStartups")) == (1, 0)


def test_a_chain_is_passed_in_its_order_and_shared_as_well(
    mesh: Mesh, targets: list[str], way: Callable[[str], Settings]
) -> None:
    first, second, end = (Logins(mesh, host) for host in (JUMP, "h2", BEHIND))
    report = check_certs(targets[:10], settings=way(f"{JUMP},h2"))
    assert errors(report) == {"None"}
    assert (first(), second(), end()) == (1, 1, 10)
    address = mesh.hosts.address(JUMP)
    assert second(f"from {address} ") >= 1, "h2 was reached from the first of the two"


def test_a_jump_host_that_refuses_is_blamed_once_and_for_all(
    mesh: Mesh, targets: list[str], way: Callable[[str], Settings]
) -> None:
    mesh.hosts.run(JUMP, "systemctl stop ssh.service ssh.socket 2>/dev/null; :")
    try:
        report = check_certs([*targets, BEHIND], settings=way(JUMP))
    finally:
        mesh.hosts.run(JUMP, "systemctl start ssh.service")
    assert [host.status for host in report.hosts] == ["unknown"] * MANY + ["ok"], "who lies not behind it is asked"
    assert all(f"jump host {JUMP}: no SSH connection" in str(host.error) for host in report.hosts[:-1])


def test_a_jump_host_that_hangs_is_tried_once_for_all_its_targets(
    mesh: Mesh, targets: list[str], way: Callable[[str], Settings]
) -> None:
    settings = way(JUMP)
    mesh.hosts.run(JUMP, "kill -STOP $(systemctl show -P MainPID ssh.service)")
    try:
        with JumpHostPool() as jumps:
            reports = [check_host(name, settings, seconds=2, jumps=jumps) for name in targets[:5]]
        # The kernel has accepted for the sshd that hangs, and keeps for it even what was closed since.
        waiting = mesh.hosts.run(JUMP, "ss -Hltn4 'sport = :22' | awk '{ n += $2 } END { print n }'").stdout
    finally:
        mesh.hosts.run(JUMP, "kill -CONT $(systemctl show -P MainPID ssh.service)")
    assert int(waiting) == 1
    assert {(host.error, host.remedy) for host in reports} == {
        (f"jump host {JUMP}: no answer within 2 s", f"try `ssh {JUMP} true`: does it hang?")
    }


def test_the_deadline_of_one_target_is_not_the_end_of_the_others(
    mesh: Mesh, targets: list[str], way: Callable[[str], Settings]
) -> None:
    settings = way(JUMP)
    # A host that never answers, behind the same jump host.
    mesh.hosts.run("h2", "install -m 0755 /dev/stdin /usr/local/bin/sudo", input="#!/bin/sh\nexec sleep 60\n")
    try:
        with JumpHostPool() as jumps, shell_within(targets[0], settings, None, 20, jumps) as shell:
            assert "no answer" in str(check_host("h2", settings, seconds=2, jumps=jumps).error)
            assert shell.run("facts+probe", "/nowhere", "").ok
            assert check_host(targets[1], settings, jumps=jumps).error is None
    finally:
        mesh.hosts.run("h2", "rm /usr/local/bin/sudo; pkill -f '[s]leep 60'", check=False)


def test_a_jump_host_that_was_lost_is_opened_again(
    mesh: Mesh, targets: list[str], way: Callable[[str], Settings]
) -> None:
    settings = way(JUMP)
    with JumpHostPool() as jumps:
        assert check_host(targets[0], settings, jumps=jumps).error is None
        mesh.faults.kill_sshd_sessions(JUMP)
        (jump_host,) = jumps._jump_hosts.values()
        wait_until(lambda: not jump_host.is_connected, "the loss to be noticed", 60)
        assert check_host(targets[1], settings, jumps=jumps).error is None


def test_a_shared_jump_host_is_held_to_the_same_rules(targets: list[str], way: Callable[[str, str], Settings]) -> None:
    settings = way(JUMP, f"Host {JUMP}\n UserKnownHostsFile none\n GlobalKnownHostsFile none\n")
    with (
        pytest.raises(ConnectError, match="the host key is unknown") as caught,
        shell_within(targets[0], settings, None, 5),
    ):
        pass
    assert str(caught.value).startswith(f"{targets[0]}: jump host {JUMP}: ")
    assert "ssh-keyscan h3.internal" in str(caught.value)


def test_jump_hosts_that_form_a_cycle_are_refused(targets: list[str], way: Callable[[str, str], Settings]) -> None:
    with (
        pytest.raises(InputError, match="cycle"),
        shell_within(targets[0], way("h3", "Host h3\n ProxyJump h2\n"), None, 5),
    ):
        pass
