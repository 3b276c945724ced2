"""The lab itself: it has the promised properties, and it leaves nothing behind."""

from __future__ import annotations

import errno
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.machine import snapshot
from tests.integration import second_lab

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Mesh


@pytest.fixture
def second() -> Iterator[None]:
    """A test may bring a second lab up. Nothing of it exists before and after the test."""
    second_lab.inv("lab.down")
    assert second_lab.remains() == []
    yield
    second_lab.inv("lab.down")
    for path in second_lab.LAB.state.parent.glob(f"{second_lab.NAME}.*"):
        path.unlink()


# The lab as a whole.


def test_there_is_no_route_out_of_the_lab(mesh: Mesh) -> None:
    for family in ("-4", "-6"):
        routes = subprocess.check_output(["ip", family, "route", "show", "table", "all"], text=True)
        devices = {line.partition(" dev ")[2].split()[0] for line in routes.splitlines()}
        assert "default" not in routes
        assert devices <= {"mesh", "lo", *(mesh.layout.port(host) for host in mesh.hosts.names())}
    # An address reserved for documentation. The kernel has no route to it, here and on a host.
    with pytest.raises(OSError, match="unreachable") as caught:
        socket.create_connection(("192.0.2.1", 9), timeout=1)
    assert caught.value.errno == errno.ENETUNREACH
    assert mesh.hosts.run("h2", "ip route get 192.0.2.1", check=False).returncode != 0


def test_a_name_outside_the_mesh_does_not_exist(mesh: Mesh) -> None:
    assert socket.gethostbyname("h2.internal") == mesh.hosts.address("h2")
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("example.com", 443)


@pytest.mark.usefixtures("second")
def test_up_and_down_are_idempotent_and_do_not_change_the_machine() -> None:
    before = second_lab.machine()
    first = second_lab.inv("lab.up", "--hosts", "1")
    assert first.returncode == 0, first.stdout + first.stderr
    assert second_lab.machine() == before
    again = second_lab.inv("lab.up", "--hosts", "1")
    assert again.stdout.split() == f"lab {second_lab.NAME} is up already, with 1 host".split()
    more = second_lab.inv("lab.up", "--hosts", "2")
    assert (more.returncode, more.stderr.count("\n")) == (1, 1)
    assert "is up with 1 host; run: inv lab.down first" in more.stderr
    down = second_lab.inv("lab.down")
    assert down.returncode == 0, down.stdout + down.stderr
    assert second_lab.remains() == []
    assert second_lab.machine() == before
    # This lab still runs, so the limit that its hosts need stays.
    assert int(Path("/proc/sys/fs/inotify/max_user_instances").read_text()) >= 8192
    assert "is down already" in second_lab.inv("lab.down").stdout


@pytest.mark.usefixtures("second")
@pytest.mark.parametrize("line_start", ["base image", "network", "1 host"])
def test_after_a_killed_up_down_removes_everything(line_start: str) -> None:
    second_lab.interrupt(signal.SIGKILL, line_start)
    assert second_lab.inv("lab.down").returncode == 0
    assert second_lab.remains() == []


@pytest.mark.usefixtures("second")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["sigint", "sigterm"])
def test_an_interrupted_up_takes_itself_down(number: signal.Signals) -> None:
    output = second_lab.interrupt(number, "network")
    assert "did not come up; taking it down" in output
    assert "Traceback" not in output
    assert second_lab.remains() == []


def test_a_lab_of_another_checkout_is_refused(tmp_path: Path) -> None:
    lab = second_lab.LAB
    (tmp_path / lab.state.relative_to(lab.checkout)).mkdir(parents=True)
    lab.resolver.parent.mkdir()
    lab.resolver.write_text(f"# {tmp_path}\n")
    try:
        for verb in ("up", "down"):
            done = second_lab.inv(f"lab.{verb}")
            assert done.returncode == 1
            assert f"belongs to {tmp_path}; take it down there" in done.stderr
    finally:
        shutil.rmtree(lab.resolver.parent)


# The hosts.


@pytest.mark.parametrize(
    ("host", "user", "present", "absent"),
    [
        ("h1", "www-data", "/etc/nginx/sites-enabled", "/etc/nginx/default.d"),
        ("h2", "nginx", "/etc/nginx/conf.d", "/etc/nginx/sites-enabled"),
    ],
    ids=["debian", "fedora"],
)
def test_hosts_have_both_nginx_layouts(mesh: Mesh, host: str, user: str, present: str, absent: str) -> None:
    output = mesh.hosts.run(host, f"ps -C nginx -o user=; test -d {present}; test ! -e {absent}").stdout
    assert user in output.split()


def test_the_operator_logs_in_as_an_unprivileged_user_with_sudo(mesh: Mesh) -> None:
    output = subprocess.check_output(["ssh", "h2", "id -un; sudo -n id -un; hostname -f"], text=True)
    assert output.split() == [mesh.layout.LOGIN, "root", "h2.internal"]


@pytest.mark.parametrize("clean_host", ["h1", "h2"], indirect=True)
def test_reset_undoes_every_change_of_a_host(mesh: Mesh, clean_host: str) -> None:
    before = mesh.hosts.checksum(clean_host)
    mesh.hosts.run(
        clean_host,
        "mkdir -p /etc/nginx/tls/key /run/meshfab; touch /etc/nginx/tls/key/a.pem /tmp/a-provisioner;"
        "rm /etc/issue; chmod 0600 /etc/group; setfacl -m u:nobody:r /etc/passwd; systemctl stop nginx;"
        "echo nonsense >/etc/nginx/conf.d/a.conf; systemd-run --quiet --on-active=120 true;"
        "printf '[Service]\\nExecStart=/bin/sleep 9\\n' >/etc/systemd/system/step@.service;"
        "systemctl daemon-reload; systemctl start --no-block step@a",
    )
    mesh.faults.fill(clean_host, "/etc/nginx/tls")
    mesh.faults.cut(clean_host)
    mesh.reset(clean_host)
    assert mesh.hosts.checksum(clean_host) == before
    leftovers = "ls /tmp/*-provisioner /run/meshfab /run/systemd/transient/*.timer; systemctl -q is-active step@a"
    assert mesh.hosts.run(clean_host, leftovers, check=False).stdout == ""
    socket.create_connection((mesh.hosts.address(clean_host), 80), timeout=60).close()


def test_a_host_can_be_rebuilt(mesh: Mesh) -> None:
    before = mesh.hosts.checksum("h3")
    mesh.hosts.run("h3", "touch /etc/new /usr/bin/new")
    snapshot.rebuild(mesh.lab, "h3")
    assert mesh.hosts.checksum("h3") == before
    assert mesh.hosts.run("h3", "test -e /usr/bin/new", check=False).returncode == 1
    assert subprocess.run(["ssh", "h3", "true"], check=False).returncode == 0
