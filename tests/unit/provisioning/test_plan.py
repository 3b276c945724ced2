"""From what is to what is lacking: each state of a host, and the steps that it gets."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from meshfab.config.service import Service
from meshfab.errors import EditedError, NginxError
from meshfab.host import certificate
from meshfab.nginx import vhost
from meshfab.nginx.listeners import Endpoint
from meshfab.provisioning.request import EVERYTHING
from tests.support.certificates import HOUR, NOW, SERVICE, SETTINGS, authority, good_pair
from tests.support.fake_host import DEBIAN_CONF, Host, acl, planned, unit

if TYPE_CHECKING:
    from meshfab.provisioning.plan import Plan

FQDN = SERVICE.fqdn
OLD = authority().pair(FQDN)
NOTHING_INSTALLED = {
    "nginx.service": unit("nginx.service"),
    SERVICE.timer: unit(SERVICE.timer, load="not-found", enabled="", active="inactive"),
}
CANNOT_LOAD = f'nginx: [emerg] cannot load certificate "{SERVICE.cert}": PEM_read_bio_X509_AUX() failed'
OTHER_KEY = f'nginx: [emerg] SSL_CTX_use_PrivateKey("{SERVICE.key}") failed (SSL: error:05800074:key values mismatch)'
BROKEN_BEFORE = 'nginx: [emerg] unknown directive "sever" in /etc/nginx/conf.d/shop.conf:3'


def make(host: Host, served: bytes | str | None = "disk", parts: Any = EVERYTHING, **asked: Any) -> Plan:
    service = replace(host.service, **asked)
    assert host.pair is not None
    shown = host.pair.der if served == "disk" else served
    assert not isinstance(shown, str)
    return planned(host.state(), service, shown, frozenset(parts))


def verbs(made: Plan) -> list[str]:
    return [step.verb for step in made.steps]


def theirs(*, cert: str = SERVICE.cert, key: str = SERVICE.key, names: str = FQDN) -> str:
    """A vhost as a person writes it."""
    return (
        f"server {{\n    listen 443 ssl;\n    server_name {names};\n"
        f"    ssl_certificate {cert};\n    ssl_certificate_key {key};\n}}\n"
    )


def test_where_nothing_is_lacking_the_plan_is_empty() -> None:
    made = make(Host().wired())
    assert made.steps == ()
    assert made.files == ()
    assert made.endpoint == Endpoint()


def test_a_fresh_host_gets_every_step_in_the_order_of_the_flow() -> None:
    fresh = Host(cert=None, public=None, units=NOTHING_INSTALLED, digests={"/x": "0" * 64})
    made = make(fresh, None)
    assert verbs(made) == ["mint", "units", "timer", "vhost"]
    assert SERVICE.cert in str(made.reason("mint"))
    assert {file.path for file in made.files} == {
        "/etc/systemd/system/step@.service",
        "/etc/systemd/system/step@.timer",
        "/usr/local/libexec/meshfab-tick",
        "/etc/meshfab/gongfoo.env",
    }
    assert made.vhost_path is not None
    assert made.vhost_path.path == "/etc/nginx/conf.d/gongfoo.internal.conf"


def wired(**changes: Any) -> Host:
    return Host(**changes).wired()


HALF_DONE: dict[str, tuple[Host, bytes | str | None, list[str], str]] = {
    "units and no pair": (wired(cert=None, public=None), None, ["mint", "reload"], "no certificate"),
    "pair and no timer": (wired(units=NOTHING_INSTALLED), "disk", ["timer"], "not installed"),
    "timer disabled": (
        wired(units={**NOTHING_INSTALLED, SERVICE.timer: unit(SERVICE.timer, enabled="disabled")}),
        "disk",
        ["timer"],
        "disabled",
    ),
    "unit files drifted": (wired(digests={"/x": "0" * 64}), "disk", ["units"], "missing"),
    "vhost missing": (Host(), None, ["vhost"], "answers to the name"),
    "wrong mode": (wired(key_rights="root:root|644"), "disk", ["rights"], "0644"),
    "wrong owner": (wired(cert_rights="nginx:nginx|644"), "disk", ["rights"], "nginx:nginx"),
    "ACL missing": (wired(acl="user::rw-\ngroup::---\nother::---"), "disk", ["rights"], "effective right"),
    "ACL masked": (wired(acl=acl(mask="---")), "disk", ["rights"], "effective right"),
    "wrong SAN": (wired(pair=authority().pair("x.internal")), "disk", ["mint", "reload"], FQDN),
    "expired": (
        wired(pair=authority().pair(FQDN, life=HOUR, start=NOW - 9 * HOUR)),
        "disk",
        ["mint", "reload"],
        "expired",
    ),
    "not yet valid": (wired(pair=authority().pair(FQDN, start=NOW + HOUR)), "disk", ["mint", "reload"], "valid only"),
    "another root's": (wired(pair=authority("Other").pair(FQDN)), "disk", ["mint", "reload"], "chain"),
    "key gone": (wired(public=None), "disk", ["mint", "reload"], "no key"),
    "lost reload": (wired(), OLD.der, ["reload"], "another certificate"),
    "not served": (wired(), None, ["reload"], "nothing answers"),
    "leftovers": (wired(leftovers=True), "disk", ["sweep"], "interrupted"),
    "password left": (wired(secret=True), "disk", ["sweep"], "/tmp/gongfoo-provisioner"),
    "expiring is the timer's work": (wired(pair=authority().pair(FQDN, start=NOW - 17 * HOUR)), "disk", [], ""),
}


@pytest.mark.parametrize(("host", "served", "expected", "why"), HALF_DONE.values(), ids=HALF_DONE)
def test_a_half_done_state_gets_what_it_lacks_with_the_reason(
    host: Host, served: bytes | str | None, expected: list[str], why: str
) -> None:
    made = make(host, served)
    assert verbs(made) == expected
    assert not expected or why in made.steps[0].reason
    assert all(step.reason and "\n" not in step.reason for step in made.steps)


def test_several_faults_of_a_pair_are_one_mint_with_all_reasons() -> None:
    host = wired(pair=authority("Other").pair("x.internal", life=HOUR, start=NOW - 9 * HOUR))
    made = make(host)
    assert verbs(made) == ["mint", "reload"]
    for word in (FQDN, "expired", "chain"):
        assert word in str(made.reason("mint"))


def test_a_pair_that_is_minted_is_not_given_its_rights_as_well() -> None:
    assert verbs(make(wired(cert=None, key_rights="root:root|666"))) == ["mint", "reload"]


@pytest.mark.parametrize("refusal", [CANNOT_LOAD, OTHER_KEY], ids=["cut certificate", "key of another pair"])
@pytest.mark.parametrize("is_debian", [False, True], ids=["fedora", "debian"])
def test_nginx_that_is_broken_by_our_own_pair_is_healed_by_a_mint(refusal: str, is_debian: bool) -> None:
    host = wired(refusal=refusal, public=OLD.public)
    if is_debian:
        host = replace(host, conf={"/etc/nginx/nginx.conf": DEBIAN_CONF}, has_sites=True)
    made = make(host, OLD.der)
    assert verbs(made)[0] == "mint"
    assert "vhost" not in verbs(made)


def test_nginx_that_was_broken_before_we_came_is_reported_and_nothing_else_planned() -> None:
    with pytest.raises(NginxError) as caught:
        make(Host(refusal=BROKEN_BEFORE, cert=None, public=None))
    assert "before this run" in str(caught.value)
    assert 'unknown directive "sever" in /etc/nginx/conf.d/shop.conf:3' in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_that_ours_begins_with_is_not_ours() -> None:
    other = CANNOT_LOAD.replace(SERVICE.cert, "/etc/nginx/tls/cert/gongfoo.internal.pem.bak")
    with pytest.raises(NginxError, match="before this run"):
        make(Host(refusal=other, cert=None, public=None))


@pytest.mark.parametrize("active", ["inactive", "failed"])
def test_nginx_that_is_stopped_is_reported_before_anything_is_done(active: str) -> None:
    units = {**NOTHING_INSTALLED, "nginx.service": unit("nginx.service", active=active)}
    with pytest.raises(NginxError, match="not running") as caught:
        make(Host(cert=None, public=None, units=units), None)
    assert "systemctl start nginx" in str(caught.value)


def test_nginx_that_reloads_just_now_is_running() -> None:
    # A tick, or a neighbour's provision, and nothing that anybody has to do something about.
    units = {**NOTHING_INSTALLED, "nginx.service": unit("nginx.service", active="reloading")}
    assert "vhost" in verbs(make(Host(cert=None, public=None, units=units), None))


def test_a_stopped_nginx_is_no_fault_where_nothing_is_to_be_loaded() -> None:
    host = Host(
        cert=None, public=None, units={**NOTHING_INSTALLED, "nginx.service": unit("nginx.service", active="inactive")}
    )
    assert verbs(make(host, None, ["mint"])) == ["mint"]


def test_units_that_systemd_has_not_read_yet_are_no_finished_state() -> None:
    # A run that died between the files and daemon-reload: the manager goes on with what it read before.
    host = Host(units={"nginx.service": unit("nginx.service"), SERVICE.timer: unit(SERVICE.timer, stale="yes")}).wired()
    assert make(host).steps


class TestLeftovers:
    """A run that lost its machine in the middle of moving a pair in."""

    NEW = good_pair()

    def test_a_move_that_was_interrupted_between_key_and_certificate_is_finished(self) -> None:
        host = wired(pair=OLD, public=self.NEW.public, staged=self.NEW.pem, refusal=OTHER_KEY)
        made = make(host, OLD.der)
        assert verbs(made)[0] == "finish"
        assert "mint" not in verbs(made)

    def test_without_nginx_in_the_way_it_is_finished_too(self) -> None:
        host = wired(pair=OLD, public=self.NEW.public, staged=self.NEW.pem)
        assert verbs(make(host, OLD.der))[0] == "finish"

    @pytest.mark.parametrize(
        "staged",
        [
            OLD.pem,
            "",
            good_pair().pem[:300],
            authority("Other").pair(FQDN).pem,
        ],
        ids=["another key's", "empty", "cut", "another root's"],
    )
    def test_a_staged_certificate_that_is_not_the_keys_is_swept_and_a_new_one_minted(self, staged: str) -> None:
        host = wired(pair=OLD, public=self.NEW.public, staged=staged)
        assert verbs(make(host, OLD.der))[:2] == ["sweep", "mint"]

    def test_beside_a_pair_that_is_sound_they_are_swept(self) -> None:
        assert verbs(make(wired(staged=OLD.pem))) == ["sweep"]


class TestAdopted:
    """A host that a person, or the runbook's script, has set up."""

    def test_a_vhost_that_names_the_pair_is_adopted_as_it_is(self) -> None:
        made = make(Host().wired(theirs(), "/etc/nginx/conf.d/tea.conf"))
        assert made.steps == ()
        assert made.vhost_path is None
        assert "/etc/nginx/conf.d/tea.conf:1" in made.notes[0]
        assert made.endpoint == Endpoint()

    def test_only_the_units_are_replaced(self) -> None:
        digests = {"/etc/systemd/system/step@.service": "0" * 64, "/etc/systemd/system/step@.timer": "0" * 64}
        host = Host(digests=digests).wired(theirs(), "/etc/nginx/conf.d/tea.conf")
        made = make(host)
        assert verbs(made) == ["units"]
        assert "differs" in made.steps[0].reason

    def test_a_lost_reload_is_done_again(self) -> None:
        assert verbs(make(Host().wired(theirs(), "/etc/nginx/conf.d/tea.conf"), OLD.der)) == ["reload"]

    def test_a_vhost_of_our_name_that_a_person_wrote_is_theirs(self) -> None:
        assert make(Host().wired(theirs())).steps == ()

    @pytest.mark.parametrize(
        "text",
        [theirs(cert="/etc/ssl/other.pem"), theirs(key="/etc/ssl/other.key")],
        ids=["certificate", "key"],
    )
    def test_a_vhost_that_serves_the_name_with_another_pair_is_refused_by_file_and_line(self, text: str) -> None:
        with pytest.raises(NginxError) as caught:
            make(Host().wired(f"# a shop\n\n{text}", "/etc/nginx/conf.d/shop.conf"))
        assert "/etc/nginx/conf.d/shop.conf:3" in str(caught.value)
        assert f"ssl_certificate {SERVICE.cert};" in str(caught.value)

    def test_our_vhost_that_a_person_edited_is_left_alone(self) -> None:
        text = vhost.render(SERVICE, SETTINGS, (1, 22, 1)).replace("location / {", "location /api {")
        made = make(Host().wired(text))
        assert made.steps == ()
        assert "left as it is" in made.notes[0]

    def test_what_would_undo_an_edit_is_refused(self) -> None:
        text = vhost.render(SERVICE, SETTINGS, (1, 22, 1)).replace("location / {", "location /api {")
        with pytest.raises(EditedError, match="edited by hand"):
            make(Host().wired(text), upstream="http://127.0.0.1:1")

    def test_our_vhost_that_a_person_edited_and_disabled_is_not_overwritten(self) -> None:
        text = vhost.render(SERVICE, SETTINGS, (1, 22, 1)).replace("location / {", "location /api {")
        host = Host(vhosts={"/etc/nginx/conf.d/gongfoo.internal.conf": text})
        with pytest.raises(NginxError, match="edited"):
            make(host)

    def test_our_vhost_that_was_only_disabled_is_enabled_again(self) -> None:
        path = "/etc/nginx/sites-available/gongfoo.internal.conf"
        text = vhost.render(SERVICE, SETTINGS, (1, 22, 1))
        host = Host(
            conf={"/etc/nginx/nginx.conf": DEBIAN_CONF}, has_sites=True, vhosts={path: text}, acl=acl("www-data")
        )
        made = make(host, None)
        assert verbs(made) == ["vhost"]
        assert made.vhost_path is not None
        assert made.vhost_path.link == "/etc/nginx/sites-enabled/gongfoo.internal.conf"

    def test_the_name_on_another_port_is_asked_there(self) -> None:
        text = theirs().replace("listen 443 ssl", "listen 10.87.0.12:8443 ssl")
        assert make(Host().wired(text, "/etc/nginx/conf.d/tea.conf")).endpoint == Endpoint(("10.87.0.12",), 8443)


class TestAsked:
    """What an earlier run was asked for stays, unless this one asks for something else."""

    UPSTREAM = "http://127.0.0.1:8080"

    def proxied(self) -> Host:
        return Host(service=replace(SERVICE, upstream=self.UPSTREAM)).wired()

    def test_an_upstream_that_is_left_out_is_kept(self) -> None:
        made = make(self.proxied(), upstream=None)
        assert made.steps == ()
        assert made.service.upstream == self.UPSTREAM

    def test_another_upstream_rewrites_the_vhost(self) -> None:
        assert verbs(make(self.proxied(), upstream="http://127.0.0.1:9090")) == ["vhost"]

    def test_mtls_that_is_left_out_is_kept(self) -> None:
        host = Host(service=replace(SERVICE, upstream="https://app.internal", mtls=True)).wired()
        made = make(host, upstream=None, mtls=False)
        assert made.steps == ()
        assert made.service.mtls

    def test_names_that_are_left_out_are_kept(self) -> None:
        service = Service.of("gongfoo", SETTINGS, sans=["www.gongfoo.internal"])
        made = make(Host(service=service).wired(), sans=None)
        assert made.steps == ()
        assert made.service.names == service.names

    def test_names_that_are_no_longer_wanted_are_a_mint_and_a_vhost(self) -> None:
        service = Service.of("gongfoo", SETTINGS, sans=["www.gongfoo.internal"])
        assert verbs(make(Host(service=service).wired(), sans=())) == ["mint", "vhost"]

    def test_one_more_name_is_a_mint_and_a_vhost(self) -> None:
        made = make(wired(), sans=("www.gongfoo.internal",))
        assert verbs(made) == ["mint", "vhost"]
        assert "www.gongfoo.internal" in str(made.reason("mint"))

    def test_an_upstream_that_nobody_would_have_been_allowed_is_not_taken_from_the_host(self) -> None:
        text = vhost.render(replace(SERVICE, upstream=self.UPSTREAM), SETTINGS, (1, 22, 1))
        host = Host().wired(text.replace(f'"{self.UPSTREAM}"', '"http://x; evil"'))
        with pytest.raises(NginxError, match="upstream"):
            make(host, upstream=None)


def test_no_vhost_leaves_the_vhost_to_the_operator_and_says_that_nothing_proves_the_pair() -> None:
    made = make(Host(), None, vhost=False)
    assert verbs(made) == ["snippet"]
    assert FQDN in made.notes[0]
    assert made.endpoint is None


def test_no_vhost_with_a_vhost_of_theirs_is_proved_all_the_same() -> None:
    made = make(Host().wired(theirs(), "/etc/nginx/conf.d/tea.conf"), vhost=False)
    assert made.steps == ()
    assert made.endpoint == Endpoint()


PARTS: dict[str, tuple[list[str], list[str]]] = {
    "mint": (["mint"], ["mint"]),
    "renew-enable": (["renew-enable"], ["units", "timer"]),
    "wire-nginx": (["wire-nginx"], ["vhost"]),
}


@pytest.mark.parametrize(("parts", "expected"), PARTS.values(), ids=PARTS)
def test_one_step_alone_does_its_part_and_no_other(parts: list[str], expected: list[str]) -> None:
    fresh = Host(cert=None, public=None, units=NOTHING_INSTALLED, digests={"/x": "0" * 64})
    assert verbs(make(fresh, None, parts)) == expected


def test_debians_layout_gets_a_link() -> None:
    host = Host(conf={"/etc/nginx/nginx.conf": DEBIAN_CONF}, has_sites=True, acl=acl("www-data"))
    made = make(host, None)
    assert made.vhost_path is not None
    assert made.vhost_path.path == "/etc/nginx/sites-available/gongfoo.internal.conf"
    assert made.vhost_path.link == "/etc/nginx/sites-enabled/gongfoo.internal.conf"


def test_a_folder_of_the_settings_counts_more_than_the_layout() -> None:
    settings = replace(SETTINGS, conf_dir="/etc/nginx/mesh.d")
    main = DEBIAN_CONF.replace("conf.d", "mesh.d")
    host = Host(conf={"/etc/nginx/nginx.conf": main}, has_sites=True, settings=settings, acl=acl("www-data"))
    made = planned(host.state(), settings=settings)
    assert made.vhost_path is not None
    assert (made.vhost_path.path, made.vhost_path.link) == ("/etc/nginx/mesh.d/gongfoo.internal.conf", "")


def test_a_folder_that_nginx_does_not_read_is_refused_with_the_line_that_is_missing() -> None:
    settings = replace(SETTINGS, conf_dir="/etc/nginx/mesh.d")
    with pytest.raises(NginxError, match="add `include /etc/nginx/mesh"):
        planned(Host(settings=settings).state(), settings=settings)


def test_the_expiry_is_judged_by_the_hosts_own_clock() -> None:
    host = wired(now=NOW + 25 * HOUR)
    assert certificate.read_leaf(host.cert or "").not_after > NOW
    assert verbs(make(host)) == ["mint", "reload"]
