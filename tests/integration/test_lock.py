"""Two at once are safe: a lock per service on the host, shared by operators and the renewal tick."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from lab.machine.process import wait_until
from meshfab.config.service import Service
from meshfab.config.settings import Settings
from meshfab.errors import LockedError
from meshfab.provisioning import api, password_transfer, service_lock
from meshfab.ssh.connection import connect
from meshfab.ssh.root_shell import RootShell
from tests.integration.on_host import Site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Inv, Mesh

HOST, NAME = "h3", "shared"
SERVICE = ("--name", NAME, "--host", HOST)
LOCK = f"/run/meshfab/{NAME}.lock"
# How many wait for the lock on the host: both lock.sh and the tick do so in a process of its own.
WAITING = "pgrep -fc '^flock -w' || :"


@pytest.fixture(autouse=True)
def fresh(mesh: Mesh) -> Iterator[None]:
    mesh.reset(HOST)
    mesh.dns.point(NAME, HOST)
    yield
    mesh.reset(HOST)


@pytest.fixture
def held(mesh: Mesh) -> Iterator[subprocess.Popen[str]]:
    """Somebody else at work on the service, until the test ends it."""
    line = f"mkdir -p -m 0700 /run/meshfab; exec 9>>{LOCK}; flock 9; echo 'ann@desk since noon' >{LOCK}; echo held; cat"
    holder = subprocess.Popen(
        mesh.hosts.enter(HOST, ["sh", "-c", line]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:  # closes its pipes
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        yield holder
        holder.kill()


def waiting(mesh: Mesh) -> int:
    return int(mesh.hosts.run(HOST, WAITING).stdout)


@pytest.mark.parametrize("signing", ["host", "operator"])
def test_two_operators_at_once_end_with_one_valid_pair(mesh: Mesh, inv: Inv, signing: str) -> None:
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(inv, "provision", *SERVICE, "--signing", signing) for _ in range(2)]
        done = [run.result() for run in runs]
    assert [(run.returncode, run.stderr) for run in done] == [(0, ""), (0, "")]
    minted = [run.stdout.count("  mint ") for run in done]
    assert sum(minted) == 1, "the second one sees what the first one did, and mints nothing"
    assert sorted("nothing changed" in run.stdout for run in done) == [False, True]
    assert "nothing changed" in inv("provision", *SERVICE).stdout
    site = Site(HOST, NAME)
    assert site.served() == site.serial() != ""
    assert site.leftovers() == ""
    assert mesh.hosts.run(HOST, "nginx -t", check=False).returncode == 0


def test_a_shell_that_ends_late_takes_nothing_from_the_run_after_it(mesh: Mesh) -> None:
    """A retirement whose operator was lost removes its lock with the service; its shell may end much later."""
    service = Service.of(NAME, Settings())
    stage = service_lock.staging(service)

    def locked(shell: RootShell) -> None:
        service_lock.take(shell, [service], password_transfer.check())

    with connect(HOST) as first, connect(HOST) as second:
        with RootShell(second) as later:
            with RootShell(first) as earlier:
                locked(earlier)
                mesh.hosts.run(HOST, f"rm {LOCK}")
                locked(later)
                mesh.hosts.run(HOST, f"mkdir {stage}; touch {service.secret}")
                pid = earlier.pid
            wait_until(lambda: mesh.hosts.run(HOST, f"test -e /proc/{pid}", check=False).returncode == 1, "its end", 60)
            assert mesh.hosts.run(HOST, f"ls -d {stage} {service.secret}").stdout.count("\n") == 2
            pid = later.pid
        wait_until(lambda: mesh.hosts.run(HOST, f"test -e /proc/{pid}", check=False).returncode == 1, "its end", 60)
        assert mesh.hosts.run(HOST, f"ls -d {stage} {service.secret}", check=False).stdout == ""


def test_a_lock_that_is_let_go_of_in_time_is_waited_for(mesh: Mesh, inv: Inv, held: subprocess.Popen[str]) -> None:
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(inv, "provision", *SERVICE)
        wait_until(lambda: waiting(mesh) == 1, "the run to wait for the lock", 60, 0.05)
        assert not run.done()
        assert held.stdin
        held.stdin.close()
        assert run.result().returncode == 0


def test_whoever_holds_the_lock_too_long_is_named(
    held: subprocess.Popen[str], mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_lock, "WAIT_SECONDS", 1)
    before = mesh.hosts.checksum(HOST)
    with connect(HOST) as c, pytest.raises(LockedError, match="ann@desk since noon"):
        api.provision(c, NAME, settings=Settings())
    assert held.poll() is None
    assert mesh.hosts.checksum(HOST) == before


def test_a_lock_left_by_a_dead_process_does_not_block(inv: Inv, held: subprocess.Popen[str], mesh: Mesh) -> None:
    mesh.hosts.run(HOST, f"pkill -KILL -x cat; pkill -KILL -f '[e]xec 9>>{LOCK}'", check=False)
    held.wait()
    assert "ann@desk" in mesh.hosts.run(HOST, f"cat {LOCK}").stdout
    assert inv("provision", *SERVICE).returncode == 0


def test_a_tick_waits_for_an_operator(mesh: Mesh, inv: Inv, held: subprocess.Popen[str]) -> None:
    """The tick is started while the lock is held: it ends well, and only after the operator has."""
    assert held.stdin
    held.stdin.close()
    held.wait()
    assert inv("provision", *SERVICE).returncode == 0
    unit = f"step@{NAME}.service"
    until_it_waits = f"n=0; until [ $({WAITING}) = 1 ] || [ $n = 600 ]; do sleep 0.1; n=$((n + 1)); done"
    line = f"exec 9>>{LOCK}; flock 9; systemctl start --no-block {unit}; {until_it_waits}; systemctl is-active {unit}"
    assert mesh.hosts.run(HOST, line, check=False).stdout.strip() == "activating"
    assert mesh.hosts.run(HOST, f"systemctl start {unit}; systemctl show -P Result {unit}").stdout.strip() == "success"
