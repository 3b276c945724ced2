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
from meshfab.config.settings import Settings
from meshfab.provisioning.password_transfer import provisioner_password
from meshfab.ssh.connection import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

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
def minting(mesh: Mesh, *words: str) -> Iterator[subprocess.Popen[str]]:
    """An operator's run that hangs in its mint, because the CA is frozen."""
    mesh.ca.pause()
    argv = ["env", "--default-signal=INT", INV, *words, "provision", *SERVICE]
    run = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        with run:
            wait_until(lambda: is_stepping(mesh), "the mint to begin", 60, 0.02)
            yield run
            run.kill()
    finally:
        mesh.ca.resume()


def test_while_it_mints_the_password_is_in_a_file_of_roots_alone_and_nowhere_else(mesh: Mesh, password: str) -> None:
    with minting(mesh, "--debug", "--echo") as run:
        assert mesh.hosts.run(HOST, f"stat -c '%F %U:%G %a' {SECRET}").stdout == "regular file root:root 600\n"
        assert mesh.hosts.run(HOST, "systemctl is-active meshfab-reap-minted.timer").stdout == "active\n"
        # The pattern arrives on stdin: grep must not find itself.
        everywhere = "grep -l -a -F -f - /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null; true"
        assert mesh.hosts.run(HOST, everywhere, input=password).stdout == ""
        here = subprocess.run(["sh", "-c", everywhere], input=password, capture_output=True, text=True, check=False)
        assert here.stdout == ""
        run.send_signal(signal.SIGINT)
        said = run.communicate(timeout=MINT_SECONDS - 15)[0]
    assert password not in said
    assert "interrupted" in said
    assert left(mesh) == ""
    journal = "journalctl --no-pager -o export | grep -c -a -F -f - ; true"
    assert mesh.hosts.run(HOST, journal, input=password).stdout.strip() == "0"


def test_a_hung_mint_does_not_hold_the_clean_up_back(mesh: Mesh) -> None:
    with minting(mesh) as run:
        run.send_signal(signal.SIGTERM)
        run.communicate(timeout=MINT_SECONDS - 15)
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
