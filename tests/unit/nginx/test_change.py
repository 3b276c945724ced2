"""The change that nginx's configuration needs, for managed and unmanaged files."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from meshfab.config.service import Service
from meshfab.errors import EditedError, LockedError, MeshfabError, NginxError
from meshfab.host.facts import Stat
from meshfab.nginx import activation, change, listeners, previous_options, snippets, vhost
from meshfab.nginx.layout import VhostPath
from meshfab.nginx.listeners import Endpoint
from meshfab.ssh.script import Answer, ExitStatus
from tests.support.certificates import SERVICE, SETTINGS
from tests.support.fake_host import DEBIAN_CONF, NGINX_CONF, Host, planned, unit

if TYPE_CHECKING:
    from meshfab.provisioning.plan import Plan

MAIN, SHOP = "/etc/nginx/nginx.conf", "/etc/nginx/conf.d/shop.conf"
PAIR = f"ssl_certificate {SERVICE.cert};\nssl_certificate_key {SERVICE.key};\n"
OTHER = "ssl_certificate /o.pem;\nssl_certificate_key /o.key;\n"
TLS = snippets.path(SERVICE, "tls")
OLD = (1, 22, 1)

# Whether a `listen` on a single address takes the connections of this one.
SHADOWED = {"443 ssl": True, "[::]:443 ssl": False, "10.87.0.12:443 ssl": False, "80": False, "*:443 ssl": True}

# Server blocks that clients reach through a proxy on the same host.
BEHIND_A_PROXY = ["127.0.0.1:8443 ssl", "unix:/run/tls.sock ssl", "8443 ssl proxy_protocol", "[::1]:444 ssl"]

FAILURES: dict[int, tuple[str, str]] = {
    1: ("printf: write error: No space left on device", "could not be written: printf"),
    ExitStatus.CONFIG_REFUSED: (
        "nginx: [emerg] boom in /x:1\nnginx: test failed",
        "refuses the configuration: boom in /x:1",
    ),
    ExitStatus.SERVER_IGNORED: (
        'nginx: [warn] conflicting server name "a"',
        'would ignore a server: nginx: [warn] conflicting server name "a"',
    ),
    ExitStatus.NOT_INCLUDED: ("/srv/x.conf", "includes nothing at /srv/x.conf"),
    ExitStatus.LOAD_FAILED: ("Job for nginx.service failed.", "could not load nginx: Job for nginx.service failed."),
    ExitStatus.NOT_TAKEN_UP: (
        "2026/11/23 1:1:1 [emerg] 7#7: bind() to 0.0.0.0:443 failed (98: x)",
        "not use the new configuration: bind()",
    ),
}


def block(name: str = SERVICE.fqdn, listen: str = "443 ssl", pair: str = OTHER) -> str:
    return f"server {{\nlisten {listen};\nserver_name {name};\n{pair}}}\n"


def decide(host: Host, *, force: bool = False, **requested: Any) -> change.NginxChange:
    state = host.state()
    service = previous_options.merge_previous_options(state, replace(host.service, **requested))
    return change.decide(state, service, host.settings, force=force)


def stopped(host: Host) -> Host:
    """The host with an nginx that does not run."""
    host.units["nginx.service"] = unit("nginx.service", active="inactive")
    return host


def with_unmanaged_file(text: str, host: Host | None = None) -> Host:
    """A host with an unmanaged file that nginx includes."""
    host = host or Host()
    return replace(host, conf={**host.conf, SHOP: text})


class TestUnmanaged:
    def test_the_error_names_each_line_and_the_remedy_what_to_put_there(self) -> None:
        with pytest.raises(NginxError) as caught:
            decide(with_unmanaged_file(block()))
        assert f"the pair belongs at {SHOP}:4 and {SHOP}:5" in caught.value.what
        assert f"put `ssl_certificate {SERVICE.cert};` and `ssl_certificate_key {SERVICE.key};`" in caught.value.remedy
        assert "--no-vhost" in caught.value.remedy

    def test_the_remedy_has_no_words_of_the_host(self) -> None:
        host = Host()
        host.conf["/etc/nginx/conf.d/`curl evil`.conf"] = block()
        with pytest.raises(NginxError, match="curl evil") as caught:
            decide(host)
        assert "evil" not in caught.value.remedy

    def test_the_error_names_the_lines_of_an_included_file(self) -> None:
        host = with_unmanaged_file(block(pair="include snippets/own.conf;\n"))
        host.conf["/etc/nginx/snippets/own.conf"] = f"# ours\n{OTHER}"
        with pytest.raises(NginxError, match=r"at \S*snippets/own\.conf:2 and \S*snippets/own\.conf:3"):
            decide(host)

    def test_the_error_for_a_block_without_a_pair_says_where_to_add_one(self) -> None:
        with pytest.raises(NginxError, match="no pair of its own") as caught:
            decide(with_unmanaged_file(block(pair="")))
        assert f"after {SHOP}:1" in caught.value.what

    def test_the_error_names_every_wrong_block(self) -> None:
        with pytest.raises(NginxError) as caught:
            decide(with_unmanaged_file(block(listen="10.87.0.12:443 ssl") + block(listen="[fd00::1]:443 ssl")))
        assert f"{SHOP}:4" in caught.value.what
        assert f"{SHOP}:10" in caught.value.what

    def test_a_block_with_a_second_certificate_for_another_kind_of_key_is_adopted(self) -> None:
        assert "adopted" in decide(with_unmanaged_file(block(pair=OTHER + PAIR))).notes[0]

    def test_no_vhost_writes_a_snippet_and_says_where_to_include_it(self) -> None:
        nginx_change = decide(with_unmanaged_file(block()), vhost=False)
        assert [file.path for file in nginx_change.files] == [TLS]
        assert not nginx_change.is_loaded
        assert nginx_change.notes == (
            f"{SERVICE.fqdn} is served with another pair: put `include {TLS};` in the place of {SHOP}:4 and {SHOP}:5",
        )

    def test_no_vhost_writes_nothing_when_the_unmanaged_vhost_names_the_pair(self) -> None:
        nginx_change = decide(with_unmanaged_file(block(pair=PAIR)), vhost=False)
        assert nginx_change.files == ()
        assert "adopted" in nginx_change.notes[0]

    def test_an_included_snippet_is_updated_without_the_option(self) -> None:
        text = vhost.render(SERVICE, SETTINGS, OLD, (), "tls")
        host = replace(with_unmanaged_file(block(pair=f"include {TLS};\n")), vhosts={TLS: text})
        host.conf[TLS] = text
        assert decide(host).files == ()
        changed = replace(host, settings=replace(SETTINGS, cert_dir="/etc/tls"))
        changed.service = Service.of("gongfoo", changed.settings)
        nginx_change = decide(changed)
        assert [file.path for file in nginx_change.files] == [TLS]
        assert nginx_change.is_loaded

    def test_an_edited_snippet_is_overwritten_with_force_only(self) -> None:
        text = vhost.render(SERVICE, SETTINGS, OLD, (), "tls").replace("TLSv1.2 ", "")
        host = Host(vhosts={TLS: text})
        with pytest.raises(EditedError) as caught:
            decide(host, vhost=False)
        assert "+ssl_protocols       TLSv1.2 TLSv1.3;" in caught.value.diff
        assert decide(host, vhost=False, force=True).files[0].path == TLS
        with pytest.raises(EditedError, match="not written by meshfab"):
            decide(Host(vhosts={TLS: "# somebody's\n"}), vhost=False, force=True)

    def test_mtls_writes_a_snippet_for_the_upstream_too(self) -> None:
        nginx_change = decide(Host(), vhost=False, upstream="https://app.internal", mtls=True)
        assert [file.path for file in nginx_change.files] == [TLS, snippets.path(SERVICE, "mtls")]
        assert "proxy_ssl_name                app.internal;" in nginx_change.files[1].text
        assert f"include {snippets.path(SERVICE, 'mtls')};" in nginx_change.notes[1]

    def test_a_key_folder_that_the_workers_cannot_enter_is_reported(self) -> None:
        host = Host()
        folder = SERVICE.key.rpartition("/")[0]
        state = host.state()
        service = replace(SERVICE, vhost=False, upstream="https://app.internal", mtls=True)
        for mode, is_reported in ((0o700, True), (0o750, False), (0o755, False)):
            state_now = replace(state, stats={**state.stats, folder: Stat("directory", "root:root", mode)})
            notes = change.decide(state_now, service, SETTINGS).notes
            assert any(f"setfacl -m u:USER:x {folder}" in note for note in notes) == is_reported


class TestManaged:
    EDITED = vhost.render(SERVICE, SETTINGS, OLD).replace("is served by", "was edited, not by")

    def test_an_edited_vhost_is_kept_when_the_options_are_the_same(self) -> None:
        nginx_change = decide(Host().with_vhost(self.EDITED))
        assert nginx_change.reason == ""
        assert "edited by hand" in nginx_change.notes[0]

    def test_an_edit_that_other_options_would_undo_is_an_error_with_a_diff(self) -> None:
        with pytest.raises(EditedError) as caught:
            decide(Host().with_vhost(self.EDITED), upstream="http://127.0.0.1:8080")
        assert "was edited, not by" in caught.value.diff
        assert "--force" in caught.value.remedy

    def test_an_edit_that_serves_another_pair_is_an_error(self) -> None:
        with pytest.raises(EditedError):
            decide(Host().with_vhost(self.EDITED.replace(SERVICE.cert, "/o.pem")))

    def test_force_overwrites_an_edited_vhost(self) -> None:
        nginx_change = decide(Host().with_vhost(self.EDITED), force=True)
        assert nginx_change.files[0].text == vhost.render(SERVICE, SETTINGS, OLD)

    def test_force_does_not_overwrite_an_unmanaged_file(self) -> None:
        with pytest.raises(NginxError, match="not written by meshfab"):
            decide(Host(vhosts={Host().vhost_path: "# a person's\n"}), force=True)

    def test_a_name_that_nginx_ignores_is_a_note(self) -> None:
        host = Host().with_vhost()
        warning = f'nginx: [warn] conflicting server name "{SERVICE.fqdn}" on 0.0.0.0:443, ignored\n'
        state = host.state()
        state = replace(state, nginx_conf=warning + state.nginx_conf)
        assert "ignores one of two servers" in change.decide(state, SERVICE, SETTINGS).notes[0]

    def test_a_name_of_another_server_is_refused(self) -> None:
        with pytest.raises(NginxError, match=rf"tea\.internal is served by {SHOP}:1 already"):
            decide(with_unmanaged_file(block("tea.internal")), sans=("tea.internal",))

    def test_a_vhost_that_nginx_would_not_include_is_refused(self) -> None:
        with pytest.raises(NginxError, match="includes nothing at"):
            decide(Host(conf={MAIN: NGINX_CONF.replace("include", "#include")}))
        with pytest.raises(NginxError, match="includes nothing at"):
            decide(Host(conf={MAIN: NGINX_CONF.replace("conf.d/*.conf", "conf.d/*/*.conf")}))


class TestListening:
    def mesh(self, *listen: str) -> Host:
        return Host(
            service=Service.of("gongfoo", SETTINGS, listen=listen or None), addresses="192.0.2.1 10.87.0.12 fd00::12"
        )

    def listens(self, *listen: str) -> tuple[str, ...]:
        host = self.mesh(*listen)
        return listeners.listens(host.state(), host.service, SETTINGS)

    def test_without_the_option_the_vhost_listens_on_every_address(self) -> None:
        assert self.listens() == self.listens("all") == ("443", "[::]:443")

    def test_a_network_selects_the_addresses_of_the_host_in_it(self) -> None:
        assert self.listens("10.87.0.0/16") == ("10.87.0.12:443",)
        assert self.listens("10.87.0.0/16", "fd00::/8", "10.87.0.12") == ("10.87.0.12:443", "[fd00::12]:443")

    def test_a_host_without_ipv6_gets_no_ipv6_listen(self) -> None:
        state = replace(Host().state(), has_ipv6=False)
        assert listeners.listens(state, SERVICE, SETTINGS) == ("443",)

    def test_a_network_without_an_address_of_the_host_is_refused(self) -> None:
        with pytest.raises(NginxError, match=r"192\.0\.2\.1, 10\.87\.0\.12"):
            self.listens("172.16.0.0/12")

    def test_earlier_addresses_are_kept_and_the_settings_are_the_default(self) -> None:
        host = self.mesh("10.87.0.0/16")
        host_with_vhost = host.with_vhost(vhost.render(host.service, SETTINGS, OLD, ("10.87.0.12:443",)))
        assert decide(host_with_vhost, listen=None).reason == ""
        stopped(host_with_vhost)
        assert decide(host_with_vhost, listen=("all",)).reason == "it was written for other settings"
        plain = stopped(Host().with_vhost())
        moved = replace(plain, settings=replace(SETTINGS, listen=("10.87.0.12",)))
        assert "10.87.0.12:443" in decide(moved).files[0].text

    def test_a_running_nginx_is_not_asked_to_change_between_a_wildcard_and_a_single_address(self) -> None:
        one = self.mesh("10.87.0.12")
        one = one.with_vhost(vhost.render(one.service, SETTINGS, OLD, ("10.87.0.12:443",)))
        with pytest.raises(NginxError, match="cannot change between all addresses and single ones") as caught:
            decide(one, listen=("all",))
        assert "`systemctl stop nginx` there and run this with --start" in caught.value.remedy
        with pytest.raises(NginxError, match=r"would listen on 10\.87\.0\.12:443"):
            decide(self.mesh().with_vhost(), listen=("10.87.0.12",), force=True)
        beside = with_unmanaged_file(block("shop.internal", "10.87.0.12:443 ssl"), self.mesh())
        with pytest.raises(NginxError, match="cannot change between"):
            decide(beside)
        assert decide(stopped(beside)).reason
        # nginx binds the wildcard only, if there is one: these reloads work.
        assert decide(with_unmanaged_file(block("shop.internal"), self.mesh())).reason
        text = block("a.internal") + block("b.internal", "10.87.0.12:443 ssl")
        assert decide(with_unmanaged_file(text, self.mesh())).reason
        assert decide(with_unmanaged_file(block("a.internal", "[fd00::12]:443 ssl"), self.mesh("10.87.0.12"))).reason

    @pytest.mark.parametrize(("listen", "is_shadowed"), SHADOWED.items(), ids=SHADOWED)
    def test_a_single_address_takes_connections_from_a_wildcard_of_its_family(
        self, listen: str, is_shadowed: bool
    ) -> None:
        host = with_unmanaged_file(block("shop.internal", listen), self.mesh("10.87.0.12"))
        if is_shadowed:
            with pytest.raises(NginxError, match=rf"take the connections there from {SHOP}:2"):
                decide(host)
        assert decide(host, force=True).reason

    def test_an_address_that_another_server_has_already_is_allowed(self) -> None:
        text = block("a.internal") + block("b.internal", "10.87.0.12:443 ssl")
        assert decide(with_unmanaged_file(text, self.mesh("10.87.0.12"))).reason

    def test_a_listen_that_overrides_a_wildcard_is_found(self) -> None:
        state = with_unmanaged_file(block("shop.internal", "10.87.0.12:443 ssl")).state()
        assert listeners.overriding_listener(state, "10.87.0.12", 443, VhostPath("/x")) == f"{SHOP}:2"
        assert listeners.overriding_listener(state, "10.87.0.13", 443, VhostPath("/x")) == ""


STREAM = """\
stream {
    map $ssl_preread_server_name $backend { default 127.0.0.1:8443; }
    server {
        listen %s;
        ssl_preread on;
        proxy_pass $backend;
    }
}
"""
# Whether a `listen` of a stream block keeps our vhost from port 443 of all addresses, and of one address.
STREAM_LISTENS = {
    "443": (True, True),
    "[::]:443": (True, False),
    "10.87.0.12:443": (True, True),
    "10.87.0.13:443": (True, False),
    "8443": (False, False),
    "443 udp": (False, False),
}


class TestStream:
    def host(self, listen: str, *requested: str) -> Host:
        host = Host(service=Service.of("gongfoo", SETTINGS, listen=requested or None))
        return replace(host, conf={MAIN: NGINX_CONF + STREAM % listen})

    @pytest.mark.parametrize(("listen", "conflicts"), STREAM_LISTENS.items(), ids=STREAM_LISTENS)
    def test_a_port_that_a_stream_block_has_is_refused(self, listen: str, conflicts: tuple[bool, bool]) -> None:
        for requested, is_refused in zip(((), ("10.87.0.12",)), conflicts, strict=True):
            for host in (self.host(listen, *requested), stopped(self.host(listen, *requested))):
                if not is_refused:
                    assert decide(host, force=True).reason
                    continue
                with pytest.raises(NginxError, match=rf"{MAIN}:9, in nginx's stream block") as caught:
                    decide(host, force=True)
                assert "give --no-vhost" in caught.value.remedy
                assert decide(host, vhost=False).reason

    def test_a_stream_block_in_included_files_is_found(self) -> None:
        conf = {MAIN: NGINX_CONF + "stream { include stream.d/*.conf; }\n"}
        conf["/etc/nginx/stream.d/a.conf"] = "# one\nserver {\n    include snippets/listen.conf;\n}\n"
        conf["/etc/nginx/snippets/listen.conf"] = "\nlisten 443;\n"
        with pytest.raises(NginxError, match=r"/etc/nginx/snippets/listen\.conf:2, in nginx's stream block"):
            decide(Host(conf=conf))

    def test_the_same_servers_in_http_are_no_stream(self) -> None:
        conf = {MAIN: NGINX_CONF, SHOP: "map $host $stream { default 1; }\n" + block("shop.internal")}
        assert decide(Host(conf=conf)).reason


class TestEndpoint:
    def test_a_managed_vhost_is_asked_at_its_own_addresses(self) -> None:
        service = Service.of("gongfoo", SETTINGS, listen=["10.87.0.12"])
        host = Host(service=service).with_vhost(vhost.render(service, SETTINGS, OLD, ("10.87.0.12:443",)))
        assert change.serving_endpoint(host.state(), service, SETTINGS) == Endpoint(("10.87.0.12",))

    @pytest.mark.parametrize("listen", BEHIND_A_PROXY)
    def test_an_unmanaged_vhost_behind_a_proxy_is_asked_at_the_port_of_the_proxy(self, listen: str) -> None:
        state = with_unmanaged_file(block(listen=listen, pair=PAIR)).state()
        assert change.serving_endpoint(state, SERVICE, SETTINGS) == Endpoint()

    def test_an_unmanaged_vhost_is_asked_at_its_own_address(self) -> None:
        state = with_unmanaged_file(block(listen="10.87.0.12:8443 ssl", pair=PAIR)).state()
        assert change.serving_endpoint(state, SERVICE, SETTINGS) == Endpoint(("10.87.0.12",), 8443)


class TestStopped:
    def host(self, active: str, load: str = "loaded") -> Host:
        host = Host()
        host.units["nginx.service"] = unit("nginx.service", active=active, load=load)
        return host

    def make(self, host: Host, **options: Any) -> Plan:
        return planned(host.state(), parts=frozenset({"wire-nginx"}), **options)

    @pytest.mark.parametrize("active", ["active", "reloading"])
    def test_a_running_nginx_is_reloaded(self, active: str) -> None:
        assert not self.make(self.host(active), start=True).starts

    @pytest.mark.parametrize("active", ["inactive", "failed"])
    def test_a_stopped_nginx_is_started_with_the_option_only(self, active: str) -> None:
        with pytest.raises(NginxError, match="give --start"):
            self.make(self.host(active))
        assert self.make(self.host(active), start=True).starts

    @pytest.mark.parametrize("active", ["inactive", "active"])
    def test_a_masked_nginx_is_refused(self, active: str) -> None:
        with pytest.raises(NginxError, match="masked"):
            self.make(self.host(active, "masked"), start=True)

    def test_mint_alone_does_not_need_nginx(self) -> None:
        host = replace(self.host("inactive").with_vhost(), cert=None, public=None)
        plan = planned(host.state(), parts=frozenset({"mint"}))
        assert [step.verb for step in plan.steps] == ["mint"]
        assert plan.endpoint is None


class TestTransaction:
    def make_plan(self, host: Host, **requested: Any) -> Plan:
        return planned(host.state(), replace(SERVICE, **requested), parts=frozenset({"wire-nginx"}))

    def test_the_link_of_debians_layout_is_made_once(self) -> None:
        host = Host(conf={MAIN: DEBIAN_CONF}, has_sites=True)
        plan = self.make_plan(host)
        site = f"/etc/nginx/sites-available/{SERVICE.fqdn}.conf"
        link = f"/etc/nginx/sites-enabled/{SERVICE.fqdn}.conf"
        args = activation.install(host.state(), [plan.activation]).args
        assert args[:7] == ("open", "/var/log/nginx/error.log", "", SERVICE.fqdn, site, link, link)
        linked_host = replace(host, conf={MAIN: DEBIAN_CONF, link: vhost.render(SERVICE, SETTINGS, OLD)})
        linked_host.vhosts = {site: vhost.render(SERVICE, SETTINGS, OLD)}
        new_args = activation.install(
            linked_host.state(), [self.make_plan(linked_host, upstream="http://127.0.0.1:1").activation]
        ).args
        assert new_args[0] == "reload"
        assert new_args[5:7] == ("", link)

    def test_a_snippet_that_nothing_includes_is_not_loaded(self) -> None:
        plan = self.make_plan(Host(), vhost=False)
        args = activation.install(Host().state(), [plan.activation]).args
        assert (args[0], args[3], args[6]) == ("", "", "")
        assert [step.verb for step in plan.steps] == ["snippet"]

    def test_remove_names_the_files_that_were_written(self) -> None:
        plan = self.make_plan(Host())
        (file,) = plan.nginx_change.files
        assert activation.remove(Host().state(), [plan.activation], is_installed=True).args[3:] == (
            file.path,
            "",
            file.digest,
        )

    @pytest.mark.parametrize("status", FAILURES)
    def test_each_failure_is_one_line_with_the_message_of_the_failing_program(self, status: int) -> None:
        output, expected = FAILURES[status]
        error = activation.explain(Answer("install_config", status, b"", output), Host().state())
        assert isinstance(error, MeshfabError)
        assert expected in str(error)
        assert "what was there before is back" in error.remedy
        assert "\n" not in str(error)

    def test_a_busy_lock_is_reported_with_its_holder(self) -> None:
        error = activation.explain(
            Answer("install_config", ExitStatus.BUSY, b"", "held by step@tea.service"), Host().state()
        )
        assert isinstance(error, LockedError)
        assert "step@tea.service" in str(error)

    def test_an_address_that_nginx_itself_uses_has_its_own_message(self) -> None:
        output = "[emerg] 7#7: bind() to 10.87.0.12:443 failed (98: Address already in use), by nginx"
        error = activation.explain(
            Answer("install_config", ExitStatus.NOT_TAKEN_UP, b"", output), with_unmanaged_file(block()).state()
        )
        assert "cannot change between all addresses and single ones" in str(error)
        assert "--start" in error.remedy

    def test_an_address_that_another_program_has_is_not_blamed_on_nginx(self) -> None:
        output = "2026/11/23 1:1:1 [emerg] 7#7: bind() to 0.0.0.0:22 failed (98: Address already in use), by sshd"
        answer = Answer("install_config", ExitStatus.NOT_TAKEN_UP, b"", output)
        state = with_unmanaged_file(block("shop.internal", "22")).state()
        error = activation.explain(answer, state)
        assert "cannot change" not in str(error)
        assert error.what.endswith("bind() to 0.0.0.0:22 failed (98: Address already in use), by sshd")
        assert error.remedy.startswith(f"stop sshd there, or take the `listen` at {SHOP}:2 out; ")
        assert activation.explain(answer, Host().state()).remedy.startswith("stop sshd there; ")

    @pytest.mark.parametrize(
        ("printed", "ending"), [(b"started\n", "nginx runs with it"), (b"stopped", "nginx is stopped")]
    )
    def test_an_nginx_that_was_to_be_started_is_reported_as_it_is(self, printed: bytes, ending: str) -> None:
        answer = Answer("install_config", ExitStatus.LOAD_FAILED, printed, "Job for nginx.service failed.")
        assert f"back in place, and {ending}" in activation.explain(answer, Host().state()).remedy

    def test_a_started_nginx_is_restarted_with_what_was_there_before(self) -> None:
        plan = self.make_plan(Host())
        activations = [replace(plan.activation, starts=starts) for starts in (False, True)]
        requests = [activation.remove(Host().state(), [one], is_installed=True) for one in activations]
        assert [request.args[0] for request in requests] == ["reload", "restart"]
