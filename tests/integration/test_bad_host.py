"""Hosts and CAs that are not as they should be: one line each that says what to do, and nothing changed."""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from lab import layout
from lab.services import ca
from tests.integration.on_host import Site, assert_done, assert_refused, curl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.integration.conftest import Inv, Mesh

pytestmark = pytest.mark.lab

ROOT = str(layout.ROOT_ON_HOST)


@pytest.fixture
def site(clean_host: str) -> Site:
    return Site(clean_host)


@contextmanager
def without(site: Site, command: str) -> Iterator[None]:
    """A command that the host's packages brought is not there."""
    path = site.sh(f"command -v {command}")
    site.sh(f"mv {path} {path}.aside")
    try:
        yield
    finally:
        site.sh(f"mv {path}.aside {path}")


@contextmanager
def stopped_ca(_site: Site) -> Iterator[None]:
    ca.stop()
    try:
        yield
    finally:
        ca.start()


def lacking(command: str) -> Callable[[Site], AbstractContextManager[None]]:
    return lambda site: without(site, command)


def spoilt(command: str) -> Callable[[Site], AbstractContextManager[None]]:
    @contextmanager
    def spoil(site: Site) -> Iterator[None]:
        site.sh(command)
        yield

    return spoil


def read_only(folder: str) -> Callable[[Site], AbstractContextManager[None]]:
    @contextmanager
    def mount(site: Site) -> Iterator[None]:
        site.sh(f"mount --bind {folder} {folder} && mount -o remount,ro,bind {folder}")
        try:
            yield
        finally:
            site.sh(f"umount {folder}")

    return mount


@dataclass(frozen=True)
class Case:
    """What is wrong, and the words that the line must have."""

    wrong: Callable[[Site], AbstractContextManager[None]]
    words: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)


def nothing(_site: Site) -> AbstractContextManager[None]:
    return spoilt(":")(_site)


CASES = {
    "no step": Case(lacking("step"), ("step",)),
    "no nginx": Case(lacking("nginx"), ("nginx",)),
    "no sudo": Case(lacking("sudo"), ("sudo",)),
    "no setfacl": Case(lacking("setfacl"), ("setfacl", "acl")),
    "no openssl": Case(lacking("openssl"), ("openssl",)),
    "no ss": Case(lacking("ss"), ("ss is not installed", "iproute2")),
    "no pgrep": Case(lacking("pgrep"), ("pgrep is not installed", "procps")),
    "read-only /usr": Case(read_only("/usr/local"), ("/usr/local/libexec cannot be written",)),
    "read-only /etc": Case(read_only("/etc/systemd"), ("/etc/systemd/system cannot be written",)),
    "sudo with a password": Case(spoilt("echo 'ops ALL=(ALL) ALL' >/etc/sudoers.d/ops"), ("sudo", "password")),
    "no sudo for the login": Case(spoilt("rm /etc/sudoers.d/ops"), ("sudo",)),
    "sudo for one command only": Case(
        spoilt("echo 'ops ALL=(ALL) NOPASSWD: /usr/bin/id' >/etc/sudoers.d/ops"), ("sudo",)
    ),
    "no root file": Case(spoilt(f"rm {ROOT}"), (ROOT, "meshfab.root")),
    "empty root file": Case(spoilt(f": >{ROOT}"), (ROOT, "meshfab.root")),
    "root file that is none": Case(spoilt(f"echo hello >{ROOT}"), (ROOT,)),
    "root of another CA": Case(
        spoilt(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null -subj /CN=x"
            f" -out {ROOT} 2>/dev/null"
        ),
        (ROOT,),
    ),
    "CA down": Case(stopped_ca, ("CA", layout.CA_URL)),
    "CA of an unknown name": Case(nothing, ("no-ca.internal",), {"CA_URL": "https://no-ca.internal"}),
    "unknown provisioner": Case(nothing, ("provisioner", "nobody"), {"PROVISIONER": "nobody"}),
    "nginx's user unknown": Case(nothing, ("nobody-at-all", "nginx_user"), {"NGINX_USER": "nobody-at-all"}),
    "nginx broken before": Case(
        spoilt("echo 'sever { }' >/etc/nginx/conf.d/shop.conf"), ("sever", "/etc/nginx/conf.d/shop.conf:1")
    ),
    "nginx stopped": Case(spoilt("systemctl stop nginx"), ("not running", "systemctl start nginx")),
    "login shell that is none": Case(spoilt("usermod -s /usr/sbin/nologin ops"), ("h2",)),
    "no room for the password": Case(spoilt("mount -t tmpfs -o ro none /tmp"), ("/tmp",)),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_host_or_ca_that_is_not_ready_is_told_in_one_line_and_left_as_it_was(
    site: Site, inv: Inv, case: Case
) -> None:
    env = {f"INVOKE_MESHFAB_{key}": value for key, value in case.env.items()}
    with case.wrong(site):
        before = site.look()
        try:
            assert_refused(inv("provision", *site.words, env=env), site.host, *case.words)
            after = site.look()
        finally:
            site.sh("while mountpoint -q /tmp; do umount /tmp || break; done")
    assert after == before
    assert site.leftovers() == ""
    assert site.served() == ""


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lacking("ss"), "ss is not installed"),
        (lacking("cmp"), "cmp is not installed"),
        (read_only("/usr/local"), "/usr/local/libexec"),
    ],
    ids=["no ss", "no cmp", "read-only /usr"],
)
def test_doctor_sees_what_a_tick_or_an_installation_needs(
    site: Site, inv: Inv, wrong: Callable[[Site], AbstractContextManager[None]], words: str
) -> None:
    assert inv("doctor", "--host", site.host).returncode < 2
    with wrong(site):
        done = inv("doctor", "--host", site.host)
    assert done.returncode == 2
    assert [line for line in done.stdout.splitlines() if line.startswith("  critical") and words in line]


def test_a_wrong_password_is_told_with_its_file_and_not_shown(site: Site, inv: Inv, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.touch(0o600)
    file.write_text("not-the-password\n")
    before = site.look()
    done = inv("provision", *site.words, env={"INVOKE_MESHFAB_PROVISIONER_PASSWORD": str(file)})
    assert_refused(done, "h2", "password", str(file))
    assert "not-the-password" not in done.stdout + done.stderr
    assert site.look() == before
    assert site.leftovers() == ""


class TestConnection:
    """Hosts that cannot be reached, or must not be."""

    @pytest.fixture
    def ssh(self, mesh: Mesh, tmp_path: Path) -> Callable[[str], str]:
        """An Invoke configuration with these lines before the operator's own SSH configuration."""

        def configured(lines: str) -> str:
            own = (mesh.lab.home / ".ssh" / "config").read_text()
            (tmp_path / "ssh.conf").write_text(f"{lines}\n{own}")
            (tmp_path / "invoke.yaml").write_text(f"meshfab:\n  ssh_config: {tmp_path}/ssh.conf\n")
            return str(tmp_path / "invoke.yaml")

        return configured

    def test_an_unknown_name(self, inv: Inv) -> None:
        done = inv("provision", "--name", "gongfoo", "--host", "nowhere.internal")
        assert_refused(done, "nowhere.internal", "DNS")

    def test_a_host_that_is_down(self, inv: Inv) -> None:
        assert_refused(inv("provision", "--name", "gongfoo", "--host", "10.87.0.250"), "10.87.0.250")

    def test_a_host_that_is_silent(self, inv: Inv, mesh: Mesh, ssh: Callable[[str], str]) -> None:
        mesh.faults.cut("h2")
        try:
            configured = ssh("Host h2\n  ConnectTimeout 1\n")
            done = inv("-f", configured, "provision", "--name", "gongfoo", "--host", "h2")
        finally:
            mesh.faults.restore("h2")
        assert_refused(done, "h2", "does not answer within 1 s")

    def test_a_port_where_nothing_listens(self, inv: Inv) -> None:
        assert_refused(inv("provision", "--name", "gongfoo", "--host", "h2:2222"), "h2", "2222")

    def test_a_port_where_something_else_listens(self, inv: Inv, mesh: Mesh, ssh: Callable[[str], str]) -> None:
        address = mesh.hosts.address("h2")
        configured = ssh(f"Host web\n  HostName {address}\n  Port 80\n")
        mesh.hosts.run("h2", "systemctl start nginx")
        assert_refused(inv("-f", configured, "provision", "--name", "gongfoo", "--host", "web"), "web")

    def test_a_login_whose_key_is_refused(self, inv: Inv, site: Site) -> None:
        site.sh("rm /home/ops/.ssh/authorized_keys")
        assert_refused(inv("provision", *site.words), "h2", "refused", "ops")

    def test_a_host_whose_key_is_unknown(self, inv: Inv, site: Site, ssh: Callable[[str], str], tmp_path: Path) -> None:
        (tmp_path / "known").write_text("")
        commands, logins = site.commands(), site.logins()
        configured = ssh(f"Host *\n  UserKnownHostsFile {tmp_path}/known\n")
        assert_refused(inv("-f", configured, "provision", *site.words), "h2", "unknown", "ssh-keyscan")
        assert (site.commands(), site.logins()) == (commands, logins)
        assert (tmp_path / "known").read_text() == ""

    def test_a_host_whose_key_has_changed(
        self, inv: Inv, site: Site, mesh: Mesh, ssh: Callable[[str], str], tmp_path: Path
    ) -> None:
        kind, key = mesh.hosts.run("h1", "cat /etc/ssh/ssh_host_ed25519_key.pub").stdout.split()[:2]
        (tmp_path / "known").write_text(f"h2.internal {kind} {key}\n")
        commands, logins = site.commands(), site.logins()
        configured = ssh(f"Host *\n  UserKnownHostsFile {tmp_path}/known\n")
        assert_refused(inv("-f", configured, "provision", *site.words), "h2", f"{tmp_path}/known:1", "ssh-keygen -R")
        assert (site.commands(), site.logins()) == (commands, logins)

    def test_a_host_that_is_on_record_by_its_other_key_only(
        self, inv: Inv, site: Site, mesh: Mesh, ssh: Callable[[str], str], tmp_path: Path
    ) -> None:
        kind, key = mesh.hosts.run("h2", "cat /etc/ssh/ssh_host_ecdsa_key.pub").stdout.split()[:2]
        (tmp_path / "known").write_text(f"h2.internal {kind} {key}\n")
        configured = ssh(f"Host *\n  UserKnownHostsFile {tmp_path}/known\n")
        assert_done(inv("-f", configured, "provision", *site.words, "--dry-run"))

    def test_a_jump_host_whose_key_is_unknown(
        self, inv: Inv, site: Site, mesh: Mesh, ssh: Callable[[str], str], tmp_path: Path
    ) -> None:
        kind, key = mesh.hosts.run("h2", "cat /etc/ssh/ssh_host_ed25519_key.pub").stdout.split()[:2]
        (tmp_path / "known").write_text(f"h2.internal {kind} {key}\n")
        lines = f"Host h2\n  ProxyJump h1\nHost *\n  UserKnownHostsFile {tmp_path}/known\n"
        assert_refused(inv("-f", ssh(lines), "provision", *site.words), "h1", "unknown")

    def test_through_a_jump_host_it_is_provisioned_all_the_same(
        self, inv: Inv, site: Site, ssh: Callable[[str], str]
    ) -> None:
        assert_done(inv("-f", ssh("Host h2\n  ProxyJump h1\n"), "provision", *site.words))
        assert site.served() == site.serial()


class TestWiring:
    """nginx that does not take the vhost."""

    def test_a_vhost_that_nginx_refuses_is_gone_again(self, site: Site, inv: Inv) -> None:
        vhosts = site.sh("find /etc/nginx -name '*.conf' | sort")
        done = inv("provision", *site.words, "--upstream", "http://nowhere.internal:8080")
        assert_refused(done, "h2", "nowhere.internal")
        assert site.sh("find /etc/nginx -name '*.conf' | sort") == vhosts
        assert site.sh("nginx -t 2>&1 | grep -c emerg", check=False) == "0"
        assert site.leftovers() == ""
        assert_done(inv("provision", *site.words))
        assert site.served() == site.serial()

    @pytest.mark.parametrize("clean_host", ["h1"], indirect=True)
    def test_on_debian_its_link_is_gone_too(self, site: Site, inv: Inv) -> None:
        before = site.sh("ls /etc/nginx/sites-available /etc/nginx/sites-enabled")
        assert_refused(inv("provision", *site.words, "--upstream", "http://nowhere.internal:1"), "h1")
        assert site.sh("ls /etc/nginx/sites-available /etc/nginx/sites-enabled") == before

    def test_a_folder_that_nginx_does_not_read_is_found_out_and_taken_back(self, site: Site, inv: Inv) -> None:
        env = {"INVOKE_MESHFAB_CONF_DIR": "/etc/nginx/mesh.d"}
        assert_refused(inv("provision", *site.words, env=env), "h2", site.fqdn)
        assert site.sh("find /etc/nginx/mesh.d -type f 2>/dev/null", check=False) == ""
        assert site.leftovers() == ""

    def test_a_listen_that_cannot_bind_is_found_out_and_taken_back(self, site: Site, inv: Inv) -> None:
        # nginx -t and the reload are both green: only the wire tells.
        other = Site(site.host)
        site.sh("systemd-run --quiet --unit=squatter systemd-socket-activate --accept --inetd -l 443 /bin/true")
        site.sh("for i in $(seq 600); do ss -Hltn 'sport = 443' | grep -q . && exit 0; sleep 0.05; done; exit 1")
        done = inv("provision", *other.words)
        assert_refused(done, "h2", "443")
        assert site.sh(f"ls {other.vhost} 2>/dev/null", check=False) == ""
        assert site.leftovers() == ""
        site.sh("systemctl stop squatter")
        assert_done(inv("provision", *other.words))
        assert other.fqdn in curl(other)

    def test_nginx_that_stops_meanwhile_is_said_and_not_started(self, site: Site, inv: Inv) -> None:
        assert_done(inv("provision", *site.words))
        site.sh("systemctl stop nginx")
        assert_refused(inv("provision", *site.words), "h2", "not running")
        assert site.sh("systemctl is-active nginx", check=False) == "inactive"
