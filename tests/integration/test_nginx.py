"""nginx on real hosts: wired, proved, rolled back and adopted, each failure with a look at every byte of /etc."""

from __future__ import annotations

import json
import resource
import shlex
import ssl
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.integration.conftest import Inv, Mesh

NAME = "gongfoo"
FQDN = f"{NAME}.internal"
CERT, KEY = f"/etc/nginx/tls/cert/{FQDN}.pem", f"/etc/nginx/tls/key/{FQDN}.pem"
ROOT = "/etc/pki/ca-trust/source/anchors/root-internal.pem"
VHOST = f"/etc/nginx/conf.d/{FQDN}.conf"
SNIPPET = f"/etc/nginx/snippets/{FQDN}.tls.conf"
THEIRS = f"""\
server {{
    listen 443 ssl;
    server_name {FQDN};
    ssl_certificate /etc/pki/tls/misc/h2.internal.pem;
    ssl_certificate_key /etc/pki/tls/private/h2.internal.pem;
    location / {{ return 200 "by hand"; }}
}}
"""


class Host:
    """The host of a test, with the service's name pointed at it."""

    def __init__(self, mesh: Mesh, inv: Inv, name: str) -> None:
        self.mesh, self.inv, self.name = mesh, inv, name

    def sh(self, command: str, *, text: str | None = None) -> str:
        return str(self.mesh.hosts.run(self.name, command, input=text).stdout)

    def write(self, path: str, text: str, mode: str = "0644") -> None:
        self.sh(f"install -D -m {mode} /dev/stdin {shlex.quote(path)}", text=text)

    def files(self) -> dict[str, str]:
        return dict(self.mesh.hosts.describe_files(self.name, ["/etc", "/usr/local"]))

    def do(self, step: str, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
        return self.inv(step, "--name", NAME, "--host", self.name, *options, env=env)

    def done(self, step: str, *options: str, **env: str) -> str:
        """What a step prints that must succeed."""
        run = self.do(step, *options, **env)
        assert run.returncode == 0, run.stdout + run.stderr
        return run.stdout

    def refused(self, step: str, *options: str, **env: str) -> str:
        """The one line of a step that must fail, and leave every file as it was and nginx serving as before."""
        leaf, runs = self.leaf(), self.is_running()
        line = self.failed(step, *options, **env)
        assert (self.leaf(), self.is_running()) == (leaf, runs)
        return line

    def failed(self, step: str, *options: str, **env: str) -> str:
        """The one line of a step that must fail, and leave every file as it was."""
        before = self.files()
        run = self.do(step, *options, **env)
        assert run.returncode == 1, run.stdout
        assert self.files() == before
        lines = run.stderr.splitlines()
        assert len(lines) == 1, run.stderr
        assert lines[0].startswith(f"{self.name}: ")
        self.said = run.stdout
        return lines[0]

    def leaf(self, name: str = FQDN) -> str:
        """The serial that a client gets at the mesh address; "" for none."""
        ask = f"openssl s_client -connect {self.mesh.hosts.address(self.name)}:443 -servername {name}"
        return self.sh(f"{ask} </dev/null 2>/dev/null | openssl x509 -noout -serial 2>/dev/null || :").strip()

    def on_disk(self) -> str:
        return self.sh(f"openssl x509 -noout -serial -in {CERT}").strip()

    def squat(self, port: int = 443, unit: str = "squat") -> None:
        """Have another program serve on a port, until `systemctl stop squat`."""
        pair = f"/etc/pki/tls/misc/{self.name}.internal.pem -key /etc/pki/tls/private/{self.name}.internal.pem"
        self.sh(f"systemd-run -q --unit={unit} openssl s_server -www -accept {port} -cert {pair}")
        self.sh(f"for i in $(seq 600); do ss -Hltn 'sport = :{port}' | grep -q . && exit; sleep 0.05; done; exit 1")

    def is_running(self) -> bool:
        return self.sh("systemctl is-active nginx || :").strip() == "active"

    def reloads(self) -> int:
        return int(self.sh("journalctl --sync; journalctl -u nginx -o cat | grep -c '^Reloaded' || :"))


@pytest.fixture
def host(clean_host: str, mesh: Mesh, inv: Inv) -> Iterator[Host]:
    mesh.dns.point(NAME, clean_host)
    yield Host(mesh, inv, clean_host)
    mesh.reset(clean_host)


@pytest.fixture
def minted(host: Host) -> Host:
    """The pair lies there, and nginx knows nothing of it: what a failed wiring must leave is exactly this."""
    host.done("mint")
    return host


LAYOUTS = {
    "h1": (f"/etc/nginx/sites-available/{FQDN}.conf", f"/etc/nginx/sites-enabled/{FQDN}.conf"),
    "h2": (VHOST, ""),
}


@pytest.mark.parametrize("clean_host", LAYOUTS, indirect=True)
def test_each_layout_gets_its_vhost_by_one_reload_and_a_second_run_touches_nothing(host: Host) -> None:
    before = host.reloads()
    said = host.done("provision")
    path, link = LAYOUTS[host.name]
    assert f"{path} written, nginx reloaded" in said
    assert "(asked from here)" in said
    assert host.sh(f"readlink {link}").strip() == path if link else not host.sh("ls /etc/nginx | grep sites || :")
    assert host.reloads() == before + 1
    assert host.leaf() == host.on_disk()
    files = host.files()
    again = host.do("provision", PYTHONPROFILEIMPORTTIME="1")
    assert "nothing changed" in again.stdout
    assert (host.files(), host.reloads()) == (files, before + 1)
    # What only a change needs costs a run that changes nothing no time.
    assert "meshfab.nginx.vhost" in again.stderr
    assert "crossplane" not in again.stderr


def test_what_clients_verify_they_get(minted: Host, mesh: Mesh) -> None:
    minted.done("wire-nginx")
    curl = subprocess.run(
        ["curl", "-sS", "--cacert", mesh.root, "-w", "%{http_version} %{ssl_verify_result}", f"https://{FQDN}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert curl.stdout == f"{FQDN} is served by meshfab\n2 0"
    ask = ["openssl", "s_client", "-connect", f"{FQDN}:443", "-servername", FQDN, "-CAfile", str(mesh.root)]
    verified = subprocess.run(
        [*ask, "-verify_return_error", "-verify_hostname", FQDN],
        input="",
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Verify return code: 0 (ok)" in verified.stdout
    import socket

    context = ssl.create_default_context(cafile=str(mesh.root))
    with socket.create_connection((FQDN, 443), 5) as raw, context.wrap_socket(raw, server_hostname=FQDN) as tls:
        assert tls.version() == "TLSv1.3"


@pytest.mark.slow
def test_nginx_orgs_reload_that_is_green_whatever_happens_is_not_believed(minted: Host) -> None:
    minted.write(
        "/etc/systemd/system/nginx.service.d/org.conf",
        "[Service]\nExecReload=\nExecReload=/bin/sh -c '/bin/kill -s HUP $(/bin/cat /run/nginx.pid)'\n",
    )
    minted.sh("systemctl daemon-reload")
    minted.squat()
    error = minted.refused("wire-nginx")
    assert "did not use the new configuration: bind() to " in error
    assert ":443 failed (98: Address already in use)" in error
    assert "by openssl -> stop openssl there; what was there before is back" in error
    minted.sh("systemctl stop squat")
    assert "nginx reloaded" in minted.done("wire-nginx")
    assert minted.leaf() == minted.on_disk()


def test_a_folder_of_ones_own_must_be_included_by_the_configuration(minted: Host) -> None:
    env = {"INVOKE_MESHFAB_CONF_DIR": "/srv/vhosts"}
    error = minted.refused("wire-nginx", **env)
    assert f"includes nothing at /srv/vhosts/{FQDN}.conf" in error
    assert "include /srv/vhosts/*.conf;" in error
    minted.sh("sed -i 's|include /etc/nginx/conf.d|include /srv/vhosts/*.conf; &|' /etc/nginx/nginx.conf")
    assert f"/srv/vhosts/{FQDN}.conf written" in minted.done("wire-nginx", **env)
    assert "nothing changed" in minted.done("wire-nginx", **env)


def test_a_full_disk_leaves_the_vhost_that_was_there(minted: Host) -> None:
    minted.done("wire-nginx")
    minted.mesh.faults.fill(minted.name, "/etc/nginx/conf.d")
    error = minted.refused("wire-nginx", "--upstream", "http://127.0.0.1:1")
    assert "No space left on device" in error
    minted.mesh.faults.free(minted.name, "/etc/nginx/conf.d")
    assert "nginx reloaded" in minted.done("wire-nginx", "--upstream", "http://127.0.0.1:1")


def test_a_broken_configuration_is_quoted_and_neither_changed_nor_reloaded(host: Host) -> None:
    host.write("/etc/nginx/conf.d/shop.conf", "server {\n    listen 80;\n    server_nam shop;\n}\n")
    before = host.reloads()
    error = host.refused("provision")
    assert 'broken before this run: unknown directive "server_nam" in /etc/nginx/conf.d/shop.conf:3' in error
    assert host.reloads() == before


def test_a_vhost_of_theirs_is_never_edited_but_told_what_to_change(minted: Host) -> None:
    shop = "/etc/nginx/conf.d/shop.conf"
    minted.write(shop, THEIRS)
    minted.sh("systemctl reload nginx")
    error = minted.refused("wire-nginx")
    assert f"{shop}:1 serves {FQDN} with /etc/pki/tls/misc/h2.internal.pem" in error
    assert f"the pair belongs at {shop}:4 and {shop}:5 -> put `ssl_certificate {CERT};`" in error
    said = minted.done("wire-nginx", "--no-vhost")
    assert f"{SNIPPET} written" in said
    assert f"put `include {SNIPPET};` in the place of {shop}:4 and {shop}:5" in said
    # As told, to the letter.
    minted.sh(f"sed -i -e '4s|.*|include {SNIPPET};|' -e 5d {shop}")
    said = minted.done("wire-nginx")
    assert "nginx reloaded" in said
    assert f"the vhost at {shop}:1 is yours: adopted unchanged" in said
    assert minted.leaf() == minted.on_disk()
    assert "nothing changed" in minted.done("wire-nginx", "--no-vhost")
    assert minted.sh(f"cat {shop}") == THEIRS.replace(
        THEIRS[THEIRS.index("ssl_certificate ") : THEIRS.index("    location")], f"include {SNIPPET};\n"
    ).replace("    include", "include")


def test_a_vhost_of_ours_that_was_edited_is_shown_and_only_forced(minted: Host) -> None:
    minted.done("wire-nginx")
    minted.sh(f"sed -i 's/is served by meshfab/is mine/' {VHOST}; systemctl reload nginx")
    said = minted.done("wire-nginx")
    assert "edited by hand" in said
    assert "nothing changed" in said
    error = minted.refused("wire-nginx", "--upstream", "http://127.0.0.1:8080")
    assert "--force" in error
    assert '-        return 200 "gongfoo.internal is mine\\n";' in minted.said
    assert "+        proxy_pass http://127.0.0.1:8080;" in minted.said
    minted.done("wire-nginx", "--upstream", "http://127.0.0.1:8080", "--force")
    assert "proxy_pass http://127.0.0.1:8080;" in minted.sh(f"cat {VHOST}")
    assert "nothing changed" in minted.done("wire-nginx")


def test_a_name_that_another_server_has_is_not_taken_and_not_lost(minted: Host) -> None:
    shop = THEIRS.replace(FQDN, "shop.internal")
    minted.write("/etc/nginx/conf.d/shop.conf", shop)
    minted.sh("systemctl reload nginx")
    error = minted.refused("wire-nginx", "--san", "shop.internal")
    assert "shop.internal is served by /etc/nginx/conf.d/shop.conf:1 already" in error
    # Where the name cannot be read from the block itself, nginx's own warning tells, which fails no `nginx -t`.
    minted.write("/etc/nginx/conf.d/a.conf", THEIRS.replace(f"server_name {FQDN};", "include /etc/nginx/*.name;"))
    minted.write("/etc/nginx/one.name", f"server_name {FQDN};\n")
    minted.sh("systemctl reload nginx")
    error = minted.refused("wire-nginx")
    assert f'conflicting server name "{FQDN}" on 0.0.0.0:443, ignored' in error


def test_a_template_of_ones_own_is_used_and_taken_back_when_nginx_refuses_it(minted: Host, tmp_path: Path) -> None:
    env = {"INVOKE_MESHFAB_SNIPPETS": str(tmp_path)}
    own = tmp_path / "vhost.conf.j2"
    head = "server { server_name {{ names | join(' ') }}; {{ tls }} return 200 mine; listen 443 ssl"
    own.write_text(f"{head} default_server; }}")
    minted.write("/etc/nginx/conf.d/shop.conf", THEIRS.replace(FQDN, "x").replace("443 ssl", "443 ssl default_server"))
    minted.sh("systemctl reload nginx")
    error = minted.refused("wire-nginx", **env)
    assert "a duplicate default server for 0.0.0.0:443" in error
    own.write_text(f"{head}; {{{{ nonsense }}}} }}")
    run = minted.do("wire-nginx", **env)
    assert "'nonsense' is undefined" in run.stderr
    own.write_text(f"{head}; }}")
    minted.done("wire-nginx", **env)
    assert "nothing changed" in minted.done("wire-nginx", **env)
    assert "return 200 mine;" in minted.sh(f"cat {VHOST}")
    # A new text that nginx refuses leaves the old one of ours, not none.
    own.write_text(f"{head} default_server; }}")
    assert "duplicate default server" in minted.refused("wire-nginx", **env)


@pytest.mark.slow
def test_a_stopped_nginx_is_started_only_when_asked_and_runs_with_the_old_files_if_it_fails(minted: Host) -> None:
    minted.sh("systemctl stop nginx")
    assert "nginx is not running -> give --start" in minted.refused("wire-nginx")
    minted.squat()
    error = minted.failed("wire-nginx", "--start")
    assert "systemd could not load nginx" in error
    assert error.endswith("what was there before is back in place, and nginx runs with it")
    assert minted.is_running()
    # Where it cannot run with these either, that is said.
    minted.sh("systemctl stop nginx")
    minted.squat(80, "squat80")
    error = minted.refused("wire-nginx", "--start")
    assert error.endswith("back in place, and nginx is stopped: it does not start with it")
    minted.sh("systemctl stop squat squat80; systemctl reset-failed nginx")
    assert "nginx started" in minted.done("wire-nginx", "--start")
    assert minted.leaf() == minted.on_disk()
    minted.sh("systemctl mask nginx")
    error = minted.refused("wire-nginx", "--upstream", "http://127.0.0.1:1")
    assert "masked" in error
    assert "systemctl unmask nginx" in error


@pytest.mark.slow
def test_it_listens_on_the_address_that_is_asked_for_and_on_no_other(minted: Host) -> None:
    address = minted.mesh.hosts.address(minted.name)
    assert "no address of the host is in 192.0.2.0/24" in minted.refused("wire-nginx", "--listen", "192.0.2.0/24")
    error = minted.refused("wire-nginx", "--listen", "192.0.2.7")
    assert "bind() to 192.0.2.7:443 failed (99: Cannot assign requested address)" in error
    minted.done("wire-nginx", "--listen", "10.87.0.0/16")
    listening = minted.sh("ss -Hltn 'sport = :443' | awk '{ print $4 }'").split()
    assert listening == [f"{address}:443"]
    assert "nothing changed" in minted.done("wire-nginx")
    # nginx would only find out when it is reloaded, after ten seconds; this is refused without a reload.
    reloads = minted.reloads()
    error = minted.refused("wire-nginx", "--listen", "all")
    assert "a running nginx cannot change between all addresses and single ones" in error
    assert minted.reloads() == reloads
    minted.sh("systemctl stop nginx")
    assert "nginx started" in minted.done("wire-nginx", "--listen", "all", "--start")
    reloads = minted.reloads()
    error = minted.refused("wire-nginx", "--listen", address, "--force")
    assert "a running nginx cannot change between all addresses and single ones" in error
    assert minted.reloads() == reloads
    # And back, where a neighbour would be robbed of its connections.
    minted.write("/etc/nginx/conf.d/shop.conf", THEIRS.replace(FQDN, "shop.internal"))
    minted.sh("systemctl reload nginx")
    error = minted.refused("wire-nginx", "--listen", address)
    assert "would take the connections there from /etc/nginx/conf.d/shop.conf:2" in error


@pytest.mark.slow
def test_a_start_that_clients_do_not_see_is_undone_and_nginx_runs_as_before(minted: Host) -> None:
    address = minted.mesh.hosts.address(minted.name)
    shop = THEIRS.replace(FQDN, "shop.internal").replace("listen 443", f"listen {address}:443")
    minted.write("/etc/nginx/conf.d/shop.conf", shop)
    minted.sh("systemctl restart nginx")
    neighbour = minted.leaf("shop.internal")
    error = minted.refused("wire-nginx")
    assert "a running nginx cannot change between all addresses and single ones" in error
    # The advice, followed to the letter: here a server of the host has an address of its own, which wins.
    minted.sh("systemctl stop nginx")
    error = minted.failed("wire-nginx", "--start")
    assert "another certificate from /etc/nginx/conf.d/shop.conf:2, which listens on just that address" in error
    assert "what was there before is back, and nginx runs with it" in error
    assert minted.is_running()
    assert minted.leaf("shop.internal") == neighbour
    assert f"-> give --listen {address} to do so too" in error
    assert "nginx reloaded" in minted.done("wire-nginx", "--listen", address)
    assert minted.leaf() == minted.on_disk()
    assert minted.leaf("shop.internal") == neighbour


@pytest.mark.slow
def test_a_port_of_another_program_in_a_vhost_of_theirs_is_named(minted: Host) -> None:
    # Nobody has reloaded nginx since it was written; `nginx -t` accepts it.
    minted.write("/etc/nginx/conf.d/a.conf", "server {\n    listen 22;\n    server_name a;\n}\n")
    error = minted.refused("wire-nginx")
    assert "bind() to 0.0.0.0:22 failed (98: Address already in use), by sshd" in error
    assert "-> stop sshd there, or take the `listen` at /etc/nginx/conf.d/a.conf:2 out; what was" in error
    minted.sh("rm /etc/nginx/conf.d/a.conf")
    assert "nginx reloaded" in minted.done("wire-nginx")


STREAM = """\
stream {
    map $ssl_preread_server_name $backend {
        default 127.0.0.1:9443;
    }
    server {
        listen 443;
        listen [::]:443;
        ssl_preread on;
        proxy_pass $backend;
    }
}
"""


def test_a_stream_block_on_443_is_found_and_the_advice_for_it_works(minted: Host) -> None:
    main, shop = "/etc/nginx/nginx.conf", "/etc/nginx/conf.d/shop.conf"
    minted.write(shop, THEIRS.replace(FQDN, "shop.internal").replace("listen 443", "listen 127.0.0.1:9443"))
    minted.sh(f"sed -i '1i load_module /usr/lib/nginx/modules/ngx_stream_module.so;' {main}; cat >>{main}", text=STREAM)
    minted.sh("systemctl restart nginx")
    neighbour, reloads = minted.leaf("shop.internal"), minted.reloads()
    assert neighbour
    line = minted.sh(f"grep -n 'listen 443;' {main}").partition(":")[0]
    error = minted.refused("wire-nginx")
    assert f"{main}:{line}, in nginx's stream block, listens on port 443" in error
    minted.sh("systemctl stop nginx")
    assert f"{main}:{line}, in nginx's stream block" in minted.refused("wire-nginx", "--start")
    minted.sh("systemctl start nginx")
    assert minted.leaf("shop.internal") == neighbour
    assert minted.reloads() == reloads
    # The advice, followed to the letter.
    assert f"and pass {FQDN} to that address in the stream block" in error
    assert f"include {SNIPPET};" in minted.done("wire-nginx", "--no-vhost")
    own = f"server {{\n    listen 127.0.0.1:8443 ssl;\n    server_name {FQDN};\n    include {SNIPPET};\n}}\n"
    minted.write("/etc/nginx/conf.d/own.conf", own)
    minted.sh(f"sed -i 's/^        default 127/        {FQDN} 127.0.0.1:8443;\\n&/' {main}; systemctl reload nginx")
    said = minted.done("wire-nginx")
    assert "the vhost at /etc/nginx/conf.d/own.conf:1 is yours: adopted unchanged" in said
    assert ":443 is the leaf on disk" in said
    assert minted.leaf() == minted.on_disk()
    assert minted.leaf("shop.internal") == neighbour


def test_a_declared_vhost_of_the_operator_is_a_warning_until_they_have_written_it(minted: Host, tmp_path: Path) -> None:
    settings = tmp_path / "meshfab.yaml"
    settings.write_text(f"meshfab: {{services: {{{NAME}: {{host: {minted.name}, vhost: false}}}}}}\n")

    def findings() -> list[tuple[str, str, str]]:
        done = minted.inv("-f", str(settings), "check-certs", "--format", "json")
        (host,) = json.loads(done.stdout)["hosts"]
        (service,) = [row for row in host["certificates"] if row["name"] == NAME]
        return [(row["code"], row["status"], row["remedy"]) for row in service["findings"]]

    done = minted.inv("-f", str(settings), "apply")
    assert done.returncode == 0, done.stdout + done.stderr
    ((code, status, remedy),) = findings()
    assert (code, status) == ("not-served", "warning")
    assert f"include {SNIPPET};" in remedy
    own = f"server {{\n    listen 443 ssl;\n    server_name {FQDN};\n    include {SNIPPET};\n}}\n"
    minted.write("/etc/nginx/conf.d/own.conf", own)
    minted.sh("systemctl reload nginx")
    assert findings() == []


def test_labels_are_restored_where_selinux_is_on(host: Host) -> None:
    host.write("/usr/local/sbin/restorecon", '#!/bin/sh\nfor word; do echo "$word"; done >>/run/labels\n', "0755")
    host.sh("rm -f /run/labels")
    host.done("provision")
    labelled = host.sh("cat /run/labels").split()
    assert {CERT, KEY, VHOST, "/etc/systemd/system/step@.service"} <= set(labelled)
    host.sh(f"rm {VHOST}; systemctl reload nginx; : >/run/labels")
    host.done("wire-nginx", "--no-vhost")
    assert host.sh("grep ^/ /run/labels").split() == ["/etc/nginx/snippets", SNIPPET]


@pytest.fixture
def walled(mesh: Mesh) -> Iterator[Callable[[str], Callable[[], int]]]:
    """Drop what the operator sends to a host's port 443, as a firewall before the mesh does."""

    def attempts() -> int:
        """How many connections were tried: each is from a port of its own, however often its packet is sent."""
        listed = subprocess.run(["nft", "-j", "list", "set", "inet", "wall", "tried"], capture_output=True, check=True)
        return len(json.loads(listed.stdout)["nftables"][1]["set"].get("elem", ()))

    def wall(host: str) -> Callable[[], int]:
        rules = f"""\
            add table inet wall
            add set inet wall tried {{ type inet_service; flags dynamic; size 1000; }}
            add chain inet wall out {{ type filter hook output priority 0; }}
            add rule inet wall out ip daddr {mesh.hosts.address(host)} tcp dport 443 add @tried {{ tcp sport }} drop
            """
        subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
        return attempts

    yield wall
    subprocess.run(["nft", "delete", "table", "inet", "wall"], capture_output=True, check=False)


def test_an_operator_who_is_not_on_the_mesh_has_the_host_ask_and_is_told_so(
    minted: Host, walled: Callable[[str], Callable[[], int]]
) -> None:
    attempts = walled(minted.name)
    said = minted.done("wire-nginx")
    assert f"(asked from {minted.name}, not from here)" in said
    # Each takes its five seconds.
    assert attempts() == 1
    assert "nothing changed" in minted.done("wire-nginx")
    assert attempts() == 2


@pytest.mark.slow
def test_the_hundredth_service_takes_no_more_work_than_the_first_and_reloads_once(host: Host) -> None:
    def provision(*options: str) -> tuple[str, int, float]:
        """What it says, how many processes the host starts for it, and the operator's CPU time."""
        # Process IDs are counted up within a host, and begin again at the end.
        limit, before = map(int, host.sh("cat /proc/sys/kernel/pid_max; echo $$").split())
        cpu = resource.getrusage(resource.RUSAGE_CHILDREN)
        said = host.done("provision", *options)
        now = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = (int(host.sh("echo $$")) - before) % limit
        return said, started, now.ru_utime + now.ru_stime - cpu.ru_utime - cpu.ru_stime

    _, first, first_cpu = provision("--upstream", "http://127.0.0.1:1")
    host.sh(
        f"cd /etc/nginx; for i in $(seq 99); do cp {CERT} tls/cert/s$i.internal.pem; cp {KEY} tls/key/s$i.internal.pem;"
        f" sed 's/gongfoo/s'$i/ {VHOST} >conf.d/s$i.internal.conf; done; rm {VHOST} {CERT} {KEY};"
        " systemctl restart nginx"
    )
    before = host.reloads()
    _, _, hundredth_cpu = provision()
    assert host.reloads() == before + 1
    said, unchanged, unchanged_cpu = provision()
    assert "nothing changed" in said
    # Fewer than for the first: there is none for each of the others. The number for the hundredth says nothing, because
    # the host asks again and again until nginx has reloaded, which takes longer with a hundred certificates.
    assert unchanged < first
    assert max(hundredth_cpu, unchanged_cpu) < 2 * first_cpu + 1
