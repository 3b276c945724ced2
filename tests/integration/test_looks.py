"""check-certs without sudo, without SSH, and again and again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from lab.machine.process import wait_until
from meshfab.cli.json_report import SCHEMA
from meshfab.host import tick_state
from tests.integration.conftest import CHECKOUT
from tests.integration.on_host import Site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Inv, Mesh

pytestmark = pytest.mark.lab

TEA = Site("h2", name="tea")
STATE = f"{tick_state.FOLDER}/tea.json"


@pytest.fixture(autouse=True)
def tea(mesh: Mesh, inv: Inv) -> Iterator[None]:
    """A service that is served, declared or not."""
    mesh.reset("h2")
    mesh.dns.point("tea", "h2")
    assert inv("provision", *TEA.words).returncode == 0
    yield
    mesh.reset("h2")


@pytest.fixture
def declared(tmp_path: Path) -> list[str]:
    """The options that name a file with the declaration."""
    (tmp_path / "mesh.yaml").write_text("meshfab: {services: {tea: {host: h2}}}\n")
    return ["-f", str(tmp_path / "mesh.yaml")]


@pytest.fixture
def watcher(mesh: Mesh, tmp_path: Path) -> list[str]:
    """The options for a login that may do nothing, by the operator's key."""
    mesh.hosts.run("h2", "useradd --create-home watcher")
    key = mesh.hosts.run("h2", "cat ~ops/.ssh/authorized_keys").stdout
    TEA.write("/home/watcher/.ssh/authorized_keys", key)
    assert TEA.sh("sudo -l -U watcher", check=False).count("not allowed to run sudo") == 1
    config = tmp_path / "ssh_config"
    config.write_text("Host h2\n  User watcher\n" + (Path.home() / ".ssh" / "config").read_text())
    (tmp_path / "watcher.yaml").write_text(f"meshfab: {{ssh_config: {config}, services: {{tea: {{host: h2}}}}}}\n")
    return ["-f", str(tmp_path / "watcher.yaml")]


def report(done: subprocess.CompletedProcess[str]) -> tuple[int, dict[str, str]]:
    """The exit status, and the findings of the first certificate."""
    said = json.loads(done.stdout)
    jsonschema.validate(said, json.loads(SCHEMA.read_text()))
    findings = said["hosts"][0]["certificates"][0]["findings"]
    return done.returncode, {finding["code"]: finding["message"] for finding in findings}


def test_a_login_without_any_rights_makes_the_quick_look(mesh: Mesh, inv: Inv, watcher: list[str]) -> None:
    def quick() -> tuple[int, dict[str, str]]:
        return report(inv(*watcher, "check-certs", "--quick", "--format", "json"))

    assert inv(*watcher, "check-certs").returncode == 3, "a full look needs root"
    doctor = inv(*watcher, "doctor", "--quick")
    assert doctor.returncode == 0, doctor.stdout
    assert quick() == (0, {}), "provision has left a first state"
    TEA.sh("systemctl start step@tea")
    assert quick() == (0, {})

    mesh.faults.ca_stop()
    try:
        TEA.sh("touch /run/meshfab/tea.force; systemctl start step@tea", check=False)
    finally:
        mesh.faults.ca_start()
    status, found = quick()
    assert (status, list(found)) == (1, ["renewal-failed"])
    assert "cannot be reached" in found["renewal-failed"]

    # A timer that has stopped: nothing writes a newer state.
    age = "sed -i -E 's/\"time\": [0-9]+/\"time\": '$(($(date +%s) - 2500))'/' " + STATE
    TEA.sh(f"systemctl stop step@tea.timer; systemctl start step@tea; {age}")
    assert quick()[1].keys() == {"tick-silent"}
    assert inv(*watcher, "doctor", "--quick").returncode == 1
    # What root on a hostile host may put there.
    for trap in (f"mkfifo {STATE}", f"head -c 9000 /dev/zero >{STATE}", f"ln -s /etc/shadow {STATE}"):
        TEA.sh(f"rm -f {STATE}; {trap}")
        assert quick()[1] == {"tick-silent": "the state of its ticks cannot be read"}, trap
    TEA.sh(f"rm -r {tick_state.FOLDER}")
    assert inv(*watcher, "doctor", "--quick").returncode == 2


def test_the_look_from_outside_needs_no_ssh_and_sees_what_clients_see(
    mesh: Mesh, inv: Inv, declared: list[str]
) -> None:
    def outside() -> tuple[int, dict[str, str]]:
        return report(inv(*declared, "check-certs", "--outside", "--format", "json"))

    TEA.sh("systemctl stop ssh sshd 2>/dev/null; pkill -o sshd; :")
    try:
        assert outside() == (0, {})
        TEA.sh(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=tea"
            f" -addext subjectAltName=DNS:tea.internal -keyout {TEA.key} -out {TEA.cert} 2>&1; systemctl reload nginx"
        )
        wait_until(lambda: outside()[1].keys() == {"chain-untrusted"}, "the other certificate to be served", 60)
        mesh.dns.unpoint("tea")
        status, found = outside()
        assert (status, set(found)) == (2, {"dns-mismatch", "not-served"})
    finally:
        TEA.sh("systemctl start ssh 2>/dev/null || systemctl start sshd")


def logins() -> int:
    return int(TEA.sh("journalctl --sync; journalctl -o cat -t sshd -t sshd-session | grep -c '^Accepted' || :"))


def test_a_watch_says_what_changes_over_one_connection_and_ends_cleanly(declared: list[str]) -> None:
    before = logins()
    command = [str(Path(sys.executable).with_name("inv")), *declared, "check-certs", "--watch", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT, env=os.environ) as watch:
        assert watch.stdout
        lines = iter(watch.stdout.readline, "")
        first = json.loads(next(lines))
        assert (first["status"], first["hosts"][0]["host"], first["changes"]) == ("ok", "h2", [])
        TEA.sh("systemctl stop nginx")
        change = next_change(lines)
        assert (change["host"], change["name"], change["status"]) == ("h2", "tea", "critical")
        assert change["message"].startswith("not-served: ")
        TEA.sh("systemctl start nginx")
        assert next_change(lines)["message"] == "not-served is over"
        assert logins() == before + 1
        watch.send_signal(signal.SIGINT)
        assert watch.wait(60) == 0, "the status of the last round"
    wait_until(lambda: not TEA.sh("pgrep -f 'sh -c .* meshfab$' || :").strip(), "the end of the shell there", 60)


def next_change(lines: Iterator[str]) -> dict[str, Any]:
    """The only change of the next round that has any."""
    for line in lines:
        changes: list[dict[str, Any]] = json.loads(line)["changes"]
        if changes:
            assert len(changes) == 1, changes
            return changes[0]
    raise AssertionError("the watch has ended")


# What each thread imports (PEP 578); a module that is there already is none.
IMPORTS = """
import sys, threading
loaded = []
sys.addaudithook(lambda event, args: event == "import" and loaded.append((threading.current_thread().name, args[0])))
from invoke.main import program
try:
    program.run(["inv", *sys.argv[1:]])
finally:
    print(*(f"{thread} {module}" for thread, module in loaded), sep="\\n", file=sys.stderr)
"""


@pytest.mark.parametrize("look", [[], ["--quick"]], ids=["full", "quick"])
def test_the_threads_of_hosts_import_nothing_that_the_main_thread_imports_meanwhile(look: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS, "check-certs", "--host", "h1", "--host", "h2", *look],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    loaded = [line.split() for line in done.stderr.splitlines() if line.count(" ") == 1]
    packages = {"fabric", "paramiko", "cryptography", "rich"}
    assert packages <= {module.partition(".")[0] for thread, module in loaded if thread == "MainThread"}
    beside = {module for thread, module in loaded if thread.startswith("host")}
    assert {module for module in beside if module.partition(".")[0] in packages} == set()
