"""The CA's password: where it may be, where it is never seen, and what lies in its way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.machine.process import wait_until
from meshfab.config.service import Service
from meshfab.config.settings import Settings
from meshfab.errors import LockedError
from meshfab.provisioning import api, password_transfer, service_lock
from meshfab.provisioning.password_transfer import provisioner_password
from meshfab.ssh.connection import connect
from meshfab.ssh.root_shell import RootShell
from tests.support.terminal import terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fabric import Connection

    from tests.integration.conftest import Inv, Mesh

HOST, NAME = "h3", "minted"
SERVICE = ("--name", NAME, "--host", HOST)
SECRET = f"/tmp/{NAME}-provisioner"
INV = str(Path(sys.executable).with_name("inv"))
# After which meshfab/scripts/provisioning/mint.sh ends a mint that hangs: a run that ends before has not waited for it.
MINT_SECONDS = 60


@pytest.fixture(autouse=True)
def fresh(mesh: Mesh) -> Iterator[None]:
    mesh.reset(HOST)
    mesh.dns.point(NAME, HOST)
    yield
    mesh.reset(HOST)


@pytest.fixture
def password() -> str:
    return Path("~/.step/secrets/provisioner").expanduser().read_text().strip()


def left(mesh: Mesh) -> str:
    return str(mesh.hosts.run(HOST, "find /tmp -name '*-provisioner' -o -name '.meshfab-*'").stdout)


def is_stepping(mesh: Mesh) -> bool:
    return bool(mesh.hosts.run(HOST, "pgrep -x step", check=False).stdout)


@contextmanager
def minting(mesh: Mesh, output: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """An operator's run that hangs in its mint, because the CA is frozen; what it says is in a file.

    Under --debug it says more than a pipe holds.
    """
    mesh.ca.pause()
    argv = ["env", "--default-signal=INT", INV, *words, "provision", *SERVICE]
    try:
        with (
            output.open("w") as file,
            subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, text=True) as run,
        ):
            wait_until(lambda: is_stepping(mesh) or run.poll() is not None, "the mint to begin", 60, 0.02)
            assert run.poll() is None, output.read_text()
            yield run
            run.kill()
    finally:
        mesh.ca.resume()


def test_while_it_mints_the_password_is_in_a_file_of_roots_alone_and_nowhere_else(
    mesh: Mesh, password: str, tmp_path: Path
) -> None:
    with minting(mesh, tmp_path / "output", "--debug", "--echo") as run:
        assert mesh.hosts.run(HOST, f"stat -c '%F %U:%G %a' {SECRET}").stdout == "regular file root:root 600\n"
        assert mesh.hosts.run(HOST, "systemctl is-active 'meshfab-reap-minted-*.timer'").stdout == "active\n"
        # The pattern arrives on stdin: grep must not find itself.
        everywhere = "grep -l -a -F -f - /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null; true"
        assert mesh.hosts.run(HOST, everywhere, input=password).stdout == ""
        here = subprocess.run(["sh", "-c", everywhere], input=password, capture_output=True, text=True, check=False)
        assert here.stdout == ""
        run.send_signal(signal.SIGINT)
        run.wait(timeout=MINT_SECONDS - 15)
    said = (tmp_path / "output").read_text()
    assert password not in said
    assert "interrupted" in said
    assert left(mesh) == ""
    journal = "journalctl --no-pager -o export | grep -c -a -F -f - ; true"
    assert mesh.hosts.run(HOST, journal, input=password).stdout.strip() == "0"


def test_a_hung_mint_does_not_hold_the_clean_up_back(mesh: Mesh, tmp_path: Path) -> None:
    with minting(mesh, tmp_path / "output") as run:
        run.send_signal(signal.SIGTERM)
        run.wait(timeout=MINT_SECONDS - 15)
        assert run.returncode == 1
        assert left(mesh) == ""
        assert not is_stepping(mesh)


@pytest.mark.parametrize(
    "plant",
    [
        f"install -o ops -m 0666 /dev/null {SECRET}",
        f"touch /home/ops/trap; ln -s /home/ops/trap {SECRET}",
        f"ln -s /home/ops/nowhere {SECRET}",
        f"mkfifo -m 0666 {SECRET}",
    ],
    ids=["a file of another user", "a link", "a dangling link", "a FIFO"],
)
def test_what_is_planted_in_its_place_is_replaced_and_never_written_into(mesh: Mesh, inv: Inv, plant: str) -> None:
    mesh.hosts.run(HOST, plant)
    done = inv("provision", *SERVICE)
    assert (done.returncode, done.stderr) == (0, "")
    assert left(mesh) == ""
    assert mesh.hosts.run(HOST, "cat /home/ops/trap 2>/dev/null; ls /home/ops", check=False).stdout in ("", "trap\n")


def test_a_folder_in_its_place_is_refused(mesh: Mesh, inv: Inv) -> None:
    mesh.hosts.run(HOST, f"mkdir {SECRET}; touch {SECRET}/kept")
    done = inv("provision", *SERVICE)
    assert done.returncode == 1
    assert f"rm -r {SECRET}" in done.stderr
    assert mesh.hosts.run(HOST, f"ls {SECRET}").stdout == "kept\n"
    mesh.hosts.run(HOST, f"rm -r {SECRET}")


def test_a_fabfile_can_carry_it_by_itself(mesh: Mesh, password: str) -> None:
    with (
        connect(HOST) as c,
        pytest.raises(ZeroDivisionError),
        provisioner_password(c, NAME, settings=Settings()) as path,
    ):
        assert path == SECRET
        assert mesh.hosts.run(HOST, f"cat {path}").stdout.strip() == password
        raise ZeroDivisionError
    assert left(mesh) == ""


def test_a_password_file_that_is_no_good_is_refused_before_any_connection(inv: Inv, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch(mode=0o600)
    for file, word in ((tmp_path / "none", "does not exist"), (empty, "is empty"), (tmp_path, "cannot be read")):
        done = inv(
            "provision", "--name", NAME, "--host", "nowhere", env={"INVOKE_MESHFAB_PROVISIONER_PASSWORD": str(file)}
        )
        assert done.returncode == 1
        assert word in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_password_file_that_others_can_read_is_a_warning_with_its_remedy(
    inv: Inv, password: str, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text(password)
    file.chmod(0o644)
    done = inv("provision", *SERVICE, env={"INVOKE_MESHFAB_PROVISIONER_PASSWORD": os.fspath(file)})
    assert done.returncode == 0
    assert f"chmod 600 {file}" in done.stderr


def test_a_command_gives_the_password(mesh: Mesh, inv: Inv, tmp_path: Path) -> None:
    settings = tmp_path / "mesh.yaml"
    settings.write_text(f"meshfab: {{provisioner_password_command: [/bin/cat, {mesh.lab.password}]}}\n")
    done = inv("-f", str(settings), "provision", *SERVICE, env={"INVOKE_MESHFAB_PROVISIONER_PASSWORD": "/no/such/file"})
    assert (done.returncode, done.stderr) == (0, "")
    assert left(mesh) == ""
    settings.write_text("meshfab: {provisioner_password_command: [/bin/ls, /no/such/store]}\n")
    refused = inv("-f", str(settings), "provision", "--name", NAME, "--host", "nowhere")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "/bin/ls" in refused.stderr
    assert "No such file" in refused.stderr


@pytest.mark.parametrize("signing", ["host", "operator"])
def test_a_person_is_asked_once_and_their_answer_is_not_shown(
    mesh: Mesh, inv: Inv, password: str, signing: str
) -> None:
    argv = [INV, "provision", *SERVICE, "--ask-password", "--signing", signing]
    env = {**os.environ, "INVOKE_MESHFAB_PROVISIONER_PASSWORD": "/no/such/file"}
    with terminal() as screen:
        # A session of its own, whose terminal this becomes: a person is asked at /dev/tty.
        child = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *argv], stdin=screen.fd, stdout=screen.fd, stderr=screen.fd, env=env
        )
        wait_until(lambda: "password of the provisioner" in screen.shown(), "the prompt", 60)
        screen.type(f"{password}\n")
        wait_until(lambda: bool(screen.shown()) and child.poll() is not None, "the run to end", 120)
        said = screen.shown()
    assert child.returncode == 0, said
    assert said.count("password of the provisioner") == 1
    assert password not in said
    assert left(mesh) == ""
    refused = inv("provision", *SERVICE, "--ask-password")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "no terminal" in refused.stderr


def test_sudo_with_a_password_is_refused_in_one_line_or_given_it(mesh: Mesh, inv: Inv) -> None:
    ask = "sed -i 's/NOPASSWD://' /etc/sudoers.d/ops; echo ops:geheim | chpasswd"
    mesh.hosts.run(HOST, ask)
    refused = inv("provision", *SERVICE)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "sudo asks for a password" in refused.stderr
    wrong = inv("provision", *SERVICE, env={"INVOKE_SUDO_PASSWORD": "falsch"})
    assert wrong.returncode == 1
    assert "sudo does not accept the password" in wrong.stderr
    given = inv("provision", *SERVICE, env={"INVOKE_SUDO_PASSWORD": "geheim"})
    assert (given.returncode, given.stderr) == (0, "")
    assert left(mesh) == ""
    everywhere = "journalctl --no-pager -o export | grep -c -a -F -f - ; true"
    assert mesh.hosts.run(HOST, everywhere, input="geheim").stdout.strip() == "0"


def test_a_root_login_needs_no_sudo(mesh: Mesh, inv: Inv) -> None:
    mesh.hosts.run(HOST, "mkdir -p -m 0700 /root/.ssh; cp /home/ops/.ssh/authorized_keys /root/.ssh/")
    mesh.hosts.run(HOST, "mv /usr/bin/sudo /usr/bin/sudo.away")
    try:
        done = inv("provision", "--name", NAME, "--host", f"root@{HOST}")
    finally:
        mesh.hosts.run(HOST, "mv /usr/bin/sudo.away /usr/bin/sudo; rm -r /root/.ssh")
    assert (done.returncode, done.stderr) == (0, "")


def recorded_by_sudo(mesh: Mesh) -> str:
    """What sudo has recorded of commands that have ended: it writes compressed files when they end."""
    wait_until(lambda: mesh.hosts.run(HOST, "pgrep -x sudo", check=False).stdout == "", "sudo to end", 60, 0.1)
    everything = "[ ! -e /var/log/sudo-io ] || find /var/log/sudo-io -type f -exec gzip -dcf {} +"
    return str(mesh.hosts.run(HOST, everything, check=False).stdout)


REMEDY = "sed -i 's/NOPASSWD:.*/NOPASSWD: NOLOG_INPUT: ALL/' /etc/sudoers.d/ops"


@pytest.mark.parametrize(
    "recording",
    [
        "echo 'Defaults log_input' >/etc/sudoers.d/log",
        "echo 'Defaults log_stdin' >/etc/sudoers.d/log",
        "echo 'Defaults:ops log_input' >/etc/sudoers.d/log",
        "echo 'Defaults!/usr/bin/sh log_input' >/etc/sudoers.d/log",
        "sed -i 's/NOPASSWD:/NOPASSWD: LOG_INPUT:/' /etc/sudoers.d/ops",
        "echo 'Defaults log_input, log_servers=127.0.0.1' >/etc/sudoers.d/log;"
        " systemd-run --quiet --unit=logserver sudo_logsrvd -n; until ss -Hltn | grep -q :30343; do sleep 0.1; done",
    ],
    ids=["log_input", "log_stdin", "for the user", "for the command", "tag", "log server"],
)
def test_sudo_that_records_input_is_refused_before_the_password_is_sent_until_the_remedy_is_followed(
    mesh: Mesh, inv: Inv, password: str, recording: str
) -> None:
    mesh.hosts.run(HOST, f"rm -rf /var/log/sudo-io; umask 0337; {recording}; visudo -c")
    try:
        refused = inv("provision", *SERVICE)
        assert refused.returncode == 1
        assert "sudo there records the input of its commands" in refused.stderr
        assert "`ops ALL=(ALL) NOPASSWD: NOLOG_INPUT: ALL`" in refused.stderr
        assert refused.stderr.count("\n") == 1
        # A log server writes it even later.
        wait_until(
            lambda: "status_input_recorded" in recorded_by_sudo(mesh), "the record of all that was sent", 60, 0.1
        )
        mesh.hosts.run(HOST, REMEDY)
        done = inv("provision", *SERVICE)
        assert (done.returncode, done.stderr) == (0, "")
        assert password not in recorded_by_sudo(mesh)
    finally:
        mesh.hosts.run(HOST, "systemctl stop logserver; rm -rf /var/log/sudo-io /etc/sudoers.d/log", check=False)


def test_a_root_login_is_not_refused_for_what_sudo_records(mesh: Mesh, inv: Inv) -> None:
    mesh.hosts.run(HOST, "mkdir -p -m 0700 /root/.ssh; cp /home/ops/.ssh/authorized_keys /root/.ssh/")
    mesh.hosts.run(HOST, "echo 'Defaults log_input' >/etc/sudoers.d/log")
    try:
        done = inv("provision", "--name", NAME, "--host", f"root@{HOST}")
    finally:
        mesh.hosts.run(HOST, "rm -r /etc/sudoers.d/log /root/.ssh")
    assert (done.returncode, done.stderr) == (0, "")


def test_what_sudo_records_of_output_is_no_reason_to_refuse(mesh: Mesh, inv: Inv, password: str) -> None:
    mesh.hosts.run(HOST, "rm -rf /var/log/sudo-io; echo 'Defaults log_output, use_pty' >/etc/sudoers.d/log")
    try:
        done = inv("provision", *SERVICE)
        assert (done.returncode, done.stderr) == (0, "")
        recorded = recorded_by_sudo(mesh)
        assert "BEGIN CERTIFICATE" in recorded, "the output of the shell"
        assert password not in recorded
    finally:
        mesh.hosts.run(HOST, "rm -rf /var/log/sudo-io /etc/sudoers.d/log")


def test_a_tmp_that_systemd_does_not_see_is_refused_until_the_remedy_is_followed(mesh: Mesh, inv: Inv) -> None:
    mesh.hosts.run(
        HOST,
        "mkdir -m 0 /tmp-inst; cp -p /etc/pam.d/sshd /run/sshd.pam; cp -p /etc/security/namespace.conf /run/;"
        " echo 'session required pam_namespace.so' >>/etc/pam.d/sshd;"
        " echo '/tmp /tmp-inst/ user root' >>/etc/security/namespace.conf",
    )
    try:
        refused = inv("provision", *SERVICE)
        assert refused.returncode == 1
        assert "another /tmp than systemd" in refused.stderr
        assert "exempt ops in /etc/security/namespace.conf" in refused.stderr
        assert refused.stderr.count("\n") == 1
        assert mesh.hosts.run(HOST, "find /tmp-inst -name '*-provisioner' -o -name '.meshfab-*'").stdout == ""
        mesh.hosts.run(HOST, "sed -i 's/user root$/user root,ops/' /etc/security/namespace.conf")
        done = inv("provision", *SERVICE)
        assert (done.returncode, done.stderr) == (0, "")
    finally:
        mesh.hosts.run(
            HOST, "mv /run/sshd.pam /etc/pam.d/sshd; mv /run/namespace.conf /etc/security/; rm -rf /tmp-inst"
        )


def broken_off(mesh: Mesh, c: Connection, service: Service, seconds: int, *, killed: bool) -> str:
    """A run that ends between the arrival of the password and its removal. Returns the name of its reaper."""
    path, folder, reaper, _, armed = password_transfer._script_args(service)
    with RootShell(c) as shell:
        service_lock.take(shell, [service], password_transfer.check())
        assert shell.run("put_password", path, folder, reaper, str(seconds), armed, data="old").ok
        if killed:
            mesh.hosts.run(HOST, f"kill -KILL {shell.pid}")
    return reaper


def reapers(mesh: Mesh) -> str:
    return str(mesh.hosts.run(HOST, "systemctl list-units --all --plain --no-legend 'meshfab-reap-*'").stdout)


@pytest.mark.slow
def test_the_reaper_of_a_run_that_broke_off_leaves_the_password_of_the_next_one_alone(
    mesh: Mesh, password: str
) -> None:
    # The next run disarms it, but that comes too late.
    stub = '#!/bin/sh\ncase $* in *--no-block*meshfab-reap*) ;; *) exec /usr/bin/systemctl "$@" ;; esac\n'
    mesh.hosts.run(HOST, "install -m 0755 /dev/stdin /usr/local/sbin/systemctl", input=stub)
    with connect(HOST) as c:
        old = broken_off(mesh, c, Service.of(NAME, Settings()), 8, killed=False)
        with provisioner_password(c, NAME, settings=Settings()) as path:
            assert old in reapers(mesh)
            wait_until(lambda: old not in reapers(mesh), "the old reaper to have run", 60, 0.1)
            assert mesh.hosts.run(HOST, f"cat {path}").stdout.strip() == password
    assert left(mesh) == ""


def test_a_run_disarms_the_reaper_of_one_that_broke_off(mesh: Mesh, inv: Inv) -> None:
    with connect(HOST) as c:
        old = broken_off(mesh, c, Service.of(NAME, Settings()), 600, killed=True)
    assert left(mesh) == f"{SECRET}\n"
    assert old in reapers(mesh)
    done = inv("provision", *SERVICE)
    assert (done.returncode, done.stderr) == (0, "")
    wait_until(lambda: reapers(mesh) == "", "all reapers to be disarmed", 60, 0.1)
    with connect(HOST) as c:
        broken_off(mesh, c, Service.of(NAME, Settings()), 600, killed=True)
    swept = inv("provision", *SERVICE)
    assert swept.returncode == 0
    assert "  sweep " in swept.stdout
    assert left(mesh) == ""
    wait_until(lambda: reapers(mesh) == "", "all reapers to be disarmed", 60, 0.1)


def test_a_reaper_removes_the_password_of_its_run(mesh: Mesh) -> None:
    with connect(HOST) as c:
        broken_off(mesh, c, Service.of(NAME, Settings()), 5, killed=True)
    assert left(mesh) == f"{SECRET}\n"
    wait_until(lambda: left(mesh) == "", "the reaper", 60, 0.1)


def test_two_blocks_with_the_password_of_one_service_exclude_each_other(
    mesh: Mesh, password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_lock, "WAIT_SECONDS", 1)
    with connect(HOST) as c, provisioner_password(c, NAME, settings=Settings()) as path:
        with connect(HOST) as other, pytest.raises(LockedError), provisioner_password(other, NAME, settings=Settings()):
            pytest.fail("the block ran without the lock")
        with connect(HOST) as other, pytest.raises(LockedError):
            api.provision(other, NAME, settings=Settings())
        assert mesh.hosts.run(HOST, f"cat {path}").stdout.strip() == password
    assert left(mesh) == ""
