"""The missing steps: each state of a host, and the steps that its plan has."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from meshfab.config.service import Service
from meshfab.errors import EditedError, NginxError, NotReadyError
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


def plan_for(host: Host, served: bytes | str | None = "disk", parts: Any = EVERYTHING, **requested: Any) -> Plan:
    service = replace(host.service, **requested)
    assert host.pair is not None
    served_leaf = host.pair.der if served == "disk" else served
    assert not isinstance(served_leaf, str)
    return planned(host.state(), service, served_leaf, frozenset(parts))


def verbs(plan: Plan) -> list[str]:
    return [step.verb for step in plan.steps]


def unmanaged_vhost(*, cert: str = SERVICE.cert, key: str = SERVICE.key, names: str = FQDN) -> str:
    """A vhost as an operator writes it."""
    return (
        f"server {{\n    listen 443 ssl;\n    server_name {names};\n"
        f"    ssl_certificate {cert};\n    ssl_certificate_key {key};\n}}\n"
    )


def test_a_converged_host_has_an_empty_plan() -> None:
    plan = plan_for(Host().with_vhost())
    assert plan.steps == ()
    assert plan.files == ()
    assert plan.endpoint == Endpoint()


def test_a_fresh_host_gets_every_step_in_order() -> None:
    fresh = Host(cert=None, public=None, units=NOTHING_INSTALLED, digests={"/x": "0" * 64})
    plan = plan_for(fresh, None)
    assert verbs(plan) == ["mint", "units", "timer", "vhost"]
    assert SERVICE.cert in str(plan.reason("mint"))
    assert {file.path for file in plan.files} == {
        "/etc/systemd/system/step@.service",
        "/etc/systemd/system/step@.timer",
        "/usr/local/libexec/meshfab-tick",
        "/usr/local/libexec/meshfab-history",
        "/etc/meshfab/gongfoo.env",
    }
    assert plan.vhost_path is not None
    assert plan.vhost_path.path == "/etc/nginx/conf.d/gongfoo.internal.conf"


def host_with_vhost(**changes: Any) -> Host:
    return Host(**changes).with_vhost()


HALF_DONE: dict[str, tuple[Host, bytes | str | None, list[str], str]] = {
    "units and no pair": (host_with_vhost(cert=None, public=None), None, ["mint", "reload"], "no certificate"),
    "pair and no timer": (host_with_vhost(units=NOTHING_INSTALLED), "disk", ["timer"], "not installed"),
    "timer disabled": (
        host_with_vhost(units={**NOTHING_INSTALLED, SERVICE.timer: unit(SERVICE.timer, enabled="disabled")}),
        "disk",
        ["timer"],
        "disabled",
    ),
    "unit files drifted": (host_with_vhost(digests={"/x": "0" * 64}), "disk", ["units"], "missing"),
    "vhost missing": (Host(), None, ["vhost"], "answers to the name"),
    "wrong mode": (host_with_vhost(key_rights="root:root|644"), "disk", ["rights"], "0644"),
    "wrong owner": (host_with_vhost(cert_rights="nginx:nginx|644"), "disk", ["rights"], "nginx:nginx"),
    "ACL missing": (host_with_vhost(acl="user::rw-\ngroup::---\nother::---"), "disk", ["rights"], "effective right"),
    "ACL masked": (host_with_vhost(acl=acl(mask="---")), "disk", ["rights"], "effective right"),
    "wrong SAN": (host_with_vhost(pair=authority().pair("x.internal")), "disk", ["mint", "reload"], FQDN),
    "expired": (
        host_with_vhost(pair=authority().pair(FQDN, life=HOUR, start=NOW - 9 * HOUR)),
        "disk",
        ["mint", "reload"],
        "expired",
    ),
    "not yet valid": (
        host_with_vhost(pair=authority().pair(FQDN, start=NOW + HOUR)),
        "disk",
        ["mint", "reload"],
        "valid only",
    ),
    "signed by another root": (
        host_with_vhost(pair=authority("Other").pair(FQDN)),
        "disk",
        ["mint", "reload"],
        "chain",
    ),
    "key gone": (host_with_vhost(public=None), "disk", ["mint", "reload"], "no key"),
    "lost reload": (host_with_vhost(), OLD.der, ["reload"], "another certificate"),
    "not served": (host_with_vhost(), None, ["reload"], "nothing answers"),
    "leftovers": (host_with_vhost(leftovers=True), "disk", ["sweep"], "interrupted"),
    "password left": (host_with_vhost(secret=True), "disk", ["sweep"], "/tmp/gongfoo-provisioner"),
    "expiring soon is left to the timer": (
        host_with_vhost(pair=authority().pair(FQDN, start=NOW - 17 * HOUR)),
        "disk",
        [],
        "",
    ),
}


@pytest.mark.parametrize(("host", "served", "expected", "why"), HALF_DONE.values(), ids=HALF_DONE)
def test_a_half_done_host_gets_the_missing_steps_with_their_reasons(
    host: Host, served: bytes | str | None, expected: list[str], why: str
) -> None:
    plan = plan_for(host, served)
    assert verbs(plan) == expected
    assert not expected or why in plan.steps[0].reason
    assert all(step.reason and "\n" not in step.reason for step in plan.steps)


def test_several_faults_of_a_pair_are_one_mint_with_all_reasons() -> None:
    host = host_with_vhost(pair=authority("Other").pair("x.internal", life=HOUR, start=NOW - 9 * HOUR))
    plan = plan_for(host)
    assert verbs(plan) == ["mint", "reload"]
    for word in (FQDN, "expired", "chain"):
        assert word in str(plan.reason("mint"))


def test_a_new_pair_needs_no_step_for_permissions() -> None:
    assert verbs(plan_for(host_with_vhost(cert=None, key_rights="root:root|666"))) == ["mint", "reload"]


@pytest.mark.parametrize("refusal", [CANNOT_LOAD, OTHER_KEY], ids=["cut certificate", "key of another pair"])
@pytest.mark.parametrize("is_debian", [False, True], ids=["fedora", "debian"])
def test_a_configuration_that_nginx_refuses_because_of_the_pair_is_healed_by_a_mint(
    refusal: str, is_debian: bool
) -> None:
    host = host_with_vhost(refusal=refusal, public=OLD.public)
    if is_debian:
        host = replace(host, conf={"/etc/nginx/nginx.conf": DEBIAN_CONF}, has_sites=True)
    plan = plan_for(host, OLD.der)
    assert verbs(plan)[0] == "mint"
    assert "vhost" not in verbs(plan)


def test_a_configuration_that_was_broken_before_the_run_is_an_error() -> None:
    with pytest.raises(NginxError) as caught:
        plan_for(Host(refusal=BROKEN_BEFORE, cert=None, public=None))
    assert "before this run" in str(caught.value)
    assert 'unknown directive "sever" in /etc/nginx/conf.d/shop.conf:3' in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_path_that_begins_with_the_path_of_the_pair_is_another_file() -> None:
    other = CANNOT_LOAD.replace(SERVICE.cert, "/etc/nginx/tls/cert/gongfoo.internal.pem.bak")
    with pytest.raises(NginxError, match="before this run"):
        plan_for(Host(refusal=other, cert=None, public=None))


@pytest.mark.parametrize("active", ["inactive", "failed"])
def test_a_stopped_nginx_is_an_error_before_anything_is_done(active: str) -> None:
    units = {**NOTHING_INSTALLED, "nginx.service": unit("nginx.service", active=active)}
    with pytest.raises(NginxError, match="not running") as caught:
        plan_for(Host(cert=None, public=None, units=units), None)
    assert "systemctl start nginx" in str(caught.value)


def test_an_nginx_that_is_reloading_counts_as_running() -> None:
    # A tick or another run reloads it; nobody has to do anything.
    units = {**NOTHING_INSTALLED, "nginx.service": unit("nginx.service", active="reloading")}
    assert "vhost" in verbs(plan_for(Host(cert=None, public=None, units=units), None))


def test_a_stopped_nginx_is_allowed_when_nothing_must_be_loaded() -> None:
    host = Host(
        cert=None, public=None, units={**NOTHING_INSTALLED, "nginx.service": unit("nginx.service", active="inactive")}
    )
    assert verbs(plan_for(host, None, ["mint"])) == ["mint"]


@pytest.mark.parametrize(
    "folder", ["/usr/local/libexec", "/etc/nginx/tls/key", "/etc/nginx/conf.d", "/tmp", "/run/meshfab"]
)
def test_a_read_only_folder_is_an_error_before_anything_is_done(folder: str) -> None:
    fresh = Host(cert=None, public=None, units=NOTHING_INSTALLED, digests={"/none": "0"}, unwritable=folder)
    with pytest.raises(NotReadyError, match=f"{folder} cannot be written, and nothing was changed"):
        plan_for(fresh, served=None)


def test_a_read_only_folder_in_which_nothing_is_missing_is_no_error() -> None:
    converged = replace(Host().with_vhost(), unwritable="/usr/local/libexec\n/etc/nginx/tls/key\n/tmp")
    assert plan_for(converged).steps == ()


def test_units_that_systemd_has_not_read_yet_need_a_step() -> None:
    # A run ended between the files and daemon-reload: systemd still has the old units in memory.
    host = Host(
        units={"nginx.service": unit("nginx.service"), SERVICE.timer: unit(SERVICE.timer, stale="yes")}
    ).with_vhost()
    assert plan_for(host).steps


class TestLeftovers:
    """A power cut interrupted a run while it moved a pair into place."""

    NEW = good_pair()

    def test_a_move_that_was_interrupted_between_key_and_certificate_is_completed(self) -> None:
        host = host_with_vhost(pair=OLD, public=self.NEW.public, staged=self.NEW.pem, refusal=OTHER_KEY)
        plan = plan_for(host, OLD.der)
        assert verbs(plan)[0] == "finish"
        assert "mint" not in verbs(plan)

    def test_an_interrupted_move_is_completed_also_when_nginx_reports_no_error(self) -> None:
        host = host_with_vhost(pair=OLD, public=self.NEW.public, staged=self.NEW.pem)
        assert verbs(plan_for(host, OLD.der))[0] == "finish"

    @pytest.mark.parametrize(
        "staged",
        [
            OLD.pem,
            "",
            good_pair().pem[:300],
            authority("Other").pair(FQDN).pem,
        ],
        ids=["of another key", "empty", "cut", "signed by another root"],
    )
    def test_a_staged_certificate_of_another_key_is_removed_and_a_new_pair_minted(self, staged: str) -> None:
        host = host_with_vhost(pair=OLD, public=self.NEW.public, staged=staged)
        assert verbs(plan_for(host, OLD.der))[:2] == ["sweep", "mint"]

    def test_leftovers_beside_a_valid_pair_are_removed(self) -> None:
        assert verbs(plan_for(host_with_vhost(staged=OLD.pem))) == ["sweep"]


class TestAdopted:
    """A host that an operator, or the runbook's script, has set up."""

    def test_a_vhost_that_names_the_pair_is_adopted_unchanged(self) -> None:
        plan = plan_for(Host().with_vhost(unmanaged_vhost(), "/etc/nginx/conf.d/tea.conf"))
        assert plan.steps == ()
        assert plan.vhost_path is None
        assert "/etc/nginx/conf.d/tea.conf:1" in plan.notes[0]
        assert plan.endpoint == Endpoint()

    def test_only_the_units_are_replaced(self) -> None:
        digests = {"/etc/systemd/system/step@.service": "0" * 64, "/etc/systemd/system/step@.timer": "0" * 64}
        host = Host(digests=digests).with_vhost(unmanaged_vhost(), "/etc/nginx/conf.d/tea.conf")
        plan = plan_for(host)
        assert verbs(plan) == ["units"]
        assert "differs" in plan.steps[0].reason

    def test_a_missing_reload_is_done(self) -> None:
        assert verbs(plan_for(Host().with_vhost(unmanaged_vhost(), "/etc/nginx/conf.d/tea.conf"), OLD.der)) == [
            "reload"
        ]

    def test_a_vhost_at_our_path_that_an_operator_wrote_is_unmanaged(self) -> None:
        assert plan_for(Host().with_vhost(unmanaged_vhost())).steps == ()

    @pytest.mark.parametrize(
        "text",
        [unmanaged_vhost(cert="/etc/ssl/other.pem"), unmanaged_vhost(key="/etc/ssl/other.key")],
        ids=["certificate", "key"],
    )
    def test_a_vhost_that_serves_the_name_with_another_pair_is_refused_by_file_and_line(self, text: str) -> None:
        with pytest.raises(NginxError) as caught:
            plan_for(Host().with_vhost(f"# a shop\n\n{text}", "/etc/nginx/conf.d/shop.conf"))
        assert "/etc/nginx/conf.d/shop.conf:3" in str(caught.value)
        assert f"ssl_certificate {SERVICE.cert};" in str(caught.value)

    def test_an_edited_managed_vhost_is_left_unchanged(self) -> None:
        text = vhost.render(SERVICE, SETTINGS, (1, 22, 1)).replace("location / {", "location /api {")
        plan = plan_for(Host().with_vhost(text))
        assert plan.steps == ()
        assert "left as it is" in plan.notes[0]

    def test_options_that_would_undo_an_edit_are_refused(self) -> None:
        text = vhost.render(SERVICE, SETTINGS, (1, 22, 1)).replace("location / {", "location /api {")
        with pytest.raises(EditedError, match="edited by hand"):
            plan_for(Host().with_vhost(text), upstream="http://127.0.0.1:1")

    def test_an_edited_and_disabled_managed_vhost_is_not_overwritten(self) -> None:
        text = vhost.render(SERVICE, SETTINGS, (1, 22, 1)).replace("location / {", "location /api {")
        host = Host(vhosts={"/etc/nginx/conf.d/gongfoo.internal.conf": text})
        with pytest.raises(NginxError, match="edited"):
            plan_for(host)

    def test_a_disabled_managed_vhost_is_enabled_again(self) -> None:
        path = "/etc/nginx/sites-available/gongfoo.internal.conf"
        text = vhost.render(SERVICE, SETTINGS, (1, 22, 1))
        host = Host(
            conf={"/etc/nginx/nginx.conf": DEBIAN_CONF}, has_sites=True, vhosts={path: text}, acl=acl("www-data")
        )
        plan = plan_for(host, None)
        assert verbs(plan) == ["vhost"]
        assert plan.vhost_path is not None
        assert plan.vhost_path.link == "/etc/nginx/sites-enabled/gongfoo.internal.conf"

    def test_a_vhost_on_another_port_is_asked_at_that_port(self) -> None:
        text = unmanaged_vhost().replace("listen 443 ssl", "listen 10.87.0.12:8443 ssl")
        assert plan_for(Host().with_vhost(text, "/etc/nginx/conf.d/tea.conf")).endpoint == Endpoint(
            ("10.87.0.12",), 8443
        )


class TestPreviousOptions:
    """The options of an earlier run are kept, unless this run gives other ones."""

    UPSTREAM = "http://127.0.0.1:8080"

    def proxied(self) -> Host:
        return Host(service=replace(SERVICE, upstream=self.UPSTREAM)).with_vhost()

    def test_an_upstream_that_is_not_given_is_kept(self) -> None:
        plan = plan_for(self.proxied(), upstream=None)
        assert plan.steps == ()
        assert plan.service.upstream == self.UPSTREAM

    def test_another_upstream_rewrites_the_vhost(self) -> None:
        assert verbs(plan_for(self.proxied(), upstream="http://127.0.0.1:9090")) == ["vhost"]

    def test_mtls_that_is_not_given_is_kept(self) -> None:
        host = Host(service=replace(SERVICE, upstream="https://app.internal", mtls=True)).with_vhost()
        plan = plan_for(host, upstream=None, mtls=False)
        assert plan.steps == ()
        assert plan.service.mtls

    def test_how_the_upstream_is_asked_is_kept_with_the_upstream_and_not_without(self) -> None:
        unverified = replace(SERVICE, upstream="https://10.87.0.13", verify_upstream=False, keep_host=True)
        host = Host(service=unverified).with_vhost()
        plan = plan_for(host, upstream=None, verify_upstream=True, keep_host=False)
        assert plan.steps == ()
        assert (plan.service.verify_upstream, plan.service.keep_host) == (False, True)
        plan = plan_for(host, upstream="https://app.internal", verify_upstream=True, keep_host=False)
        assert verbs(plan) == ["vhost"]
        assert (plan.service.verify_upstream, plan.service.keep_host) == (True, False)

    def test_an_upstream_of_an_earlier_version_is_verified_from_now_on(self) -> None:
        def earlier(upstream: str) -> Host:
            service = replace(SERVICE, upstream=upstream, verify_upstream=False)
            text = vhost.render(service, SETTINGS, (1, 22, 1))
            return Host(service=service).with_vhost(text.replace('"verify_upstream": false, ', "", 1))

        plan = plan_for(earlier("https://app.internal"), upstream=None, verify_upstream=True)
        assert verbs(plan) == ["vhost"]
        assert plan.service.verify_upstream
        with pytest.raises(NginxError, match=r"^h2: .*has an address") as caught:
            plan_for(earlier("https://10.87.0.13"), upstream=None, verify_upstream=True)
        assert "--no-verify-upstream" in caught.value.remedy

    def test_names_that_are_not_given_are_kept(self) -> None:
        service = Service.of("gongfoo", SETTINGS, sans=["www.gongfoo.internal"])
        plan = plan_for(Host(service=service).with_vhost(), sans=None)
        assert plan.steps == ()
        assert plan.service.names == service.names

    def test_names_that_are_no_longer_wanted_are_a_mint_and_a_vhost(self) -> None:
        service = Service.of("gongfoo", SETTINGS, sans=["www.gongfoo.internal"])
        assert verbs(plan_for(Host(service=service).with_vhost(), sans=())) == ["mint", "vhost"]

    def test_one_more_name_is_a_mint_and_a_vhost(self) -> None:
        plan = plan_for(host_with_vhost(), sans=("www.gongfoo.internal",))
        assert verbs(plan) == ["mint", "vhost"]
        assert "www.gongfoo.internal" in str(plan.reason("mint"))

    def test_an_invalid_upstream_in_the_header_is_refused(self) -> None:
        text = vhost.render(replace(SERVICE, upstream=self.UPSTREAM), SETTINGS, (1, 22, 1))
        host = Host().with_vhost(text.replace(f'"{self.UPSTREAM}"', '"http://x; evil"'))
        with pytest.raises(NginxError, match="upstream"):
            plan_for(host, upstream=None)


def test_no_vhost_writes_a_snippet_and_notes_that_nothing_proves_the_pair() -> None:
    plan = plan_for(Host(), None, vhost=False)
    assert verbs(plan) == ["snippet"]
    assert FQDN in plan.notes[0]
    assert plan.endpoint is None


def test_no_vhost_with_an_unmanaged_vhost_is_still_proved() -> None:
    plan = plan_for(Host().with_vhost(unmanaged_vhost(), "/etc/nginx/conf.d/tea.conf"), vhost=False)
    assert plan.steps == ()
    assert plan.endpoint == Endpoint()


PARTS: dict[str, tuple[list[str], list[str]]] = {
    "mint": (["mint"], ["mint"]),
    "renew-enable": (["renew-enable"], ["units", "timer"]),
    "wire-nginx": (["wire-nginx"], ["vhost"]),
}


@pytest.mark.parametrize(("parts", "expected"), PARTS.values(), ids=PARTS)
def test_a_single_step_plans_its_own_part_only(parts: list[str], expected: list[str]) -> None:
    fresh = Host(cert=None, public=None, units=NOTHING_INSTALLED, digests={"/x": "0" * 64})
    assert verbs(plan_for(fresh, None, parts)) == expected


def test_debians_layout_needs_a_link() -> None:
    host = Host(conf={"/etc/nginx/nginx.conf": DEBIAN_CONF}, has_sites=True, acl=acl("www-data"))
    plan = plan_for(host, None)
    assert plan.vhost_path is not None
    assert plan.vhost_path.path == "/etc/nginx/sites-available/gongfoo.internal.conf"
    assert plan.vhost_path.link == "/etc/nginx/sites-enabled/gongfoo.internal.conf"


def test_conf_dir_of_the_settings_has_precedence_over_the_layout() -> None:
    settings = replace(SETTINGS, conf_dir="/etc/nginx/mesh.d")
    main = DEBIAN_CONF.replace("conf.d", "mesh.d")
    host = Host(conf={"/etc/nginx/nginx.conf": main}, has_sites=True, settings=settings, acl=acl("www-data"))
    plan = planned(host.state(), settings=settings)
    assert plan.vhost_path is not None
    assert (plan.vhost_path.path, plan.vhost_path.link) == ("/etc/nginx/mesh.d/gongfoo.internal.conf", "")


def test_a_folder_that_nginx_does_not_include_is_refused_with_the_missing_line() -> None:
    settings = replace(SETTINGS, conf_dir="/etc/nginx/mesh.d")
    with pytest.raises(NginxError, match="add `include /etc/nginx/mesh"):
        planned(Host(settings=settings).state(), settings=settings)


def test_the_expiry_is_evaluated_by_the_clock_of_the_host() -> None:
    host = host_with_vhost(now=NOW + 25 * HOUR)
    assert certificate.read_leaf(host.cert or "").not_after > NOW
    assert verbs(plan_for(host)) == ["mint", "reload"]


def test_a_certificate_that_nobody_recorded_is_recorded_and_only_that() -> None:
    plan = plan_for(Host(history=None).with_vhost())
    assert [(step.verb, step.reason) for step in plan.steps] == [
        ("record", "the host's history lacks this certificate")
    ]
    assert verbs(plan_for(Host().with_vhost())) == []
    assert verbs(plan_for(Host(history=None).with_vhost(), parts={"mint"})) == []


def test_a_new_pair_needs_no_step_to_be_recorded() -> None:
    assert "record" not in verbs(plan_for(Host(cert=None, history=None).with_vhost(), None))
