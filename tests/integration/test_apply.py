"""`inv apply`: a mesh declared in a file, on ten hosts at once, some of which are in no state for it."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from lab import layout
from lab.faults import faults
from lab.machine.process import wait_until
from lab.services import ca, hosts
from meshfab.ssh.connection import connect
from meshfab.ssh.root_shell import RootShell
from meshfab.ssh.script import Request
from tests.integration.conftest import CHECKOUT, Inv, Mesh

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.lab
TEN = layout.host_names(10)
FOLDERS = ("/etc/nginx", "/etc/systemd/system", "/usr/local/libexec", "/etc/meshfab", "/var/lib/meshfab", "/tmp")


class Declare(Protocol):
    """`declare({"tea": {"host": "h2"}}, parallel=3)`: a mesh in a file, and the words for `inv` to apply it."""

    def __call__(self, services: dict[str, Any], **settings: Any) -> tuple[str, ...]: ...


@pytest.fixture(autouse=True)
def clean(mesh: Mesh) -> Iterator[None]:
    yield
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(mesh.reset, TEN))


@pytest.fixture
def declare(tmp_path: Path) -> Declare:
    def write(services: dict[str, Any], **settings: Any) -> tuple[str, ...]:
        file = tmp_path / "mesh.json"
        file.write_text(json.dumps({"meshfab": {"services": services, **settings}}))
        return "-f", str(file), "apply"

    return write


def sh(host: str, command: str) -> str:
    return hosts.run(host, command, check=False).stdout.strip()


def secrets(host: str) -> str:
    return sh(host, "ls -d /tmp/*-provisioner /tmp/.meshfab-* /run/meshfab/*.stage 2>/dev/null")


def free(host: str) -> str:
    """What holds a lock of ours there; nothing does after any end of a run."""
    held = "for file in /run/meshfab/*.lock; do [ ! -e $file ] || flock -n $file true || echo $file; done"
    return sh(host, f"{held}; pgrep -ax 'cat|flock'; ls /run/meshfab/.line* /run/meshfab/.beside* 2>/dev/null")


def serials(host: str, name: str) -> tuple[str, str]:
    """The serial on disk, and the one that a client of the host gets."""
    disk = sh(host, f"openssl x509 -noout -serial -in /etc/nginx/tls/cert/{name}.internal.pem")
    wire = sh(
        host,
        f"openssl s_client -connect $(hostname -I | cut -d' ' -f1):443 -servername {name}.internal </dev/null"
        " 2>/dev/null | openssl x509 -noout -serial",
    )
    return disk, wire


def picture(host: str) -> str:
    """Every file of ours with its time, and how often nginx and systemd were told to load."""
    files = sh(host, f"find {shlex.join(FOLDERS)} -type f -printf '%p %T@ %s\\n' 2>/dev/null | sort")
    return files + sh(host, "journalctl --sync; journalctl -q -o cat | grep -cE 'Reloading\\.|Reloaded nginx'")


def loads(host: str) -> tuple[int, int]:
    """How often systemd has read its units anew, and nginx its configuration, since the host was set up."""
    said = sh(host, "journalctl --sync; journalctl -q -o cat")
    return len(re.findall(r"(?m)^Reloading\.$", said)), said.count("Reloaded nginx.service")


def test_many_services_of_a_host_cost_one_load_of_units_and_of_nginx(declare: Declare, inv: Inv, mesh: Mesh) -> None:
    mesh.reset("h1", "h2", "h3")
    for host in ("h1", "h2", "h3"):
        sh(host, "systemctl is-system-running --wait")  # a host that has just booted reloads on its own
    names = ("tea", "milk", "cream", "sugar")
    words = declare(
        {
            **{name: {"host": "h2"} for name in names},
            "coffee": {"hosts": ["h1", "h3"], "sans": ["mocha.internal"]},
        }
    )
    before = loads("h2")
    done = inv(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    after = loads("h2")
    assert after[0] - before[0] <= 1, done.stdout
    assert after[1] - before[1] == 1, done.stdout
    for name in names:
        disk, wire = serials("h2", name)
        assert disk == wire != ""
        assert sh("h2", f"systemctl is-active step@{name}.timer") == "active"
    for host in ("h1", "h3"):
        disk, wire = serials(host, "coffee")
        assert disk == wire != ""
        assert "mocha.internal" in sh(host, "openssl x509 -noout -text -in /etc/nginx/tls/cert/coffee.internal.pem")
    assert "3 hosts, 3 changed, 0 as declared" in done.stdout
    was = {host: picture(host) for host in ("h1", "h2", "h3")}
    again = inv(*words)
    assert again.returncode == 0
    assert "3 hosts, 0 changed, 3 as declared" in again.stdout
    assert {host: picture(host) for host in was} == was


def test_a_dry_run_shows_every_step_and_writes_nothing(declare: Declare, inv: Inv, mesh: Mesh) -> None:
    mesh.reset("h1", "h2")
    was = {host: picture(host) for host in ("h1", "h2")}
    done = inv(*declare({"tea": {"hosts": ["h1", "h2"]}, "milk": {"host": "h2"}}), "--dry-run")
    # As `terraform plan -detailed-exitcode`: something would change.
    assert done.returncode == 2, done.stderr
    assert done.stdout.count("mint     would be done") == 3
    assert "+++ /etc/nginx/conf.d/milk.internal.conf" in done.stdout
    assert "2 hosts, 2 to change, 0 as declared" in done.stdout
    assert {host: picture(host) for host in was} == was


def test_a_stopped_nginx_is_started_only_when_that_is_asked_for(declare: Declare, inv: Inv, mesh: Mesh) -> None:
    mesh.reset("h2")
    words = declare({"tea": {"host": "h2"}})
    sh("h2", "systemctl stop nginx")
    refused = inv(*words)
    assert refused.returncode == 1
    assert "give --start" in refused.stdout + refused.stderr
    assert sh("h2", "systemctl is-active nginx") == "inactive"
    assert inv(*words, "--start").returncode == 0
    disk, wire = serials("h2", "tea")
    assert disk == wire != ""


def test_a_file_that_was_edited_by_hand_is_overwritten_only_by_force(declare: Declare, inv: Inv, mesh: Mesh) -> None:
    mesh.reset("h2")
    assert inv(*declare({"tea": {"host": "h2"}})).returncode == 0
    edit = "# mine"
    sh("h2", f"echo '{edit}' >>/etc/nginx/conf.d/tea.internal.conf")
    words = declare({"tea": {"host": "h2", "upstream": "http://127.0.0.1:8080"}})
    refused = inv(*words)
    assert refused.returncode == 1
    assert "--force" in refused.stdout + refused.stderr
    assert edit in sh("h2", "cat /etc/nginx/conf.d/tea.internal.conf")
    assert inv(*words, "--force").returncode == 0
    assert edit not in sh("h2", "cat /etc/nginx/conf.d/tea.internal.conf")


def test_what_is_no_longer_declared_is_named_and_left(declare: Declare, inv: Inv, mesh: Mesh) -> None:
    mesh.reset("h2")
    assert inv(*declare({"tea": {"host": "h2"}, "milk": {"host": "h2"}})).returncode == 0
    was = picture("h2")
    done = inv(*declare({"tea": {"host": "h2"}}))
    assert done.returncode == 0
    assert "h2: orphan: milk.internal has a pair, a timer, a place in nginx's configuration here" in done.stdout
    assert "tea.internal has" not in done.stdout
    assert picture("h2") == was


@pytest.mark.slow
def test_ten_hosts_of_which_one_hangs_one_refuses_and_one_is_full(declare: Declare, inv: Inv, mesh: Mesh) -> None:
    mesh.reset(*TEN)
    words = declare({"tea": {"hosts": TEN}})
    sh("h4", "kill -STOP $(systemctl show -P MainPID ssh.service)")
    sh("h5", "systemctl stop ssh.socket ssh.service")
    faults.fill("h6", "/etc/nginx")
    try:
        done = inv(*words)
    finally:
        sh("h4", "kill -CONT $(systemctl show -P MainPID ssh.service)")
        sh("h5", "systemctl start ssh.service")
        faults.free("h6", "/etc/nginx")
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    rest = [host for host in TEN if host not in ("h4", "h5", "h6")]
    for host in rest:
        disk, wire = serials(host, "tea")
        assert disk == wire != "", host
        assert f"{host} tea.internal: 4 changes" in done.stdout
    failed = [line for line in done.stdout.splitlines() if line.lstrip().startswith("failed")]
    assert len(failed) == 3
    for host in ("h4", "h5", "h6"):
        assert sum(f" {host}: " in line for line in failed) == 1
        assert secrets(host) == ""
    assert "10 hosts, 7 changed, 0 as declared, 3 failed: h4, h5, h6" in done.stdout
    assert sh("h6", "ls /etc/nginx/tls/cert/tea.internal.pem 2>/dev/null") == ""
    healed = inv(*words)
    assert healed.returncode == 0, healed.stdout
    assert "10 hosts, 3 changed, 7 as declared" in healed.stdout


def test_one_bad_service_keeps_no_other_of_its_host_back(declare: Declare, inv: Inv, mesh: Mesh) -> None:
    mesh.reset("h2")
    # milk's vhost is somebody's own with another pair; cream's pair cannot be moved in.
    sh("h2", "mkdir -p /etc/nginx/tls/cert/cream.internal.pem")
    pair = "ssl_certificate /etc/ssl/other.pem; ssl_certificate_key /etc/ssl/other.key;"
    sh(
        "h2",
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=x"
        " -keyout /etc/ssl/other.key -out /etc/ssl/other.pem 2>/dev/null;"
        f" echo 'server {{ listen 443 ssl; server_name milk.internal; {pair} }}' > /etc/nginx/conf.d/own.conf;"
        " systemctl reload nginx",
    )
    done = inv(*declare({name: {"host": "h2"} for name in ("cream", "milk", "sugar", "tea")}))
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    failed = [line for line in done.stdout.splitlines() if line.lstrip().startswith("failed")]
    assert len(failed) == 2, done.stdout
    assert any("/etc/nginx/conf.d/own.conf:1 serves milk.internal" in line for line in failed)
    assert any("cream.internal" in line for line in failed)
    for name in ("sugar", "tea"):
        disk, wire = serials("h2", name)
        assert disk == wire != ""
    assert secrets("h2") == ""


@pytest.mark.parametrize(
    "signals",
    [
        pytest.param((signal.SIGINT,), marks=pytest.mark.slow),
        pytest.param((signal.SIGTERM,), marks=pytest.mark.slow),
        (signal.SIGINT, signal.SIGINT),
    ],
)
def test_an_interruption_leaves_no_password_on_any_host(
    declare: Declare, inv: Inv, mesh: Mesh, signals: tuple[signal.Signals, ...]
) -> None:
    mesh.reset(*TEN)
    # Three at a time: some mint while a CA that says nothing keeps them, and some have not begun.
    words = declare({"tea": {"hosts": TEN}}, parallel=3)
    sh("h1", "kill -STOP $(systemctl show -P MainPID ssh.service)")
    ca.pause()
    try:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("inv")), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=CHECKOUT,
        )
        minting = ("h2", "h3")
        wait_until(lambda: all(sh(host, "pgrep -x step") for host in minting), "two mints to begin", 60, 0.05)
        for number in signals:
            process.send_signal(number)
        # The CA still says nothing, and a mint of which nobody is rid ends after 60 s.
        out, err = process.communicate(timeout=45)
        for host in TEN[1:]:
            assert secrets(host) == "", host
            assert sh(host, "pgrep -x step") == ""
    finally:
        ca.resume()
        sh("h1", "kill -CONT $(systemctl show -P MainPID ssh.service)")
        if process.poll() is None:
            process.kill()
    assert process.returncode == 1
    assert "Traceback" not in out + err
    assert "10 hosts, 0 changed, 0 as declared, 10 failed" in out
    assert out.count("interrupted before its turn") + out.count("interrupted before it was finished") >= 9
    healed = inv(*words)
    assert healed.returncode == 0, healed.stdout


def test_nothing_is_connected_for_a_declaration_with_a_fault(declare: Declare, inv: Inv) -> None:
    done = inv(*declare({"tea": {"host": "nowhere"}, "milk": {"host": "h2", "sans": ["tea.internal"]}, "x": {}}))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "meshfab.services.x names no host" in done.stderr


def test_pairs_that_are_all_lost_are_healed_in_one_run(declare: Declare, inv: Inv, mesh: Mesh) -> None:
    # nginx names the first pair that it misses and reads no further.
    mesh.reset("h2")
    names = ("tea", "milk", "cream")
    words = declare({name: {"host": "h2"} for name in names})
    assert inv(*words).returncode == 0
    sh("h2", "rm -r /etc/nginx/tls")
    before = loads("h2")
    done = inv(*words)
    assert done.returncode == 0, done.stdout
    assert loads("h2")[1] - before[1] == 1
    for name in names:
        disk, wire = serials("h2", name)
        assert disk == wire != ""
    assert free("h2") == ""


@pytest.mark.slow
def test_a_vhost_of_ours_that_was_switched_off_outlives_a_run_that_fails(
    declare: Declare, inv: Inv, mesh: Mesh
) -> None:
    mesh.reset("h1")
    mesh.dns.point("app", "h3")
    words = declare({"tea": {"host": "h1", "upstream": "http://app.internal:8080"}, "milk": {"host": "h1"}})
    assert inv(*words).returncode == 0
    vhost = "/etc/nginx/sites-available/tea.internal.conf"
    was = sh("h1", f"sha256sum {vhost}")
    sh("h1", "rm /etc/nginx/sites-enabled/tea.internal.conf /etc/nginx/tls/*/tea.internal.pem; systemctl reload nginx")
    mesh.dns.unpoint("app")
    done = inv(*words)
    assert done.returncode == 1
    assert "host not found in upstream" in done.stdout
    assert "h1 as declared: milk.internal" in done.stdout
    assert sh("h1", f"sha256sum {vhost}") == was
    assert sh("h1", "ls /etc/nginx/sites-enabled") == "default\nmilk.internal.conf"
    assert free("h1") == ""


def test_a_run_that_goes_on_with_one_service_lets_go_of_the_others(mesh: Mesh) -> None:
    mesh.reset("h2")
    one, two = ([name, f"/tmp/{name}-provisioner", f"/run/meshfab/{name}.stage"] for name in ("tea", "milk"))
    others = "for name in tea milk cream; do flock -n /run/meshfab/$name.lock echo $name; done"
    with connect("h2") as c, RootShell(c) as shell:
        assert shell.batch(
            [Request("lock", ("me", "9:00", "1", "240", *two, *one, "cream", "/tmp/x", "/tmp/y"), persistent=True)]
        )[0].ok
        sh("h2", "mkdir /run/meshfab/tea.stage /run/meshfab/milk.stage")
        assert sh("h2", others) == ""
        assert shell.batch([Request("lock", ("me", "9:00", "1", "240", *one), persistent=True)])[0].ok
        assert sh("h2", others) == "milk\ncream"
        assert secrets("h2") == "", "a key that is staged there would lie there for good"
        with connect("h2") as c2, RootShell(c2) as somebody:
            assert somebody.batch([Request("lock", ("ann", "9:00", "1", "240", *two), persistent=True)])[0].ok
            sh("h2", "mkdir /run/meshfab/milk.stage")
            refused = shell.batch([Request("lock", ("me", "9:00", "1", "240", *two), persistent=True)])[0]
            assert (refused.status, refused.err[:9]) == (75, "ann since")
            c.close()
            wait_until(lambda: sh("h2", others) == "tea\ncream", "the shell to end", 60, 0.05)
            assert secrets("h2") == "/run/meshfab/milk.stage", "it is of somebody else's mint"
    wait_until(lambda: free("h2") + secrets("h2") == "", "the shell to end", 60, 0.05)
    assert sh("h2", others) == "tea\nmilk\ncream"


def test_an_operator_who_dies_in_the_middle_blocks_nobody(declare: Declare, inv: Inv, mesh: Mesh) -> None:
    mesh.reset("h2")
    names = ("tea", "milk", "cream")
    words = declare({name: {"host": "h2"} for name in names})
    command = str(Path(sys.executable).with_name("inv"))
    with subprocess.Popen([command, *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        wait_until(
            lambda: sh("h2", "ls /run/meshfab/milk.stage 2>/dev/null") != "", "the second mint to begin", 60, 0.01
        )
        process.kill()
    # The locks, the password and the staged keys go with the shell that lost its operator.
    wait_until(lambda: free("h2") + secrets("h2") == "", "the shell to end", 60, 0.05)
    assert inv(*words).returncode == 0
    for name in names:
        disk, wire = serials("h2", name)
        assert disk == wire != ""


def test_what_nginx_refuses_of_one_service_is_undone_and_the_others_are_done(
    declare: Declare, inv: Inv, mesh: Mesh
) -> None:
    mesh.reset("h2")
    services: dict[str, Any] = {name: {"host": "h2"} for name in ("tea", "milk", "cream")}
    services["milk"]["upstream"] = "http://nowhere.internal:1"
    done = inv(*declare(services))
    assert done.returncode == 1
    assert done.stdout.count("host not found in upstream") == 1
    for name in ("tea", "cream"):
        disk, wire = serials("h2", name)
        assert disk == wire != ""
    assert sh("h2", "ls /etc/nginx/conf.d | grep -E 'milk|^[.]'") == ""
    wait_until(lambda: free("h2") + secrets("h2") == "", "the shell to end", 60, 0.05)
