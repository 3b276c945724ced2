"""From a survey and what clients see to reports: what the lab cannot make cheaply, and every mixture."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.hashes import SHA256

from meshfab.checks import evaluate, remedies
from meshfab.checks.endpoint_probe import EndpointObservation
from meshfab.checks.finding import Finding
from meshfab.config.service import Service
from meshfab.config.settings import Settings
from meshfab.host import certificate, history, renewal_units
from meshfab.host.discovery import OWN
from meshfab.host.facts import Stat, Unit
from meshfab.host.tls_client import Served
from tests.support.certificates import HOUR, NOW, SETTINGS, pem_of
from tests.support.discovered_host import ADDRESS, TEA, observation, pair, root, service_state, survey

if TYPE_CHECKING:
    from meshfab.checks.report import CertificateReport
    from meshfab.host.discovery import Discovery

ASKED = (NOW, NOW + timedelta(seconds=1))


def judged(
    seen: Discovery,
    seen_from_here: EndpointObservation | None = None,
    asked: tuple[Any, Any] = ASKED,
    settings: Settings = SETTINGS,
) -> tuple[CertificateReport, ...]:
    return evaluate.evaluate_host(seen, {"tea.internal": seen_from_here or observation()}, settings, asked)


def codes(one: CertificateReport) -> dict[str, str]:
    return {finding.code: finding.status for finding in one.findings}


def test_nothing_is_wrong_with_a_host_on_which_nothing_is_wrong() -> None:
    tea, own = judged(survey())
    assert (codes(tea), codes(own)) == ({}, {})
    assert (tea.name, tea.kind, tea.served, tea.serial == tea.served_serial) == ("tea", "service", True, True)
    assert tea.timer and tea.timer.next and tea.timer.next.minute == 10
    assert (own.name, own.fqdn, own.kind, own.timer, own.served) == ("h2", "h2.internal", "host", None, None)


@pytest.mark.parametrize(
    ("left", "status"), [(12 * HOUR, "warning"), (HOUR, "critical")], ids=["time enough", "under a third"]
)
def test_a_failed_tick_is_as_bad_as_the_time_that_is_left(left: timedelta, status: str) -> None:
    old = pair("tea.internal", start=NOW + left - 24 * HOUR)
    services = {"tea": service_state("tea.internal", old), OWN: service_state("h2.internal")}
    seen = survey(services=services, failed={"tea": "tea.internal: not renewed:\nthe CA cannot be reached"})
    tea = judged(seen, observation(old.der))[0]
    assert codes(tea)["renewal-failed"] == status
    words = next(one for one in tea.findings if one.code == "renewal-failed")
    assert "not renewed: the CA cannot be reached" in words.message and "\n" not in words.message
    assert words.remedy.endswith("inv renew --name tea --host h2")


@pytest.mark.parametrize(
    ("issued", "rekey_after", "found"),
    [
        (40 * 24 * HOUR, "30d", {"key-old": "warning"}),
        (30 * 24 * HOUR + 23 * HOUR, "30d", {}),
        (40 * 24 * HOUR, None, {}),
        (None, "12h", {}),
    ],
    ids=["old", "the next ticks may still do it", "off", "recorded by nobody"],
)
def test_a_key_that_was_not_replaced_at_its_age_is_found(
    issued: timedelta | None, rekey_after: str | None, found: dict[str, str]
) -> None:
    settings = Settings(rekey_after=rekey_after)
    service = Service.of("tea", settings)
    state, leaf = service_state("tea.internal"), certificate.read_leaf(pair("tea.internal").pem)
    if issued:
        state = replace(state, history=history.parse(history.line(replace(leaf, serial=1, not_before=NOW - issued))))
    digests = {file.path: file.digest for file in renewal_units.wanted(service, settings)}
    seen = survey(services={"tea": state, OWN: service_state("h2.internal")}, digests=digests)
    tea = judged(replace(seen, services=(service,)), settings=settings)[0]
    assert codes(tea) == found
    assert tea.history == state.history
    for finding in tea.findings:
        assert finding.message == "its key is 40 d old, and rekey_after is 30 d"
        assert finding.remedy == "inv rekey --name tea --host h2"


def test_a_certificate_of_another_provisioner_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    leaf = replace(certificate.read_leaf(pair("tea.internal").pem), provisioner="lair")
    monkeypatch.setattr("meshfab.checks.evaluate._leaf", lambda *_: leaf)
    assert codes(judged(survey())[0]) == {}
    tea = judged(survey(declared=frozenset({"tea"})), settings=Settings(provisioner="lair 2"))[0]
    assert codes(tea) == {"provisioner-other": "warning"}
    assert tea.findings[0].remedy == "inv reissue --name tea --host h2 --provisioner 'lair 2'"


@pytest.mark.parametrize("result", ["exit-code", "timeout", "core-dump"])
def test_a_tick_that_died_without_a_word_is_told_by_systemds(result: str) -> None:
    units = {**survey().state.units, "step@tea.service": Unit("loaded", "static", "failed", result)}
    tea = judged(survey(units=units))[0]
    assert result in tea.findings[0].message and "journalctl -u step@tea.service" in tea.findings[0].message
    assert tea.timer and tea.timer.last_result == result


@pytest.mark.parametrize(
    ("shown", "code", "words"),
    [
        (Served(None, ADDRESS, why="Connection refused"), "not-served", "Connection refused"),
        (Served(b"no certificate", ADDRESS), "not-served", "no certificate for it"),
        (Served(pair("other.internal").der, ADDRESS), "not-served", "no certificate for it"),
        (Served(pair("tea.internal", life=HOUR * 30).der, ADDRESS), "served-stale", "another certificate"),
    ],
    ids=["refused", "garbage", "another name", "another leaf"],
)
def test_what_clients_get_is_held_against_the_disk(shown: Served, code: str, words: str) -> None:
    tea = judged(survey(), observation(served=shown))[0]
    assert codes(tea) == {code: "critical"}
    assert words in tea.findings[0].message
    assert tea.served is False


def test_a_declared_vhost_of_the_operator_that_is_not_written_yet_is_a_warning() -> None:
    nobody = observation(served=Served(b"no certificate", ADDRESS))
    service = Service.of("tea", SETTINGS, vhost=False)
    declared = replace(survey(declared=frozenset({"tea"})), services=(service,))
    tea = judged(declared, nobody)[0]
    assert codes(tea) == {"not-served": "warning"}
    assert tea.findings[0].remedy.endswith("include /etc/nginx/snippets/tea.internal.tls.conf;")
    # There is a vhost of theirs; or nginx's configuration, where one may be, cannot be read; or ours is meant to be.
    head = "# configuration file /etc/nginx/nginx.conf:\n"
    written = f"{head}server {{ listen 443 ssl; server_name tea.internal; ssl_certificate {TEA.cert}; }}\n"
    for conf in (written, "nginx: [emerg] boom"):
        state = replace(declared.state, nginx_conf=conf)
        assert codes(judged(replace(declared, state=state), nobody)[0]) == {"not-served": "critical"}
    assert codes(judged(replace(declared, services=(TEA,)), nobody)[0]) == {"not-served": "critical"}


def test_a_stopped_nginx_is_told_to_be_started_and_not_provisioned() -> None:
    units = {**survey().state.units, "nginx.service": Unit("loaded", "enabled", "inactive", "success")}
    tea = judged(survey(units=units), observation(served=Served(None, ADDRESS, why="refused")))[0]
    assert tea.findings[0].remedy == "ssh h2 sudo systemctl start nginx"


@pytest.mark.parametrize(
    ("here", "there", "wrong"),
    [
        ((ADDRESS,), {ADDRESS}, []),
        ((ADDRESS,), {"127.0.0.1"}, []),
        (("10.9.9.9", ADDRESS), {"10.9.9.9", ADDRESS}, []),
        ((), {ADDRESS}, ["nothing here"]),
        ((ADDRESS,), set(), ["nothing on the host"]),
        (("10.9.9.9",), {"10.9.9.9"}, ["10.9.9.9 here", "10.9.9.9 on the host"]),
        (("127.0.0.1",), {ADDRESS}, ["127.0.0.1 here"]),
    ],
)
def test_the_name_must_lead_to_the_host_from_both_sides(here: tuple[str], there: set[str], wrong: list[str]) -> None:
    tea = judged(survey(resolved={"tea": frozenset(there)}), observation(resolved=here))[0]
    assert codes(tea) == ({"dns-mismatch": "warning"} if wrong else {})
    assert all(word in tea.findings[0].message for word in wrong)


@pytest.mark.parametrize(
    ("offset", "before", "after", "skewed"),
    [
        (0, 0, 0.2, False),
        (30, 0, 0.2, False),
        (31, 0, 0.2, True),
        (31, 0, 5, False),
        (-31, 0, 0.2, False),
        (-32, 0, 0.2, True),
        (3600, 0, 60, True),
    ],
    ids=["none", "30 s", "31 s", "31 s seen through 5 s", "31 s behind in whole seconds", "32 s behind", "an hour"],
)
def test_a_slow_line_is_no_skew(offset: float, before: float, after: float, skewed: bool) -> None:
    seen = survey(now=NOW + timedelta(seconds=offset))
    asked = (NOW + timedelta(seconds=before), NOW + timedelta(seconds=after))
    own = judged(seen, asked=asked)[-1]
    assert ("clock-skew" in codes(own)) is skewed


@pytest.mark.parametrize(
    ("content", "is_it"),
    [
        (pem_of(root().certificate), True),
        (pem_of(pair("other").certificate), False),
        (pem_of(root().certificate) + pem_of(pair("other").certificate), False),
        ("", False),
        (None, False),
        ("no PEM", False),
    ],
    ids=["it", "another", "one more", "empty", "none", "no PEM"],
)
def test_the_root_of_a_host_must_be_exactly_the_pinned_one(content: str | None, is_it: bool) -> None:
    seen = survey(root=content)
    pinned = Settings(root_fingerprint=root().certificate.fingerprint(SHA256()).hex())
    own = judged(seen, settings=pinned)[-1]
    assert (codes(own).get("root-mismatch") != "critical") is is_it
    if not is_it:
        [finding] = [one for one in own.findings if one.code == "root-mismatch"]
        assert "\n" not in finding.message and str(pinned.root_fingerprint) in finding.message
        assert "step certificate fingerprint" in finding.remedy
    assert "root-mismatch" not in codes(judged(seen)[-1])


def test_an_orphan_is_only_what_nobody_wants() -> None:
    bare = {name: unit for name, unit in survey().state.units.items() if name != TEA.timer}
    lost = judged(survey(units=bare, vhosted=frozenset()), EndpointObservation())[0]
    assert codes(lost) == {"orphan": "warning"}
    choice = "if tea belongs on h2, declare it there (meshfab.services), then inv apply --host h2; else end it: "
    assert lost.findings[0].remedy == f"{choice}inv retire --name tea --host h2"
    wanted = judged(survey(units=bare, vhosted=frozenset(), declared=frozenset({"tea"})))[0]
    assert codes(wanted) == {"timer-missing": "critical"}


@pytest.mark.parametrize(
    ("settings", "digests", "is_found"),
    [
        (Settings(services={"milk": {"host": "h2"}}), {TEA.env_file: "x"}, True),
        (Settings(services={"milk": {"host": "h1"}}, hosts=("h2",)), {TEA.env_file: "x"}, True),
        (Settings(services={"milk": {"host": "h1"}}), {TEA.env_file: "x"}, False),
        (Settings(hosts=("h2",)), {TEA.env_file: "x"}, False),
        (Settings(services={"milk": {"host": "h2"}}), {}, False),
        (Settings(services={"tea": {"host": "h2"}}), {TEA.env_file: "x"}, False),
    ],
    ids=["another is declared", "host is listed", "host unknown", "nothing declared", "not ours", "declared"],
)
def test_what_prune_would_retire_is_named(settings: Settings, digests: dict[str, str], is_found: bool) -> None:
    declared = frozenset(settings.services) & {"tea"}
    tea = judged(survey(digests=digests, declared=declared), settings=settings)[0]
    assert ("undeclared" in codes(tea)) is is_found
    if is_found:
        [finding] = [one for one in tea.findings if one.code == "undeclared"]
        assert finding.remedy == "declare it for h2 (meshfab.services), or: inv apply --host h2 --prune"


def test_a_timer_and_a_vhost_without_a_pair_are_both_named() -> None:
    gone = survey(
        services={
            "tea": replace(service_state("tea.internal"), cert=None, public=None),
            OWN: service_state("h2.internal"),
        },
        stats={},
    )
    tea = judged(gone, observation(served=Served(None, ADDRESS, why="refused")))[0]
    assert codes(tea) == {"cert-missing": "critical", "not-served": "critical", "orphan": "warning"}
    end = next(one.remedy for one in tea.findings if one.code == "orphan").partition("; else end it: ")[2]
    assert end == "inv retire --name tea --host h2"


def test_the_password_of_a_service_is_its_own_and_others_are_the_hosts() -> None:
    tea, own = judged(survey(secrets=("/tmp/tea-provisioner", "/tmp/.meshfab-0123456789abcdef")))
    assert codes(tea) == codes(own) == {"secret-left": "critical"}
    assert own.findings[0].remedy == "ssh h2 sudo rm -rf /tmp/.meshfab-0123456789abcdef"


def test_an_open_key_of_the_host_is_critical_and_its_other_rights_are_its_own_affair() -> None:
    for mode, wanted in ((0o600, {}), (0o640, {}), (0o644, {"mode-drift": "critical"})):
        stats = {**survey().state.stats, "/own/key": Stat("regular file", "root:ssl", mode)}
        assert codes(judged(survey(stats=stats))[-1]) == wanted


def test_the_hosts_own_name_is_no_part_of_the_command_that_closes_its_key() -> None:
    stats = {**survey().state.stats, "/own/key": Stat("regular file", "root:ssl", 0o644)}
    remedy = judged(survey(stats=stats))[-1].findings[0].remedy
    assert remedy == "ssh h2 'sudo chmod 0600 /etc/pki/tls/private/$(hostname -f).pem'"


def test_what_is_left_out_is_told_in_one_line() -> None:
    own = judged(survey(left_out=30))[-1]
    assert codes(own) == {"left-out": "warning"}
    assert own.findings[0].message.endswith("left out: 30 password files")


def test_a_host_that_cannot_say_its_name_is_critical_and_still_judged() -> None:
    seen = survey(own=None, secrets=("/tmp/left-provisioner",))
    tea, own = judged(seen)
    assert codes(tea) == {}
    assert codes(own) == {"cert-missing": "critical", "secret-left": "critical"}


def expired(*, declared: bool) -> tuple[CertificateReport, ...]:
    """A host with one service whose pair is over, which no client gets, and which does not lead there."""
    seen = survey(
        services={
            "tea": service_state("tea.internal", pair("tea.internal", start=NOW - 30 * HOUR)),
            OWN: service_state("h2.internal"),
        },
        declared=frozenset({"tea"} if declared else ()),
        addresses=("10.6.6.6", ADDRESS),
        resolved={},
    )
    clients = observation(served=Served(None, ADDRESS, why="refused"), resolved=())
    public = {"tea.internal": ("203.0.113.9 (says 9.9.9.9)",)}
    return evaluate.evaluate_host(seen, {"tea.internal": clients}, SETTINGS, ASKED, public, ADDRESS)


def test_a_service_that_only_the_host_claims_gets_neither_a_name_nor_the_password() -> None:
    tea = expired(declared=False)[0]
    assert {"cert-expired", "not-served", "dns-mismatch", "dns-public"} == codes(tea).keys()
    for finding in tea.findings:
        choice = "if tea belongs on h2, declare it there (meshfab.services), then inv apply --host h2; else end it"
        assert finding.remedy == choice, finding


def test_a_declared_service_is_provisioned_and_its_name_leads_where_ssh_reached_the_host() -> None:
    remedy = {finding.code: finding.remedy for finding in expired(declared=True)[0].findings}
    assert remedy["cert-expired"] == remedy["not-served"] == "inv provision --name tea --host h2"
    assert remedy["dns-mismatch"] == f"point tea.internal at {ADDRESS} in the mesh's DNS", "not at the first it claims"


def test_an_address_that_ssh_reached_and_the_host_does_not_have_is_not_suggested() -> None:
    seen = survey(declared=frozenset({"tea"}))
    clients = {"tea.internal": observation(resolved=())}
    for reached in ("203.0.113.7", ""):
        tea = evaluate.evaluate_host(seen, clients, SETTINGS, ASKED, None, reached)[0]
        assert tea.findings[0].remedy == "point tea.internal at the host's mesh address in the mesh's DNS"


def test_a_remedy_bears_the_names_that_were_declared_and_the_port() -> None:
    declared = Service.of("tea", SETTINGS, sans=("green.internal",))
    seen = survey(services=survey().state.services, host="ops@h2:2222")
    tea = evaluate.evaluate_host(
        replace(seen, services=(declared,), declared=frozenset({"tea"}), secrets=("/tmp/tea-provisioner",)),
        {"tea.internal": observation()},
        SETTINGS,
        ASKED,
    )[0]
    remedy = {one.code: one.remedy for one in tea.findings}
    assert remedy["san-mismatch"] == "inv provision --name tea --host ops@h2:2222 --san green.internal"
    assert remedy["secret-left"] == "ssh -p 2222 ops@h2 sudo rm -rf /tmp/tea-provisioner"


def test_where_meshfab_publishes_the_names_a_wrong_one_is_published() -> None:
    settings = replace(SETTINGS, mesh_network=("10.87.0.0/16",), dns={"kind": "command", "command": ["own-dns"]})
    astray = replace(observation(), resolved=("10.9.9.9",))
    for declared, remedy in (
        (frozenset({"tea"}), "inv publish-dns --name tea --host h2"),
        (frozenset[str](), "if tea belongs on h2, declare it there"),
    ):
        tea = judged(survey(declared=declared), astray, settings=settings)[0]
        [finding] = [one for one in tea.findings if one.code == "dns-mismatch"]
        assert finding.remedy.startswith(remedy), "a name that only the host claims is not led there"


def test_the_same_holds_for_a_look_without_root() -> None:
    finding = Finding("dns-mismatch", "warning", "x")
    look = partial(remedies.for_look, finding, TEA, "h2", address=ADDRESS)
    assert look(is_declared=True, publishes=True) == "inv publish-dns --name tea --host h2"
    assert (
        look(is_declared=False, publishes=True)
        == look(is_declared=True)
        == (f"point tea.internal at {ADDRESS} in the mesh's DNS")
    )
