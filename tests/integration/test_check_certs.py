"""check-certs on real hosts: each finding's condition made for real, seen, and healed as its message says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import pytest

from lab import layout
from lab.machine.process import wait_until
from lab.services import ca
from meshfab import Settings, check_certs
from meshfab.cli.json_report import SCHEMA
from meshfab.fleet.host_check import check_host
from tests.integration.conditions import VhostPath, codes, heal, of
from tests.support.terminal import terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from meshfab.checks.report import HostReport
    from tests.integration.conftest import Inv, Mesh

TEA = VhostPath("tea", "h2")
OPERATOR = Settings()
# Only what the operator declared gets a remedy that gives a host a name or the password.
DECLARED = {TEA.name: {"host": TEA.host}}


def look(host: str = "h2", **settings: object) -> HostReport:
    return check_certs([host], settings=Settings(**{"services": DECLARED, **settings})).hosts[0]  # type: ignore[arg-type]


@pytest.fixture(scope="module", autouse=True)
def served(mesh: Mesh, inv: Inv) -> Iterator[None]:
    """One service, provisioned; each test leaves it as it found it."""
    mesh.reset("h1", "h2", "h3")
    mesh.dns.point(TEA.name, TEA.host)
    done = inv("provision", "--name", TEA.name, "--host", TEA.host)
    assert done.returncode == 0, done.stderr
    # A tick of its own accord would heal what a test has just broken.
    TEA.sh(
        f"mkdir /etc/systemd/system/{TEA.timer}.d; cd /etc/systemd/system/{TEA.timer}.d;"
        " printf '[Timer]\\nOnCalendar=\\nOnCalendar=*-01-01\\n' > later.conf;"
        f" systemctl daemon-reload; systemctl restart {TEA.timer}"
    )
    yield
    mesh.reset("h1", "h2", "h3")
    mesh.dns.unpoint(TEA.name)


def _break_renewal() -> None:
    ca.stop()
    try:
        TEA.sh(
            f"mkdir -p -m 0700 /run/meshfab; touch /run/meshfab/{TEA.name}.force; systemctl start step@{TEA.name}",
            check=False,
        )
    finally:
        ca.start()


def _expire() -> None:
    TEA.mint("1h0m3s", "--not-before=-1h")  # of its beginning
    TEA.sh(f"while openssl x509 -checkend 0 -noout -in {TEA.cert}; do sleep 0.1; done")


def _renew_without_reload() -> None:
    TEA.sh(f"step ca renew --force --ca-url {layout.CA_URL} --root {layout.ROOT_ON_HOST} {TEA.cert} {TEA.key} 2>&1")


def _unwire() -> None:
    ask = f"openssl s_client -connect {layout.address(TEA.host)}:443 -servername {TEA.fqdn} </dev/null 2>/dev/null"
    TEA.sh(f"rm /etc/nginx/conf.d/{TEA.fqdn}.conf; systemctl reload nginx; while {ask} | grep -q BEGIN; do :; done")


CONDITIONS: dict[str, tuple[str, str, Callable[[], object]]] = {
    "no pair": ("cert-missing", "critical", lambda: TEA.sh(f"rm {TEA.cert} {TEA.key}")),
    "cut": ("cert-unreadable", "critical", lambda: TEA.sh(f"truncate -s 300 {TEA.cert}")),
    "empty": ("cert-unreadable", "critical", lambda: TEA.sh(f": > {TEA.cert}")),
    "over": ("cert-expired", "critical", _expire),
    "old": ("cert-expiring", "warning", lambda: TEA.mint("24h", "--not-before=-17h")),
    "early": ("cert-not-yet-valid", "critical", lambda: TEA.mint("5h", "--not-before=1h")),
    "other name": ("san-mismatch", "critical", lambda: TEA.mint(san="coffee.internal")),
    "other ca": ("chain-untrusted", "critical", TEA.self_sign),
    "no key": ("key-missing", "critical", lambda: TEA.sh(f"rm {TEA.key}")),
    "other key": (
        "key-mismatch",
        "critical",
        lambda: TEA.sh(f"openssl genpkey -algorithm ec -pkeyopt ec_paramgen_curve:P-256 -out {TEA.key}"),
    ),
    "closed certificate": ("mode-drift", "warning", lambda: TEA.sh(f"chmod 0600 {TEA.cert}")),
    "open key": ("mode-drift", "critical", lambda: TEA.sh(f"chmod 0644 {TEA.key}")),
    "no acl": ("acl-missing", "warning", lambda: TEA.sh(f"setfacl -b {TEA.key}")),
    "masked acl": ("acl-missing", "warning", lambda: TEA.sh(f"chmod 0600 {TEA.key}")),
    "stopped timer": ("timer-missing", "critical", lambda: TEA.sh(f"systemctl stop {TEA.timer}")),
    "disabled timer": ("timer-missing", "critical", lambda: TEA.sh(f"systemctl disable {TEA.timer}")),
    "other unit": ("unit-drift", "warning", lambda: TEA.sh("echo '# mine' >> /etc/systemd/system/step@.service")),
    "failed tick": ("renewal-failed", "warning", _break_renewal),
    "lost reload": ("served-stale", "critical", _renew_without_reload),
    "nginx down": ("not-served", "critical", lambda: TEA.sh("systemctl stop nginx")),
    "no vhost": ("not-served", "critical", _unwire),
    "left password": ("secret-left", "critical", lambda: TEA.sh(f"echo secret > /tmp/{TEA.name}-provisioner")),
}


@pytest.mark.parametrize("case", CONDITIONS)
def test_the_condition_is_seen_and_its_remedy_heals_it(case: str) -> None:
    code, status, make = CONDITIONS[case]
    make()
    found = of(look(), TEA.name)
    named = [finding for finding in found.findings if finding.code == code]
    assert named, codes(found)
    assert named[0].status == status
    assert (TEA.host in named[0].remedy) and (TEA.name in named[0].remedy or "nginx" in named[0].remedy)
    heal(named[0])
    after = of(look(), TEA.name)
    assert (after.status, after.findings) == ("ok", ())


def test_a_name_that_leads_elsewhere_is_seen_and_healed(mesh: Mesh) -> None:
    mesh.dns.point(TEA.name, "h1")
    found = of(look(), TEA.name)
    assert codes(found) == ["dns-mismatch"]
    assert found.findings[0].message.count(layout.address("h1")) == 2, "from here and on the host"
    heal(found.findings[0])
    assert of(look(), TEA.name).findings == ()


def test_a_name_that_an_outside_resolver_knows_is_critical(mesh: Mesh) -> None:
    # The lab's own resolver stands for the public one: it knows the name, and later it does not.
    outside = [layout.OPERATOR_ADDRESS]
    found = of(look(public_resolvers=outside), TEA.name)
    assert (codes(found), found.status) == (["dns-public"], "critical")
    assert layout.address("h2") in found.findings[0].message
    mesh.dns.unpoint(TEA.name)
    assert codes(of(look(public_resolvers=outside), TEA.name)) == ["dns-mismatch"]
    mesh.dns.point(TEA.name, TEA.host)


def test_a_resolver_that_does_not_answer_is_no_finding() -> None:
    # Port 53 of a host: nobody listens there.
    assert of(look(public_resolvers=[layout.address("h3")]), TEA.name).findings == ()


@pytest.mark.parametrize("declared", [False, True], ids=["found", "declared"])
def test_a_timer_without_a_pair_is_a_missing_certificate(declared: bool) -> None:
    ghost = VhostPath("ghost", "h2")
    ghost.sh(f"systemctl --quiet enable --now step@{ghost.name}.timer 2>&1")
    report = of(look(services={"ghost": {"host": "h2"}} if declared else {}), "ghost")
    assert "cert-missing" in codes(report)
    assert ("orphan" in codes(report)) is not declared
    if declared:
        ghost.sh("systemctl disable --now step@ghost.timer 2>&1")
        return
    heal(next(finding for finding in report.findings if finding.code == "orphan"), by_ending=True)
    assert [one.name for one in look().certificates] == [TEA.name, "h2"]


def test_a_vhost_without_a_pair_is_found_though_nginx_refuses_its_configuration() -> None:
    text = f"server {{ listen 443 ssl; server_name web.internal; ssl_certificate {TEA.cert.replace('tea', 'web')}; }}"
    TEA.sh(f"echo '{text}' > /etc/nginx/conf.d/web.conf")
    found = of(look(), "web")
    TEA.sh("rm /etc/nginx/conf.d/web.conf")
    assert {"cert-missing", "orphan"} <= set(codes(found))


def test_a_pair_that_nothing_uses_is_an_orphan_and_no_more() -> None:
    lost = VhostPath("lost", "h2")
    lost.mint()
    found = of(look(), "lost")
    assert (codes(found), found.status) == (["orphan"], "warning")
    heal(found.findings[0], by_ending=True)
    assert [one.name for one in look().certificates] == [TEA.name, "h2"]


def test_a_declared_service_that_was_never_set_up_is_reported() -> None:
    found = of(look(services={"wine": {"host": "h2", "sans": ["red.internal"]}}), "wine")
    assert {"cert-missing", "timer-missing", "unit-drift", "not-served", "dns-mismatch"} == set(codes(found))
    assert found.findings[0].remedy == "inv provision --name wine --host h2 --san red.internal"


def test_what_is_left_by_others_and_a_clock_concern_the_host_itself() -> None:
    TEA.stub("date", 'case $* in +%s) echo $(($($real +%s) + 3600)) ;; *) exec $real "$@" ;; esac')
    TEA.sh(
        "touch /tmp/ale-provisioner; install -d -m 0700 /tmp/.meshfab-0123456789abcdef;"
        " echo secret >/tmp/.meshfab-0123456789abcdef/p; touch -d '-5 minutes' /tmp/.meshfab-0123456789abcdef"
    )
    found = of(look(), "h2", "host")
    assert [(one.code, one.status) for one in found.findings] == [
        ("secret-left", "critical"),
        ("secret-left", "critical"),
        ("clock-skew", "warning"),
    ]
    assert "ahead" in found.findings[-1].message
    for finding in found.findings[:2]:
        heal(finding)
    TEA.unstub()
    assert of(look(), "h2", "host").findings == ()


def test_a_password_of_a_mint_that_is_under_way_is_no_finding() -> None:
    TEA.sh(
        "mkdir -p -m 0700 /run/meshfab; echo secret > /tmp/tea-provisioner;"
        " setsid flock /run/meshfab/tea.lock sleep infinity >/dev/null 2>&1 &"
    )
    TEA.sh("while flock -n /run/meshfab/tea.lock true; do sleep 0.01; done")
    assert of(look(), TEA.name).findings == ()
    TEA.sh("rm /tmp/tea-provisioner; pkill -f 'sleep [i]nfinity'")


def test_the_hosts_own_pair_is_checked_too() -> None:
    cert, key = "/etc/pki/tls/misc/h2.internal.pem", "/etc/pki/tls/private/h2.internal.pem"
    TEA.sh(f"chmod 0644 {key}")
    found = of(look(), "h2", "host")
    assert [(one.code, one.status) for one in found.findings] == [("mode-drift", "critical")]
    heal(found.findings[0])
    TEA.sh(f"mv {cert} {cert}.away")
    found = of(look(), "h2", "host")
    TEA.sh(f"mv {cert}.away {cert}")
    assert (codes(found), found.timer) == (["cert-missing"], None)
    assert "step.service" in found.findings[0].remedy
    assert of(look(), "h2", "host").findings == ()
    # Other meshes keep it elsewhere, or have none.
    elsewhere = {"cert": "/etc/ssl/{hostname}.crt", "key": "/etc/ssl/private/{hostname}.key"}
    TEA.sh(f"cp {cert} /etc/ssl/h2.internal.crt; cp {key} /etc/ssl/private/h2.internal.key; mv {cert} {cert}.away")
    found = of(look(host_certificate=elsewhere), "h2", "host")
    assert (found.findings, found.sans) == ((), ("h2.internal",))
    TEA.sh("rm /etc/ssl/h2.internal.crt")
    assert codes(of(look(host_certificate=elsewhere), "h2", "host")) == ["cert-missing"]
    without = look(host_certificate="off")
    TEA.sh(f"mv {cert}.away {cert}; rm /etc/ssl/private/h2.internal.key")
    assert [(one.kind, one.findings) for one in without.certificates] == [("service", ())]


@pytest.mark.slow
def test_a_leaf_that_cannot_be_asked_for_from_here_is_asked_for_on_the_host(mesh: Mesh) -> None:
    TEA.sh(f"sed -i 's/listen 443/listen 127.0.0.1:443/; /listen .*::/d' /etc/nginx/conf.d/{TEA.fqdn}.conf")
    TEA.sh("systemctl restart nginx")
    found = of(look(), TEA.name)
    # Whoever edited it, the name is not served at the mesh address.
    assert "not-served" in codes(found)
    mesh.hosts.run("h2", f"rm /etc/nginx/conf.d/{TEA.fqdn}.conf; systemctl restart nginx")
    # Dropped at the door for the operator only: the host itself still reaches its address.
    heal(next(one for one in of(look(), TEA.name).findings if one.code == "not-served"))
    mesh.hosts.run(
        "h2", f"ip route add blackhole {layout.OPERATOR_ADDRESS}/32 table 77; ip rule add sport 443 table 77"
    )
    try:
        found = of(look(), TEA.name)
    finally:
        mesh.hosts.run("h2", "ip rule del table 77; ip route flush table 77")
    assert (found.findings, found.served) == ((), True)


# What the command line makes of it.


def test_json_keeps_to_its_schema_and_names_the_worst(inv: Inv) -> None:
    done = inv("check-certs", "--host", "h2", "--host", "h3", "--format", "json")
    said = json.loads(done.stdout)
    jsonschema.validate(said, json.loads(SCHEMA.read_text()))
    assert (done.returncode, said["status"], done.stderr) == (0, "ok", "")
    tea = said["hosts"][0]["certificates"][0]
    assert (tea["name"], tea["kind"], tea["sans"]) == ("tea", "service", ["tea.internal"])
    assert tea["serial"] == tea["served_serial"]
    assert tea["timer"]["enabled"] and tea["timer"]["active"] and tea["timer"]["next"]
    assert 0 < tea["remaining_seconds"] <= 24 * 3600


def test_metrics_replace_their_file_at_once_and_a_pipe_gets_plain_text(inv: Inv, tmp_path: Path) -> None:
    file = tmp_path / "meshfab.prom"
    file.write_text("old")
    inode = file.stat().st_ino
    done = inv("check-certs", "--host", "h2", "--format", "prometheus", "--output", str(file))
    assert (done.returncode, done.stdout) == (0, "")
    assert 'meshfab_host_reachable{host="h2"} 1.0' in file.read_text()
    assert file.stat().st_ino != inode and file.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    plain = inv("check-certs", "--host", "h2").stdout
    assert "\x1b" not in plain and max(map(len, plain.splitlines())) <= 80


@pytest.mark.slow
def test_hosts_that_hang_are_waited_for_together_and_hide_nothing(mesh: Mesh, inv: Inv) -> None:
    mesh.faults.cut("h3")
    mesh.hosts.run("h1", "pkill -STOP -o sshd")
    TEA.sh(f"systemctl stop {TEA.timer}")
    try:
        with _check("h1", "h2", "h3", more=("--format", "json")) as sweep:
            # Both at once, so that the second one costs no time of its own.
            wait_until(lambda: _connected_to() >= {"h1", "h3"}, "connections to both that hang", 60, 0.02)
            text, _ = sweep.communicate(timeout=120)
        halves = _interrupted("h1", "h2")
        mixed = inv("check-certs", "--host", "h2").returncode
        alone = inv("check-certs", "--host", "nowhere.internal").returncode
    finally:
        mesh.faults.restore("h3")
        mesh.hosts.run("h1", "pkill -CONT -o sshd")
        TEA.sh(f"systemctl start {TEA.timer}")
    said = {host["host"]: host for host in json.loads(text)["hosts"]}
    assert (sweep.returncode, mixed, alone) == (2, 2, 3), "critical over unknown"
    assert [said[host]["status"] for host in ("h1", "h2", "h3")] == ["unknown", "critical", "unknown"]
    assert said["h1"]["error"] and said["h3"]["error"]
    assert halves[0] == 2
    # A host whose time is up would be told of in other words.
    assert "timer-missing" in halves[1] and "interrupted before it answered" in halves[1]


def _check(*names: str, more: Sequence[str] = (), stderr: int | None = None) -> subprocess.Popen[str]:
    # A shell without a terminal starts its jobs deaf to SIGINT, and pytest may be one of them.
    argv = ["env", "--default-signal=INT", str(Path(sys.executable).with_name("inv")), "check-certs", *more]
    for name in names:
        argv += ["--host", name]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=stderr, text=True)


def _connected_to() -> set[str]:
    """The hosts to whose sshd a connection from here is open, or being opened."""
    states = ["state", "established", "state", "syn-sent"]
    ends = subprocess.check_output(["ss", "-Htn", *states, "dport", "=", ":22"], text=True).split()
    return {host for host in ("h1", "h2", "h3") if f"{layout.address(host)}:22" in ends}


def _interrupted(*names: str) -> tuple[int, str]:
    """Ctrl-C into a sweep that still waits for one host."""
    with terminal() as screen, _check(*names, stderr=screen.fd) as child:
        wait_until(lambda: f"1 of {len(names)} hosts" in screen.shown(), "all hosts but one to answer", 60, 0.02)
        os.kill(child.pid, signal.SIGINT)
        text, _ = child.communicate(timeout=60)
    return child.returncode, text


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("exit 0", "dropped"),
        ("head -c 100000 /dev/urandom", "dropped|ended|sense"),
        ("exec cat /dev/zero", "answer is longer than|dropped"),
        ("exec cat /dev/zero >&2", "answer is longer than|no answer"),
        ("exec sleep 60", "no answer"),
    ],
    ids=["nothing", "garbage", "too much", "too much aside", "never"],
)
def test_a_host_may_answer_anything_or_nothing(mesh: Mesh, answer: str, error: str) -> None:
    mesh.hosts.run("h3", "install -m 0755 /dev/stdin /usr/local/bin/sudo", input=f"#!/bin/sh\n{answer}\n")
    try:
        report = check_host("h3", OPERATOR, seconds=3)
    finally:
        mesh.hosts.run("h3", "rm -f /usr/local/bin/sudo; pkill -f '[c]at /dev/zero|[s]leep 60'", check=False)
    assert report.status == "unknown"
    assert report.seconds < 5 * 3
    assert report.error and any(word in report.error for word in error.split("|")), report.error


def test_a_host_with_another_root_than_the_pinned_one(inv: Inv) -> None:
    pinned = look(root_fingerprint="ab" * 32)
    own = of(pinned, "h2", "host")
    assert "root-mismatch" in codes(own) and own.status == "critical"
    done = TEA.sh(f"openssl x509 -noout -fingerprint -sha256 -in {layout.ROOT_ON_HOST}")
    assert "root-mismatch" not in codes(of(look(root_fingerprint=done.strip().partition("=")[2]), "h2", "host"))
    refused = inv("provision", "--name", "coffee", "--host", "h2", env={"INVOKE_MESHFAB_ROOT_FINGERPRINT": "ab" * 32})
    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 1 and "not the pinned root" in refused.stderr
    assert TEA.sh("find / -xdev -name '*coffee*'") == "", "nothing was done"
