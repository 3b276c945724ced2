"""Hosts that send a byte at a time, flood, or read nothing: the command ends in time, and the other hosts are done."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.machine.process import wait_until
from lab.services import ca, hosts
from tests.integration.conftest import CHECKOUT, Inv, Mesh
from tests.integration.on_host import Site, assert_done

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.lab

HOSTS = ("h1", "h2", "h3", "h4", "h5", "h6")
DRIP = "while :; do printf x; sleep 1; done"
# A TLS server that begins a ServerHello and sends the rest a byte at a time.
DRIP_TLS = "{ printf '\\\\026\\\\003\\\\003\\\\077\\\\377\\\\002'; while :; do printf x; sleep 1; done; }"


@pytest.fixture(autouse=True)
def clean(mesh: Mesh) -> Iterator[None]:
    mesh.reset(*HOSTS)
    yield
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(mesh.reset, HOSTS))


def sh(host: str, command: str) -> str:
    return hosts.run(host, command, check=False).stdout.strip()


def replace_login_shell(host: str, text: str) -> None:
    """From here on every command of the operator's login is this one."""
    sh(host, f"printf '%s\\n' '#!/bin/sh' '{text}' >/usr/local/bin/hostile; chmod 755 /usr/local/bin/hostile")
    sh(host, "usermod -s /usr/local/bin/hostile ops")


@pytest.mark.slow
def test_a_check_of_the_fleet_ends_in_time_whatever_some_hosts_send(inv: Inv) -> None:
    healthy, slow_tls = Site("h1"), Site("h6")
    for site in (healthy, slow_tls):
        assert_done(inv("provision", *site.words))
    replace_login_shell("h2", DRIP)
    replace_login_shell("h3", f"{{ {DRIP}; }} >&2")
    replace_login_shell("h4", "sleep 1000")
    replace_login_shell("h5", "exec cat /dev/zero >&2")
    sh("h6", "systemctl stop nginx")
    serve = f'systemd-run --quiet --unit=drip systemd-socket-activate --accept --inetd -l 443 sh -c "{DRIP_TLS}"'
    sh("h6", serve)
    sh("h6", "for i in $(seq 100); do ss -Hltn 'sport = 443' | grep -q . && exit 0; sleep 0.02; done; exit 1")
    began = time.monotonic()
    done = inv("check-certs", "--format", "json", *(word for host in HOSTS for word in ("--host", host)), timeout=200)
    # Five times the time limit of a host.
    assert time.monotonic() - began < 150
    assert "Traceback" not in done.stderr
    report = {host["host"]: host for host in json.loads(done.stdout)["hosts"]}
    assert report["h1"]["status"] == "ok"
    for host in ("h2", "h3", "h4"):
        assert report[host]["status"] == "unknown"
        assert "no answer" in report[host]["error"]
    assert "longer than" in report["h5"]["error"]
    assert report["h6"]["status"] == "critical"
    assert report["h6"]["error"] is None


@pytest.mark.slow
def test_an_interrupted_apply_ends_while_a_host_drips_and_says_that_the_password_may_be_there(
    inv: Inv, tmp_path: Path
) -> None:
    file = tmp_path / "mesh.json"
    file.write_text(json.dumps({"meshfab": {"services": {"tea": {"hosts": ["h2", "h3"]}}}}))
    words = ("-f", str(file), "apply")
    argv = ["env", "--default-signal=INT", str(Path(sys.executable).with_name("inv")), *words]
    ca.pause()
    try:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=CHECKOUT
        )
        wait_until(lambda: all(sh(host, "pgrep -x step") for host in ("h2", "h3")), "two mints to begin", 60, 0.05)
        replace_login_shell("h2", DRIP)
        # The clean-up needs a new connection, and gets this shell.
        sh("h2", "pkill -KILL -u ops sshd")
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=250)
        took = time.monotonic() - began
    finally:
        ca.resume()
        if process.poll() is None:
            process.kill()
    assert process.returncode == 1
    # Five times the limit of a run that is stopped.
    assert took < 200
    assert "Traceback" not in out + err
    # On h3 the interruption may come after `step` has given the silent CA up.
    assert "failed   h3: " in out
    assert err.startswith("h2: THE PASSWORD MAY STILL LIE at /tmp/tea-provisioner")
    # The shell on the host ended with its channel, and its trap has removed it.
    for host in ("h2", "h3"):
        wait_until(lambda host=host: sh(host, "ls /tmp/tea-provisioner 2>/dev/null") == "", "the removal", 60, 0.1)  # type: ignore[misc]
    sh("h2", "usermod -s /bin/bash ops")
    healed = inv(*words)
    assert healed.returncode == 0, healed.stdout
