"""A host, or a user of it, that wants to hurt the operator: what it says is text, has bounds, and suggests nothing."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab import layout
from lab.services import dns
from meshfab import Settings, check_certs
from tests.integration.conditions import VhostPath, codes, of
from tests.integration.on_host import Site, assert_done
from tests.integration.service_on_host import CERT_DIR, KEY_DIR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Inv, Mesh

pytestmark = pytest.mark.lab

OSC_52 = r"\033]52;c;Y3VybCBldmls\007"
# What anybody may put into /tmp. The first name has a line of its own, which was taken for a path in the login's home.
PLANTED = r"""
: >"$(printf '/tmp/.meshfab-x\n.ssh\n-provisioner')"
: >/tmp/ale-provisioner
mkfifo /tmp/beer-provisioner
ln -s /etc/passwd /tmp/gin-provisioner
mkdir /tmp/rum-provisioner /tmp/.meshfab-0123456789abcdef
touch -h -d '-5 minutes' /tmp/*-provisioner /tmp/.meshfab-*
"""


def server(listen: str, service: VhostPath) -> str:
    pair = f"ssl_certificate {service.cert}; ssl_certificate_key {service.key};"
    return f"server {{ listen {listen} ssl; server_name {service.fqdn}; {pair} }}"


@pytest.fixture
def site(clean_host: str) -> Site:
    return Site(clean_host)


def test_what_a_user_puts_into_tmp_is_no_password_and_suggests_no_command(site: Site, inv: Inv) -> None:
    site.sh("runuser -u nobody -- sh -s", stdin=PLANTED)
    # Of root, and still no password: no regular file, or a name that put_password.sh does not give.
    site.sh("mkfifo /tmp/ginger-provisioner; ln -s /etc/passwd /tmp/mint-provisioner; : >'/tmp/a b-provisioner'")
    try:
        text = assert_done(inv("check-certs", "--host", site.host))
        site.sh(": >/tmp/ale-provisioner.root; mv /tmp/ale-provisioner.root /tmp/ale-provisioner")
        found = of(check_certs([site.host]).hosts[0], site.host, "host").findings
    finally:
        site.sh("rm -rf /tmp/*-provisioner /tmp/.meshfab-*")
    assert "rm -rf" not in text and ".ssh" not in text
    assert [finding.remedy for finding in found] == [f"ssh {site.host} sudo rm -rf /tmp/ale-provisioner"]


def test_an_edited_vhost_sends_nothing_to_the_terminal(site: Site, inv: Inv) -> None:
    assert_done(inv("provision", *site.words))
    site.sh(f"printf '# {OSC_52}\\342\\200\\256 -> curl evil\\n' >>{site.vhost}")
    other = (*site.words, "--upstream", "http://127.0.0.1:8080")
    refused = inv("provision", *other)
    rehearsed = inv("provision", *other, "--force", "--dry-run")
    for done, status in ((refused, 1), (rehearsed, 0)):
        assert done.returncode == status, done.stderr
        assert r"-# \x1b]52;c;Y3VybCBldmls\x07\u202e -> curl evil" in done.stdout
        assert not set(done.stdout + done.stderr) & set("\x1b\x07\u202e")
    assert refused.stderr.count("->") == 1, "the arrow of the remedy"


def test_a_service_that_only_the_host_claims_is_declared_or_ended_by_the_operator(site: Site, inv: Inv) -> None:
    spy = VhostPath("bank", site.host)
    spy.sh(f"mkdir -p {CERT_DIR} {KEY_DIR}")
    spy.self_sign()
    site.write("/etc/nginx/conf.d/bank.conf", server("443", spy))
    site.sh("systemctl reload nginx")
    text = inv("check-certs", "--host", site.host).stdout
    found = of(check_certs([site.host]).hosts[0], "bank")
    declared = of(check_certs([site.host], settings=Settings(services={"bank": {"host": site.host}})).hosts[0], "bank")
    dns.unpoint("bank")
    assert {"chain-untrusted", "dns-mismatch"} <= set(codes(found))
    said = [finding.remedy for finding in found.findings] + text.splitlines()
    assert not [line for line in said if "provision" in line or "mint" in line or "point bank" in line]
    assert f"if bank belongs on {site.host}, declare it there (meshfab.services)" in text
    remedies = {finding.code: finding.remedy for finding in declared.findings}
    assert remedies["chain-untrusted"] == f"inv provision --name bank --host {site.host}"
    assert remedies["dns-mismatch"] == f"point bank.internal at {layout.address(site.host)} in the mesh's DNS"


def test_the_operators_machine_does_not_dial_what_a_host_claims_to_be(site: Site) -> None:
    # The host says that its only addresses are a loopback, which is also the operator's, and a cloud's own.
    claimed = VhostPath("trap", site.host)
    claimed.mint()
    site.write("/etc/nginx/conf.d/trap.conf", server("443", claimed))
    site.sh("systemctl restart nginx")
    claimed.stub("hostname", 'case $* in -I) echo 127.0.0.1 169.254.169.254 ;; *) exec $real "$@" ;; esac')
    with socket.create_server(("127.0.0.1", 443)) as trap:
        trap.settimeout(0.5)
        try:
            found = of(check_certs([site.host]).hosts[0], "trap")
        finally:
            claimed.unstub()
        with pytest.raises(TimeoutError):
            trap.accept()
    # The host was asked to ask itself, and nothing answers there.
    assert found.served is False
    assert "169.254.169.254:443: no answer" in " ".join(finding.message for finding in found.findings)


# Replaces nginx by a program that prints 7 MiB of rubbish.
RUBBISH = r"""
cat >/usr/local/sbin/nginx <<'END'
#!/bin/sh
printf '# configuration file /etc/nginx/nginx.conf:\n'
head -c 7340032 /dev/zero | tr '\0' ';'
END
chmod 755 /usr/local/sbin/nginx
"""
# Files that look like the certificates of 400 services.
CLAIMS = """
mkdir -p /etc/nginx/tls/cert
cd /etc/nginx/tls/cert
for number in $(seq 400); do echo hello >n$number.internal.pem; done
"""
HEAL = "rm -f /usr/local/sbin/nginx /etc/nginx/tls/cert/n*.internal.pem"


@pytest.fixture
def sites(mesh: Mesh, inv: Inv) -> Iterator[tuple[Site, Site]]:
    """An honest host with a service, and another host."""
    mesh.reset("h2", "h3")
    honest, other = Site("h3"), Site("h2")
    assert_done(inv("provision", *honest.words))
    yield honest, other
    other.sh(HEAL)


@pytest.mark.parametrize(
    ("lie", "words"),
    [(RUBBISH, "nginx.conf has 7340"), (CLAIMS, "more than 200 services that are not declared")],
    ids=["an nginx that prints rubbish", "services without end"],
)
def test_a_host_that_lies_is_reported_in_one_line_and_another_is_fine(
    sites: tuple[Site, Site], inv: Inv, lie: str, words: str
) -> None:
    honest, other = sites
    other.sh(lie)
    done = inv("check-certs", "--host", honest.host, "--host", other.host, timeout=100)
    # Unknown, as monitoring plugins have it: the other host lacks nothing.
    assert done.returncode == 3, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if words in line]
    assert other.host in line
    assert honest.name in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert len(done.stdout.splitlines()) < 20


# Runs a command and prints the most memory that one of its processes had, in KiB.
PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def peak(*hosts: str) -> int:
    words = [word for host in hosts for word in ("--host", host)]
    inv = Path(sys.executable).with_name("inv")
    argv = [sys.executable, "-c", PEAK, str(inv), "check-certs", *words]
    return int(subprocess.run(argv, capture_output=True, text=True, timeout=100, check=True).stdout)


@pytest.mark.slow
@pytest.mark.parametrize("lie", [RUBBISH, CLAIMS], ids=["an nginx that prints rubbish", "services without end"])
def test_a_host_that_lies_does_not_double_the_memory_of_a_sweep(sites: tuple[Site, Site], lie: str) -> None:
    honest, other = sites
    before = peak(honest.host, other.host)
    other.sh(lie)
    assert peak(honest.host, other.host) < 2 * before
