"""What nginx lacks to serve a service, and whose file it is."""

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
from meshfab.ssh.script import Answer
from tests.support.certificates import SERVICE, SETTINGS
from tests.support.fake_host import DEBIAN_CONF, NGINX_CONF, Host, planned, unit

if TYPE_CHECKING:
    from meshfab.provisioning.plan import Plan

MAIN, SHOP = "/etc/nginx/nginx.conf", "/etc/nginx/conf.d/shop.conf"
PAIR = f"ssl_certificate {SERVICE.cert};\nssl_certificate_key {SERVICE.key};\n"
OTHER = "ssl_certificate /o.pem;\nssl_certificate_key /o.key;\n"
TLS = snippets.path(SERVICE, "tls")
OLD = (1, 22, 1)

ROBBED = {"443 ssl": True, "[::]:443 ssl": False, "10.87.0.12:443 ssl": False, "80": False, "*:443 ssl": True}

BEHIND = ["127.0.0.1:8443 ssl", "unix:/run/tls.sock ssl", "8443 ssl proxy_protocol", "[::1]:444 ssl"]

SAID: dict[int, tuple[str, str]] = {
    1: ("printf: write error: No space left on device", "could not be written: printf"),
    3: ("nginx: [emerg] boom in /x:1\nnginx: test failed", "refuses the configuration: boom in /x:1"),
    4: (
        'nginx: [warn] conflicting server name "a"',
        'would ignore a server: nginx: [warn] conflicting server name "a"',
    ),
    5: ("/srv/x.conf", "includes nothing at /srv/x.conf"),
    6: ("Job for nginx.service failed.", "could not load nginx: Job for nginx.service failed."),
    7: (
        "2026/11/23 1:1:1 [emerg] 7#7: bind() to 0.0.0.0:443 failed (98: x)",
        "not use the new configuration: bind()",
    ),
}


def block(name: str = SERVICE.fqdn, listen: str = "443 ssl", pair: str = OTHER) -> str:
    return f"server {{\nlisten {listen};\nserver_name {name};\n{pair}}}\n"


def decide(host: Host, *, force: bool = False, **asked: Any) -> change.NginxChange:
    state = host.state()
    service = previous_options.merge_previous_options(state, replace(host.service, **asked))
    return change.decide(state, service, host.settings, force=force)


def beside(text: str, host: Host | None = None) -> Host:
    """A host with a file of theirs that nginx includes."""
    host = host or Host()
    return replace(host, conf={**host.conf, SHOP: text})


class TestTheirs:
    def test_the_remedy_names_each_line(self) -> None:
        with pytest.raises(NginxError) as caught:
            decide(beside(block()))
        assert f"set {SHOP}:4 to `ssl_certificate {SERVICE.cert};`" in caught.value.remedy
        assert f"set {SHOP}:5 to `ssl_certificate_key {SERVICE.key};`" in caught.value.remedy
        assert "--no-vhost" in caught.value.remedy

    def test_lines_that_are_included_are_named_where_they_stand(self) -> None:
        host = beside(block(pair="include snippets/own.conf;\n"))
        host.conf["/etc/nginx/snippets/own.conf"] = f"# ours\n{OTHER}"
        with pytest.raises(NginxError, match=r"snippets/own\.conf:2 to .* snippets/own\.conf:3 to|own\.conf:2"):
            decide(host)

    def test_a_block_without_a_pair_of_its_own_is_told_where_to_add_one(self) -> None:
        with pytest.raises(NginxError, match="no pair of its own") as caught:
            decide(beside(block(pair="")))
        assert f"after {SHOP}:1" in caught.value.remedy

    def test_every_block_that_is_wrong_is_named(self) -> None:
        with pytest.raises(NginxError) as caught:
            decide(beside(block(listen="10.87.0.12:443 ssl") + block(listen="[fd00::1]:443 ssl")))
        assert f"{SHOP}:4" in caught.value.remedy
        assert f"{SHOP}:10" in caught.value.remedy

    def test_a_pair_among_others_for_another_kind_of_key_is_right(self) -> None:
        assert "adopted" in decide(beside(block(pair=OTHER + PAIR))).notes[0]

    def test_no_vhost_gives_a_file_to_include_and_says_where(self) -> None:
        made = decide(beside(block()), vhost=False)
        assert [file.path for file in made.files] == [TLS]
        assert not made.is_loaded
        assert made.notes == (
            f"{SERVICE.fqdn} is served with another pair: put `include {TLS};` in the place of {SHOP}:4 and {SHOP}:5",
        )

    def test_no_vhost_where_they_name_the_pair_themselves_gives_nothing(self) -> None:
        made = decide(beside(block(pair=PAIR)), vhost=False)
        assert made.files == ()
        assert "adopted" in made.notes[0]

    def test_a_snippet_that_is_included_is_kept_up_to_date_without_being_asked_for(self) -> None:
        text = vhost.render(SERVICE, SETTINGS, OLD, (), "tls")
        host = replace(beside(block(pair=f"include {TLS};\n")), vhosts={TLS: text})
        host.conf[TLS] = text
        assert decide(host).files == ()
        changed = replace(host, settings=replace(SETTINGS, cert_dir="/etc/tls"))
        changed.service = Service.of("gongfoo", changed.settings)
        made = decide(changed)
        assert [file.path for file in made.files] == [TLS]
        assert made.is_loaded

    def test_a_snippet_that_was_edited_is_shown_and_only_forced(self) -> None:
        text = vhost.render(SERVICE, SETTINGS, OLD, (), "tls").replace("TLSv1.2 ", "")
        host = Host(vhosts={TLS: text})
        with pytest.raises(EditedError) as caught:
            decide(host, vhost=False)
        assert "+ssl_protocols       TLSv1.2 TLSv1.3;" in caught.value.diff
        assert decide(host, vhost=False, force=True).files[0].path == TLS
        with pytest.raises(EditedError, match="not written by meshfab"):
            decide(Host(vhosts={TLS: "# somebody's\n"}), vhost=False, force=True)

    def test_mtls_gives_the_lines_for_the_upstream_too(self) -> None:
        made = decide(Host(), vhost=False, upstream="https://app.internal", mtls=True)
        assert [file.path for file in made.files] == [TLS, snippets.path(SERVICE, "mtls")]
        assert "proxy_ssl_name                app.internal;" in made.files[1].text
        assert f"include {snippets.path(SERVICE, 'mtls')};" in made.notes[1]

    def test_a_folder_that_the_workers_cannot_enter_is_told(self) -> None:
        host = Host()
        folder = SERVICE.key.rpartition("/")[0]
        state = host.state()
        service = replace(SERVICE, vhost=False, upstream="https://app.internal", mtls=True)
        for mode, is_told in ((0o700, True), (0o750, False), (0o755, False)):
            seen = replace(state, stats={**state.stats, folder: Stat("directory", "root:root", mode)})
            notes = change.decide(seen, service, SETTINGS).notes
            assert any(f"setfacl -m u:nginx:x {folder}" in note for note in notes) == is_told


class TestOurs:
    EDITED = vhost.render(SERVICE, SETTINGS, OLD).replace("is served by", "was edited, not by")

    def test_an_edit_stays_while_nothing_else_is_asked_for(self) -> None:
        made = decide(Host().wired(self.EDITED))
        assert made.reason == ""
        assert "edited by hand" in made.notes[0]

    def test_an_edit_that_what_is_asked_for_would_undo_is_shown(self) -> None:
        with pytest.raises(EditedError) as caught:
            decide(Host().wired(self.EDITED), upstream="http://127.0.0.1:8080")
        assert "was edited, not by" in caught.value.diff
        assert "--force" in caught.value.remedy

    def test_an_edit_that_serves_another_pair_is_shown(self) -> None:
        with pytest.raises(EditedError):
            decide(Host().wired(self.EDITED.replace(SERVICE.cert, "/o.pem")))

    def test_force_overwrites_it(self) -> None:
        made = decide(Host().wired(self.EDITED), force=True)
        assert made.files[0].text == vhost.render(SERVICE, SETTINGS, OLD)

    def test_force_never_overwrites_what_we_did_not_write(self) -> None:
        with pytest.raises(NginxError, match="not written by meshfab"):
            decide(Host(vhosts={Host().vhost_path: "# a person's\n"}), force=True)

    def test_a_name_that_nginx_ignores_is_told(self) -> None:
        host = Host().wired()
        warning = f'nginx: [warn] conflicting server name "{SERVICE.fqdn}" on 0.0.0.0:443, ignored\n'
        state = host.state()
        state = replace(state, nginx_conf=warning + state.nginx_conf)
        assert "ignores one of two servers" in change.decide(state, SERVICE, SETTINGS).notes[0]

    def test_a_name_that_somebody_else_serves_is_not_taken(self) -> None:
        with pytest.raises(NginxError, match=rf"tea\.internal is served by {SHOP}:1 already"):
            decide(beside(block("tea.internal")), sans=("tea.internal",))

    def test_nothing_is_written_where_nginx_would_not_read_it(self) -> None:
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

    def test_nothing_asked_is_every_address(self) -> None:
        assert self.listens() == self.listens("all") == ("443", "[::]:443")

    def test_a_network_is_the_hosts_own_addresses_in_it(self) -> None:
        assert self.listens("10.87.0.0/16") == ("10.87.0.12:443",)
        assert self.listens("10.87.0.0/16", "fd00::/8", "10.87.0.12") == ("10.87.0.12:443", "[fd00::12]:443")

    def test_a_host_without_ipv6_gets_none(self) -> None:
        state = replace(Host().state(), has_ipv6=False)
        assert listeners.listens(state, SERVICE, SETTINGS) == ("443",)

    def test_a_network_that_the_host_is_not_in_is_refused(self) -> None:
        with pytest.raises(NginxError, match=r"192\.0\.2\.1, 10\.87\.0\.12"):
            self.listens("172.16.0.0/12")

    def test_what_was_asked_for_once_is_kept_and_the_settings_count_where_nothing_was(self) -> None:
        host = self.mesh("10.87.0.0/16")
        wired = host.wired(vhost.render(host.service, SETTINGS, OLD, ("10.87.0.12:443",)))
        assert decide(wired, listen=None).reason == ""
        assert decide(wired, listen=("all",)).reason == "it was written for other settings"
        plain = Host().wired()
        moved = replace(plain, settings=replace(SETTINGS, listen=("10.87.0.12",)))
        assert "10.87.0.12:443" in decide(moved).files[0].text

    @pytest.mark.parametrize(("listen", "is_robbed"), ROBBED.items(), ids=ROBBED)
    def test_a_single_address_takes_connections_from_a_wildcard_of_its_family(
        self, listen: str, is_robbed: bool
    ) -> None:
        host = beside(block("shop.internal", listen), self.mesh("10.87.0.12"))
        if is_robbed:
            with pytest.raises(NginxError, match=rf"take the connections there from {SHOP}:2"):
                decide(host)
        assert decide(host, force=True).reason

    def test_where_the_address_is_taken_already_nothing_more_is_lost(self) -> None:
        text = block("a.internal") + block("b.internal", "10.87.0.12:443 ssl")
        assert decide(beside(text, self.mesh("10.87.0.12"))).reason

    def test_what_hides_a_wildcard_is_found(self) -> None:
        state = beside(block("shop.internal", "10.87.0.12:443 ssl")).state()
        assert listeners.overriding_listener(state, "10.87.0.12", 443, VhostPath("/x")) == f"{SHOP}:2"
        assert listeners.overriding_listener(state, "10.87.0.13", 443, VhostPath("/x")) == ""


class TestEndpoint:
    def test_ours_is_asked_for_where_it_listens(self) -> None:
        service = Service.of("gongfoo", SETTINGS, listen=["10.87.0.12"])
        host = Host(service=service).wired(vhost.render(service, SETTINGS, OLD, ("10.87.0.12:443",)))
        assert change.serving_endpoint(host.state(), service, SETTINGS) == Endpoint(("10.87.0.12",))

    @pytest.mark.parametrize("listen", BEHIND)
    def test_theirs_behind_a_proxy_of_the_host_is_asked_for_where_that_listens(self, listen: str) -> None:
        state = beside(block(listen=listen, pair=PAIR)).state()
        assert change.serving_endpoint(state, SERVICE, SETTINGS) == Endpoint()

    def test_theirs_is_asked_for_at_its_own_address(self) -> None:
        state = beside(block(listen="10.87.0.12:8443 ssl", pair=PAIR)).state()
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
    def test_a_stopped_one_is_started_only_when_asked(self, active: str) -> None:
        with pytest.raises(NginxError, match="give --start"):
            self.make(self.host(active))
        assert self.make(self.host(active), start=True).starts

    @pytest.mark.parametrize("active", ["inactive", "active"])
    def test_a_masked_one_is_refused(self, active: str) -> None:
        with pytest.raises(NginxError, match="masked"):
            self.make(self.host(active, "masked"), start=True)

    def test_a_mint_alone_does_not_care(self) -> None:
        host = replace(self.host("inactive").wired(), cert=None, public=None)
        made = planned(host.state(), parts=frozenset({"mint"}))
        assert [step.verb for step in made.steps] == ["mint"]
        assert made.endpoint is None


class TestTransaction:
    def made(self, host: Host, **asked: Any) -> Plan:
        return planned(host.state(), replace(SERVICE, **asked), parts=frozenset({"wire-nginx"}))

    def test_debians_link_is_made_once(self) -> None:
        host = Host(conf={MAIN: DEBIAN_CONF}, has_sites=True)
        made = self.made(host)
        site = f"/etc/nginx/sites-available/{SERVICE.fqdn}.conf"
        link = f"/etc/nginx/sites-enabled/{SERVICE.fqdn}.conf"
        args = activation.install(host.state(), [made.activation]).args
        assert args[:7] == ("open", "/var/log/nginx/error.log", "", SERVICE.fqdn, site, link, link)
        linked = replace(host, conf={MAIN: DEBIAN_CONF, link: vhost.render(SERVICE, SETTINGS, OLD)})
        linked.vhosts = {site: vhost.render(SERVICE, SETTINGS, OLD)}
        again = activation.install(linked.state(), [self.made(linked, upstream="http://127.0.0.1:1").activation]).args
        assert again[0] == "reload"
        assert again[5:7] == ("", link)

    def test_a_snippet_that_nothing_includes_is_not_loaded(self) -> None:
        made = self.made(Host(), vhost=False)
        args = activation.install(Host().state(), [made.activation]).args
        assert (args[0], args[3], args[6]) == ("", "", "")
        assert [step.verb for step in made.steps] == ["snippet"]

    def test_the_way_back_names_what_we_wrote(self) -> None:
        made = self.made(Host())
        (file,) = made.nginx_change.files
        assert activation.remove(Host().state(), [made.activation], is_wired=True).args[3:] == (
            file.path,
            "",
            file.digest,
        )

    @pytest.mark.parametrize("status", SAID)
    def test_each_way_to_fail_is_one_line_with_the_word_of_whoever_refused(self, status: int) -> None:
        said, words = SAID[status]
        error = activation.explain(Answer("install_config", status, b"", said), Host().state())
        assert isinstance(error, MeshfabError)
        assert words in str(error)
        assert "what was there before is back" in error.remedy
        assert "\n" not in str(error)

    def test_who_holds_the_lock_is_told(self) -> None:
        error = activation.explain(Answer("install_config", 75, b"", "held by step@tea.service"), Host().state())
        assert isinstance(error, LockedError)
        assert "step@tea.service" in str(error)

    def test_an_address_that_nginx_holds_itself_is_told_apart(self) -> None:
        said = "[emerg] 7#7: bind() to 10.87.0.12:443 failed (98: Address already in use)"
        error = activation.explain(Answer("install_config", 7, b"", said), beside(block()).state())
        assert "cannot change between all addresses and single ones" in str(error)
        assert "--start" in error.remedy
