"""The main job on real hosts: from nothing to a certificate that is served, trusted and renews itself."""

from __future__ import annotations

import http.server
import threading
from typing import TYPE_CHECKING

import pytest

from lab import layout
from tests.integration.on_host import Site, assert_done, assert_refused, curl, get_json
from tests.integration.service_on_host import CERT_DIR, KEY_DIR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Inv, Mesh

pytestmark = pytest.mark.lab

BOTH = pytest.mark.parametrize("clean_host", ["h1", "h2"], indirect=True, ids=["debian", "fedora"])


@pytest.fixture(scope="module", params=["h1", "h2"], ids=["debian", "fedora"])
def done(request: pytest.FixtureRequest, mesh: Mesh, inv: Inv) -> tuple[Site, str]:
    """A service that was provisioned on a fresh host, and what the operator was told."""
    mesh.reset(request.param)
    site = Site(request.param)
    return site, assert_done(inv("provision", *site.words))


@pytest.fixture
def site(clean_host: str) -> Site:
    return Site(clean_host)


class TestFirstRun:
    """Every row of the table of paths, and the proof."""

    def test_it_says_each_step_with_its_reason_and_the_proof(self, done: tuple[Site, str]) -> None:
        site, said = done
        verbs = [line.split()[0] for line in said.splitlines()]
        assert verbs == ["mint", "units", "timer", "vhost", "served", site.host]
        assert "asked from here" in said
        assert "4 changes" in said.splitlines()[-1]

    def test_the_pair_has_the_conventions_owners_and_modes(self, done: tuple[Site, str]) -> None:
        site, _ = done
        shown = site.sh(f"stat -c '%U:%G %a' {site.cert} {site.key} {CERT_DIR} {KEY_DIR}").splitlines()
        assert shown == ["root:root 644", "root:root 640", "root:root 755", "root:root 755"]
        assert site.sh(f"getfacl -cpE {site.key}").splitlines() == [
            "user::rw-",
            f"user:{site.nginx_user}:r--",
            "group::r--",
            "mask::r--",
            "other::---",
        ]

    def test_nginxs_user_can_really_read_the_key_and_others_cannot(self, done: tuple[Site, str]) -> None:
        site, _ = done
        reads = f"-- head -c 5 {site.key} 2>/dev/null"
        assert site.sh(f"runuser -u {site.nginx_user} {reads}") == "-----"
        for other in ("nobody", "ops"):
            assert site.sh(f"runuser -u {other} {reads}", check=False) == ""
        assert site.sh(f"runuser -u nobody -- head -c 5 {site.cert}") == "-----"

    def test_the_timer_is_enabled_and_runs(self, done: tuple[Site, str]) -> None:
        site, _ = done
        assert site.sh(f"systemctl is-enabled {site.timer}") == "enabled"
        assert site.timer_state() == {"ActiveState": "active", "UnitFileState": "enabled", "NeedDaemonReload": "no"}

    def test_a_tick_of_the_unit_finds_nothing_wrong(self, done: tuple[Site, str]) -> None:
        site, _ = done
        assert site.sh(
            f"systemctl start step@{site.name}.service; systemctl show -P Result step@{site.name}.service"
        ) == ("success")

    def test_another_host_fetches_it_against_the_meshs_root(self, done: tuple[Site, str]) -> None:
        site, _ = done
        assert site.fqdn in curl(site)
        assert curl(site, "/", "-o", "/dev/null", "-w", "%{http_code} %{http_version}") == "200 2"

    def test_the_leaf_chains_to_the_root_and_is_for_the_name(self, done: tuple[Site, str]) -> None:
        site, _ = done
        said = site.sh(f"openssl verify -CAfile {layout.ROOT_ON_HOST} -untrusted {site.cert} {site.cert}")
        assert said == f"{site.cert}: OK"
        assert f"DNS:{site.fqdn}" in site.sh(f"openssl x509 -noout -ext subjectAltName -in {site.cert}")
        assert site.served() == site.serial()

    def test_no_password_no_reaper_and_no_half_of_anything_is_left(self, done: tuple[Site, str]) -> None:
        site, _ = done
        assert site.leftovers() == ""

    def test_the_password_is_in_no_log_of_the_host(self, done: tuple[Site, str], mesh: Mesh) -> None:
        site, said = done
        password = mesh.lab.password.read_text().strip()
        assert password not in said
        site.sh("journalctl --sync; journalctl -q >/run/journal.txt")
        assert site.sh(f"grep -rlF {password} /run/journal.txt /var/log /etc /tmp /home || :") == ""


class TestSecondRun:
    """A run is idempotent: the second changes nothing."""

    def test_it_says_that_nothing_changed_over_one_connection_and_one_command(
        self, done: tuple[Site, str], inv: Inv
    ) -> None:
        site, _ = done
        logins, commands = site.logins(), site.commands()
        workers, before = site.workers(), site.look()
        site.sh("touch /run/mark")
        said = assert_done(inv("provision", *site.words))
        assert "nothing changed" in said
        assert [line.split()[0] for line in said.splitlines()] == ["served", site.host]
        assert (site.logins(), site.commands()) == (logins + 1, commands + 1)
        assert site.workers() == workers
        assert site.look() == before
        assert site.sh("find / -xdev -newer /run/mark -type f -not -path '/var/log/*'") == ""

    @pytest.mark.parametrize("task", ["mint", "renew-enable", "wire-nginx"])
    def test_each_step_alone_has_nothing_to_do_either(self, done: tuple[Site, str], inv: Inv, task: str) -> None:
        site, _ = done
        before = site.look()
        assert "nothing changed" in assert_done(inv(task, *site.words))
        assert site.look() == before


class TestSteps:
    """The three steps, one after the other."""

    def test_the_steps_alone_come_to_what_provision_comes_to(self, site: Site, inv: Inv) -> None:
        assert "mint" in assert_done(inv("mint", *site.words))
        assert site.serial()
        assert site.served() == ""
        assert "timer" in assert_done(inv("renew-enable", *site.words))
        assert site.served() == ""
        assert "vhost" in assert_done(inv("wire-nginx", *site.words))
        assert site.served() == site.serial()
        assert "nothing changed" in assert_done(inv("provision", *site.words))

    def test_a_missing_log_file_of_nginxs_is_not_made_for_root_alone(self, site: Site, inv: Inv) -> None:
        # nginx -t and -T create what is missing, with the umask of whoever runs them.
        site.write("/etc/nginx/conf.d/shop.conf", "access_log /var/log/nginx/shop.log;\n")
        assert_done(inv("provision", *site.words, "--dry-run"))
        assert site.sh("stat -c %a /var/log/nginx/shop.log 2>/dev/null || echo none") in ("644", "none")


# The longest one is longer than nginx's hashes of names and variables take without a setting.
NAMES = ["3d", "nginx", "x" * 63]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_that_is_accepted_is_provisioned_and_then_left_alone(clean_host: str, inv: Inv, name: str) -> None:
    site = Site(clean_host, name)
    assert_done(inv("provision", *site.words, "--upstream", "http://127.0.0.1:8080"))
    assert site.served() == site.serial()
    assert "nothing changed" in assert_done(inv("provision", *site.words))


class TestSans:
    """More names than the first."""

    def test_they_are_in_the_certificate_and_served_and_kept(self, site: Site, inv: Inv, mesh: Mesh) -> None:
        more = f"www-{site.name}"
        mesh.dns.point(more, site.host)
        assert_done(inv("provision", *site.words, "--san", f"{more}.internal"))
        assert site.fqdn in curl(Site(site.host, more))
        serial = site.serial()
        assert "nothing changed" in assert_done(inv("provision", *site.words))
        assert "nothing changed" in assert_done(inv("provision", *site.words, "--san", f"{more}.internal"))
        assert site.serial() == serial

    def test_one_more_is_a_new_pair_and_a_new_vhost_with_the_reason(self, site: Site, inv: Inv) -> None:
        assert_done(inv("provision", *site.words))
        serial = site.serial()
        said = assert_done(inv("provision", *site.words, "--san", "more.internal"))
        assert "lacks more.internal" in said
        assert site.serial() != serial
        assert site.served() == site.serial()
        assert "more.internal" in site.sh(f"cat {site.vhost}")


# What applications trust from a proxy, and a client could send itself.
FORGED = [
    "X-Forwarded-For",
    "X-Real-IP",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "Forwarded",
    "Client-IP",
    "True-Client-IP",
    "X-Forwarded-Prefix",
    "X-Forwarded-Scheme",
    "X-Forwarded-Server",
    "X-Forwarded-Ssl",
    "X-Original-URL",
    "X-Rewrite-URL",
    "Proxy",
    "Client-Cert",
    "Client-Cert-Chain",
]
ECHO = """
import http.server, json, sys
class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.headers.get("Upgrade"):
            self.send_response(101)
            for name in ("Upgrade", "Connection"):
                self.send_header(name, self.headers[name])
            self.end_headers()
            self.wfile.write(b"upgraded " + self.headers["Connection"].encode() + b"\\n")
            self.close_connection = True
            return
        body = json.dumps({"path": self.path, **{k.lower(): v for k, v in self.headers.items()}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
http.server.HTTPServer((sys.argv[1], int(sys.argv[2])), Echo).serve_forever()
"""


class TestUpstream:
    """A service behind nginx; it runs on the operator's machine, which has an address on the mesh too."""

    @pytest.fixture
    def upstream(self) -> Iterator[str]:
        space: dict[str, object] = {"__name__": "echo"}
        exec(compile(ECHO.rpartition("http.server.HTTPServer")[0], "echo", "exec"), space)  # noqa: S102
        handler = space["Echo"]
        assert isinstance(handler, type)
        server = http.server.ThreadingHTTPServer((layout.OPERATOR_ADDRESS, 0), handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://{layout.OPERATOR_ADDRESS}:{server.server_port}"
        server.shutdown()
        server.server_close()
        thread.join()

    def test_it_is_told_what_applications_expect(self, site: Site, inv: Inv, mesh: Mesh, upstream: str) -> None:
        assert_done(inv("provision", *site.words, "--upstream", upstream))
        heard = get_json(site, "/a/b?c=d")
        client = mesh.hosts.address("h3")
        assert heard["path"] == "/a/b?c=d"
        assert heard["host"] == site.fqdn
        assert heard["x-forwarded-for"] == client
        assert heard["x-forwarded-proto"] == "https"
        assert heard["x-forwarded-host"] == site.fqdn
        assert heard["connection"] == "close"
        assert "upgrade" not in heard

    def test_a_client_cannot_pass_itself_off_as_another(self, site: Site, inv: Inv, mesh: Mesh, upstream: str) -> None:
        assert_done(inv("provision", *site.words, "--upstream", upstream))
        forged = [word for header in FORGED for word in ("-H", f"{header}: forged")]
        heard = get_json(site, "/", *forged, "-H", "X-Mine: kept")
        client = mesh.hosts.address("h3")
        assert heard["x-forwarded-for"] == heard["x-real-ip"] == client
        assert heard["x-forwarded-proto"] == "https"
        assert heard["x-forwarded-host"] == site.fqdn
        assert heard["x-forwarded-port"] == "443"
        assert heard["x-mine"] == "kept"
        assert [name for name, value in heard.items() if value == "forged"] == []

    def test_no_upgrade_but_a_websocket_is_passed_on(self, site: Site, inv: Inv, upstream: str) -> None:
        assert_done(inv("provision", *site.words, "--upstream", upstream))
        h2c = ("-H", "Connection: Upgrade, HTTP2-Settings", "-H", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")
        for protocol in ("h2c", "h2c, websocket", "websockets"):
            heard = get_json(site, "/", "--http1.1", *h2c, "-H", f"Upgrade: {protocol}")
            assert heard["connection"] == "close"
            assert "upgrade" not in heard

    def test_it_answers_for_its_own_names_only(self, site: Site, inv: Inv, upstream: str, mesh: Mesh) -> None:
        more = f"www-{site.name}.internal"
        assert_done(inv("provision", *site.words, "--upstream", upstream, "--san", more))

        def status(*more_options: str) -> str:
            options = ("curl", "-s", "-k", "--max-time", "10", "-o", "/dev/null", "-w", "%{http_code}", *more_options)
            return str(mesh.hosts.run("h3", options).stdout)

        url, address = f"https://{site.fqdn}/", mesh.hosts.address(site.host)
        for own in (site.fqdn, site.fqdn.upper(), f"{site.fqdn}:443", f"{site.fqdn}.", more):
            assert status("-H", f"Host: {own}", url) == "200", own
            assert status("--http1.1", "-H", f"Host: {own}", url) == "200", own
        assert status("--http1.0", "-H", "Host:", url) == "200"
        for foreign in (
            "other.internal",
            f"x{site.fqdn}",
            f"{site.fqdn}.example",
            site.fqdn.replace(".", "x"),
            address,
        ):
            assert status("-H", f"Host: {foreign}", url) == "421", foreign
            assert status("--http1.1", "-H", f"Host: {foreign}", url) == "421", foreign
        assert status(f"https://{address}/") == "421"

    def test_hsts_is_one_setting_away(self, site: Site, inv: Inv, upstream: str) -> None:
        assert_done(inv("provision", *site.words, "--upstream", upstream))
        assert "strict-transport-security" not in curl(site, "/", "-D", "-").lower()
        env = {"INVOKE_MESHFAB_HSTS_MAX_AGE": "300"}
        assert "1 change " in assert_done(inv("provision", *site.words, env=env))
        assert "strict-transport-security: max-age=300" in curl(site, "/", "-D", "-").lower()
        assert "nothing changed" in assert_done(inv("provision", *site.words, env=env))

    def test_a_websocket_is_upgraded(self, site: Site, inv: Inv, mesh: Mesh, upstream: str) -> None:
        assert_done(inv("provision", *site.words, "--upstream", upstream))
        ask = f"GET / HTTP/1.1\\r\\nHost: {site.fqdn}\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n\\r\\n"
        answer = mesh.hosts.run(
            "h3",
            f"printf '{ask}' | timeout 5 openssl s_client -quiet -ign_eof -servername {site.fqdn}"
            f" -connect {site.fqdn}:443 2>/dev/null",
            check=False,
        ).stdout
        assert answer.startswith("HTTP/1.1 101")
        assert "upgraded upgrade" in answer

    def test_it_is_kept_when_it_is_left_out_and_changed_when_it_is_not(
        self, site: Site, inv: Inv, upstream: str
    ) -> None:
        assert_done(inv("provision", *site.words, "--upstream", upstream))
        assert "nothing changed" in assert_done(inv("provision", *site.words))
        serial = site.serial()
        said = assert_done(inv("provision", *site.words, "--upstream", f"{upstream}/base/"))
        assert "1 change " in said
        assert get_json(site, "/x")["path"] == "/base/x"
        assert site.serial() == serial

    @BOTH
    def test_one_that_nginx_refuses_leaves_the_service_as_it_was(self, site: Site, inv: Inv, upstream: str) -> None:
        assert_done(inv("provision", *site.words, "--upstream", upstream))
        before = site.look()
        done = inv("provision", *site.words, "--upstream", "http://nowhere.internal:8080")
        assert_refused(done, site.host, "nowhere.internal")
        assert site.look() == before
        assert get_json(site)["host"] == site.fqdn
        assert site.leftovers() == ""


class TestNoVhost:
    """The vhost is the operator's."""

    def test_the_pair_and_its_renewal_are_made_and_no_vhost(self, site: Site, inv: Inv) -> None:
        said = assert_done(inv("provision", *site.words, "--no-vhost"))
        assert "nothing proves the pair" in said
        assert site.sh(f"ls {site.vhost} 2>/dev/null", check=False) == ""
        assert site.serial()
        assert site.timer_state()["ActiveState"] == "active"
        said = assert_done(inv("provision", *site.words, "--no-vhost"))
        assert "nothing changed" in said

    def test_a_vhost_of_theirs_is_adopted_and_proved(self, site: Site, inv: Inv) -> None:
        assert_done(inv("provision", *site.words, "--no-vhost"))
        text = (
            f"server {{ listen 8443 ssl; server_name {site.fqdn}; ssl_certificate {site.cert};\n"
            f"ssl_certificate_key {site.key}; }}\n"
        )
        site.write("/etc/nginx/conf.d/mine.conf", text)
        said = assert_done(inv("provision", *site.words))
        assert "/etc/nginx/conf.d/mine.conf:1" in said
        assert ":8443 is the leaf on disk" in said
        assert site.served(8443) == site.serial()
        assert site.sh("cat /etc/nginx/conf.d/mine.conf") == text.strip()

    def test_a_vhost_that_serves_the_name_with_another_pair_is_refused(self, site: Site, inv: Inv) -> None:
        site.sh("mkdir -p /srv/own")
        site.mint(cert="/srv/own/cert", key="/srv/own/key")
        site.write(
            "/etc/nginx/conf.d/mine.conf",
            f"# mine\nserver {{\n  listen 443 ssl; server_name {site.fqdn};\n"
            "  ssl_certificate /srv/own/cert; ssl_certificate_key /srv/own/key; }\n",
        )
        site.sh("systemctl reload nginx")
        before = site.look()
        assert_refused(inv("provision", *site.words), "/etc/nginx/conf.d/mine.conf:2", "/srv/own/cert")
        assert site.look() == before

    def test_an_edited_vhost_of_ours_is_left_alone(self, site: Site, inv: Inv) -> None:
        assert_done(inv("provision", *site.words))
        site.sh(f"sed -i 's/is served by meshfab/by me/' {site.vhost}; systemctl reload nginx")
        before = site.sh(f"cat {site.vhost}")
        assert "left as it is" in assert_done(inv("provision", *site.words))
        refused = inv("provision", *site.words, "--upstream", "http://127.0.0.1:9")
        assert_refused(refused, site.vhost, "edited by hand")
        assert "+        proxy_pass http://127.0.0.1:9;" in refused.stdout
        assert site.sh(f"cat {site.vhost}") == before


class TestRunbook:
    """What a shell script of the runbook has set up."""

    @BOTH
    def test_it_is_adopted_without_a_new_mint(self, site: Site, inv: Inv) -> None:
        site.runbook()
        serial, vhosts = (
            site.serial(),
            site.sh("cat /etc/nginx/conf.d/* /etc/nginx/sites-available/* 2>/dev/null", check=False),
        )
        assert site.served() == serial
        workers = site.workers()
        said = assert_done(inv("provision", *site.words))
        assert "mint" not in [line.split()[0] for line in said.splitlines()]
        assert "yours: adopted unchanged" in said
        assert site.serial() == serial == site.served()
        assert site.workers() == workers
        assert site.sh("cat /etc/nginx/conf.d/* /etc/nginx/sites-available/* 2>/dev/null", check=False) == vhosts
        assert "by hand" in curl(site)
        # The renewal is ours from now on, and systemd knows it.
        assert "meshfab-tick" in site.sh(f"systemctl show -P ExecStart step@{site.name}.service")
        assert site.timer_state() == {"ActiveState": "active", "UnitFileState": "enabled", "NeedDaemonReload": "no"}
        assert "nothing changed" in assert_done(inv("provision", *site.words))


def test_a_shell_that_greets_everybody_is_no_obstacle(site: Site, inv: Inv) -> None:
    site.write("/home/ops/.bashrc", "echo Welcome to $HOSTNAME; echo again >&2\n")
    site.sh("chown ops /home/ops/.bashrc")
    assert_done(inv("provision", *site.words))


def test_two_services_live_side_by_side(site: Site, inv: Inv) -> None:
    other = Site(site.host)
    assert_done(inv("provision", *site.words, "--upstream", "http://127.0.0.1:9"))
    first = site.serial()
    assert_done(inv("provision", *other.words))
    assert other.fqdn in curl(other)
    assert "nothing changed" in assert_done(inv("provision", *site.words))
    assert (site.serial(), site.served()) == (first, first)


def test_two_services_at_once_on_one_host_do_not_disturb_each_other(site: Site, inv: Inv) -> None:
    sites = [site, Site(site.host), Site(site.host)]
    results: list[str] = []
    threads = [
        threading.Thread(target=lambda one=one: results.append(assert_done(inv("provision", *one.words))))
        for one in sites
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3
    for one in sites:
        assert one.served() == one.serial()
        assert "nothing changed" in assert_done(inv("provision", *one.words))
