"""What is wrong with a service on a host, each fault by its stable code."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from meshfab.checks import finding, service_checks
from meshfab.checks.service_checks import key_acl_right
from meshfab.config.service import Service
from meshfab.host import certificate, renewal_units
from meshfab.host.facts import Stat
from tests.support.certificates import HOUR, NOW, SERVICE, SETTINGS, authority, good_pair
from tests.support.fake_host import Host, acl, unit

FQDN = SERVICE.fqdn


def codes(found: list[finding.Finding]) -> dict[str, str]:
    return {one.code: one.status for one in found}


def of_pair(host: Host) -> dict[str, str]:
    return codes(service_checks.check_pair(host.state(), host.service))


def test_a_host_where_all_is_done_has_no_findings() -> None:
    host = Host()
    state, service = host.state(), host.service
    wanted = renewal_units.wanted(service, SETTINGS)
    assert service_checks.check_pair(state, service) == []
    assert service_checks.check_renewal(state, service, wanted) == []


PAIR: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "no pair": ({"cert": None, "public": None}, {"cert-missing": "critical"}),
    "no certificate": ({"cert": None}, {"cert-missing": "critical"}),
    "empty certificate": ({"cert": "\n"}, {"cert-unreadable": "critical"}),
    "cut certificate": ({"cert": good_pair().pem[:200]}, {"cert-unreadable": "critical"}),
    "no key": ({"public": None}, {"key-missing": "critical"}),
    "another key": ({"public": authority().pair(FQDN).public}, {"key-mismatch": "critical"}),
    "unreadable key": ({"public": "\n"}, {"key-mismatch": "critical"}),
    "expired": ({"pair": authority().pair(FQDN, start=NOW - 2 * HOUR, life=HOUR)}, {"cert-expired": "critical"}),
    "expired to the second": (
        {"pair": authority().pair(FQDN, start=NOW - HOUR, life=HOUR)},
        {"cert-expired": "critical"},
    ),
    "expiring": ({"pair": authority().pair(FQDN, start=NOW - 17 * HOUR)}, {"cert-expiring": "warning"}),
    "not yet valid": ({"pair": authority().pair(FQDN, start=NOW + HOUR)}, {"cert-not-yet-valid": "critical"}),
    "other names": ({"pair": authority().pair("other.internal")}, {"san-mismatch": "critical"}),
    "name in the subject only": ({"pair": authority().pair(subject=FQDN)}, {"san-mismatch": "critical"}),
    "another authority": ({"pair": authority("Other").pair(FQDN)}, {"chain-untrusted": "critical"}),
    "without the intermediate": ({"pair": authority().pair(FQDN, without_chain=True)}, {"chain-untrusted": "critical"}),
    "no root on the host": ({"root": None}, {"chain-untrusted": "critical"}),
    "key for the group": ({"key_rights": "root:root|660"}, {"mode-drift": "warning"}),
    "key for all": ({"key_rights": "root:root|644"}, {"mode-drift": "critical"}),
    "key of another owner": ({"key_rights": "nginx:root|640"}, {"mode-drift": "warning"}),
    "key of another group": ({"key_rights": "root:adm|640"}, {"mode-drift": "warning"}),
    "certificate for root alone": ({"cert_rights": "root:root|600"}, {"mode-drift": "warning"}),
    "no ACL": ({"acl": "user::rw-\ngroup::r--\nother::---"}, {"acl-missing": "warning"}),
    "masked ACL": ({"acl": acl(mask="---")}, {"acl-missing": "warning"}),
    "somebody else's ACL": ({"acl": acl("www-data")}, {"acl-missing": "warning"}),
}


@pytest.mark.parametrize(("changes", "expected"), PAIR.values(), ids=PAIR)
def test_each_fault_of_a_pair_is_found_and_no_other(changes: dict[str, Any], expected: dict[str, str]) -> None:
    assert of_pair(Host(**changes)) == expected


def test_a_key_without_a_certificate_is_still_judged_for_its_rights() -> None:
    assert of_pair(Host(cert=None, key_rights="root:root|644")) == {
        "cert-missing": "critical",
        "mode-drift": "critical",
    }


def test_names_that_were_asked_for_are_missed_and_others_are_named() -> None:
    asked = Service.of("gongfoo", SETTINGS, sans=["a.internal"])
    host = Host(service=asked, pair=authority().pair(FQDN, "b.internal"))
    (found,) = service_checks.check_pair(host.state(), asked)
    assert found.code == "san-mismatch"
    assert "a.internal" in found.message
    assert "b.internal" in found.message


def test_more_names_than_asked_are_no_fault_when_nothing_was_asked() -> None:
    assert of_pair(Host(pair=authority().pair(FQDN, "b.internal"))) == {}


RENEWAL: dict[str, tuple[str, dict[str, str]]] = {
    "never installed": (
        unit(SERVICE.timer, load="not-found", enabled="", active="inactive"),
        {"timer-missing": "critical"},
    ),
    "disabled": (unit(SERVICE.timer, enabled="disabled"), {"timer-missing": "critical"}),
    "enabled and stopped": (unit(SERVICE.timer, active="inactive"), {"timer-missing": "critical"}),
    "failed": (unit(SERVICE.timer, active="failed"), {"timer-missing": "critical"}),
    "masked": (unit(SERVICE.timer, load="masked", enabled="masked", active="inactive"), {"timer-missing": "critical"}),
    "unheard of": ("", {"timer-missing": "critical"}),
    "enabled and active": (unit(SERVICE.timer), {}),
}


@pytest.mark.parametrize(("shown", "expected"), RENEWAL.values(), ids=RENEWAL)
def test_a_timer_that_does_not_run_is_found(shown: str, expected: dict[str, str]) -> None:
    host = Host(units={"nginx.service": unit("nginx.service"), SERVICE.timer: shown})
    wanted = renewal_units.wanted(SERVICE, SETTINGS)
    assert codes(service_checks.check_renewal(host.state(), SERVICE, wanted)) == expected


def test_unit_files_that_differ_or_are_missing_are_named() -> None:
    wanted = renewal_units.wanted(SERVICE, SETTINGS)
    service, timer = (f"/etc/systemd/system/step@.{kind}" for kind in ("service", "timer"))
    digests = {**{file.path: file.digest for file in wanted}, service: "0" * 64}
    del digests[timer]
    (found,) = service_checks.check_renewal(Host(digests=digests).state(), SERVICE, wanted)
    assert (found.code, found.status) == ("unit-drift", "warning")
    assert "step@.service differs" in found.message
    assert "step@.timer is missing" in found.message
    assert "meshfab-tick" not in found.message


def test_a_tick_that_systemd_could_not_run_and_units_that_it_has_not_read_are_named() -> None:
    wanted = renewal_units.wanted(SERVICE, SETTINGS)
    state = Host(units={SERVICE.timer: unit(SERVICE.timer, stale="yes")}).state()
    state = replace(
        state, stats={**state.stats, "/usr/local/libexec/meshfab-tick": Stat("regular file", "root:root", 0o644)}
    )
    (found,) = service_checks.check_renewal(state, SERVICE, wanted)
    assert "meshfab-tick has the mode 0644" in found.message
    assert f"systemd has not read {SERVICE.timer} yet" in found.message


def test_what_a_client_gets_is_compared_with_the_disk() -> None:
    disk = certificate.read_leaf(good_pair().pem)
    assert service_checks.check_served(SERVICE, disk, disk.der) == []
    assert codes(service_checks.check_served(SERVICE, disk, b"other")) == {"served-stale": "critical"}
    (found,) = service_checks.check_served(SERVICE, disk, None, "connection refused")
    assert (found.code, found.status) == ("not-served", "critical")
    assert "connection refused" in found.message


ACLS = {
    "its own entry": (acl(), "r--"),
    "mask takes it all": (acl(mask="---"), "---"),
    "mask takes a part": (acl(right="rw-", mask="r--"), "r--"),
    "mask is wider": (acl(right="r--", mask="rwx"), "r--"),
    "no mask": ("user::rw-\nuser:nginx:r--\ngroup::---\nother::---", "r--"),
    "entry without a right": (acl(right="---"), "---"),
    "somebody else's": (acl("www-data"), "---"),
    "a user of a longer name": (acl("nginx2"), "---"),
    "a group of that name": ("user::rw-\ngroup:nginx:r--\nmask::r--\nother::---", "---"),
    "a default entry": ("default:user:nginx:r--\nmask::r--", "---"),
    "nothing": ("", "---"),
    "junk": ("::: user:nginx mask", "---"),
}


@pytest.mark.parametrize(("text", "right"), ACLS.values(), ids=ACLS)
def test_an_acls_right_is_the_effective_one(text: str, right: str) -> None:
    assert key_acl_right(text, "nginx") == right


def test_a_finding_says_one_line() -> None:
    for changes, _ in PAIR.values():
        for found in service_checks.check_pair(replace(Host(**changes)).state(), SERVICE):
            assert found.message
            assert "\n" not in found.message
