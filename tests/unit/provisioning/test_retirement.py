"""The end of a service: its plan, and the order in which it is carried out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from meshfab.checks.endpoint_probe import EndpointObservation
from meshfab.errors import EditedError, NginxError, NotReadyError, RevokeError, ServedError
from meshfab.host import certificate, discovery, history, service_files, tls_client
from meshfab.host.tls_client import Served
from meshfab.nginx import snippets
from meshfab.provisioning import retirement, retirement_plan
from meshfab.provisioning.remains import RetirementRequest, ServiceRemains
from meshfab.provisioning.retirement_plan import make_plan
from meshfab.ssh.script import Answer, ExitStatus, Request
from tests.support.certificates import HOUR, NOW, SERVICE, SETTINGS, Pair, authority, good_pair
from tests.support.fake_host import Host, RecordingShell, encoded, unit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from meshfab.provisioning.outcome import Retirement

LEAF = certificate.read_leaf(good_pair().pem)
HISTORY = service_files.history(SERVICE)
PAST = f"/var/lib/meshfab/{SERVICE.name}.past/1.pem"
OLDER = authority().pair(SERVICE.fqdn, start=NOW - 20 * HOUR)
FILES = (f"/etc/nginx/conf.d/{SERVICE.fqdn}.conf", SERVICE.key, SERVICE.cert, SERVICE.env_file, HISTORY)
NOTHING: dict[str, Any] = {"cert": None, "public": None, "digests": {"/x": "0" * 64}, "units": {"x": unit("x")}}


def line(pem: str, state: str = "live") -> str:
    return f"{SERVICE.name} {history.line(certificate.read_leaf(pem))}".replace(" live", f" {state}") + "\n"


def remains(
    host: Host, *, files: Sequence[str] = FILES, served: bytes | None = LEAF.der, **more: Any
) -> ServiceRemains:
    state = host.state()
    found = discovery.Discovery(state, None, (SERVICE,), frozenset(), frozenset(), (), {}, {})
    clients = EndpointObservation((Served(served, "10.87.0.12"),))
    return ServiceRemains(
        found, tuple(files), more.pop("certs", {}), {SERVICE.key: good_pair().public}, clients, **more
    )


def planned(host: Host | None = None, **more: Any) -> retirement_plan.RetirementPlan:
    options = {name: more.pop(name) for name in ("revokes", "root", "force", "last") if name in more}
    return make_plan(remains(host or Host().with_vhost(), **more), RetirementRequest(SERVICE, SETTINGS, **options))


def verbs(plan: retirement_plan.RetirementPlan) -> list[str]:
    return [step.verb for step in plan.steps]


class TestPlan:
    def test_a_service_ends_in_this_order(self) -> None:
        plan = planned()
        assert verbs(plan) == ["vhost", "timer", "revoke", "remove"]
        assert plan.tested == (SERVICE.key, SERVICE.cert)
        assert plan.files[-1] == HISTORY
        assert [(each.generation.serial, each.cert, each.key) for each in plan.revocations] == [
            (LEAF.serial, SERVICE.cert, SERVICE.key)
        ]
        assert plan.unrevoked == ()

    def test_where_nothing_is_there_is_nothing_to_do(self) -> None:
        plan = planned(Host(**NOTHING), files=(service_files.lock(SERVICE),), served=None)
        assert (plan.steps, plan.notes) == ((), ())

    def test_what_nginx_has_in_memory_only_is_unloaded(self) -> None:
        assert verbs(planned(Host()))[0] == "reload"
        assert verbs(planned(Host(), served=None))[0] == "timer"

    def test_another_pair_that_somebodys_own_server_serves_under_the_name_is_theirs(self) -> None:
        block = (
            f"server {{\nlisten 443 ssl;\nserver_name {SERVICE.fqdn};\nssl_certificate /o;\nssl_certificate_key /o;\n}}"
        )
        host = Host()
        host.conf["/etc/nginx/conf.d/own.conf"] = block
        assert planned(host, served=OLDER.der).served == frozenset()
        assert planned(host, served=LEAF.der).served == {LEAF.der}

    def test_an_edited_file_goes_by_force_only(self) -> None:
        host = Host().with_vhost()
        host = host.with_vhost(host.vhosts[host.vhost_path] + "# mine\n")
        with pytest.raises(EditedError, match="edited by hand") as caught:
            planned(host)
        assert "--force" in caught.value.remedy
        assert "vhost" in verbs(planned(host, force=True))

    def test_a_file_that_meshfab_did_not_write_is_left(self) -> None:
        host = Host().with_vhost("server { listen 80; }\n")
        plan = planned(host)
        assert host.vhost_path not in (*plan.files, *plan.tested)
        assert "was not written by meshfab" in plan.notes[0]

    def test_a_reference_stops_it(self) -> None:
        host = Host().with_vhost(f"server {{\nssl_certificate {SERVICE.cert};\n}}\n", "/etc/nginx/conf.d/own.conf")
        with pytest.raises(NginxError, match=r"nothing was changed: /etc/nginx/conf\.d/own\.conf:2"):
            planned(host)

    def test_a_configuration_that_was_broken_before_stops_it(self) -> None:
        with pytest.raises(NginxError, match="broken before this run: boom"):
            planned(replace(Host().with_vhost(), refusal="nginx: [emerg] boom in /x:1"))

    def test_a_pair_that_is_lost_does_not_stop_it(self) -> None:
        refusal = f'nginx: [emerg] cannot load certificate "{SERVICE.cert}": no such file'
        host = replace(Host().with_vhost(), refusal=refusal)
        assert "vhost" in verbs(planned(host))
        # Without a vhost of ours somebody else's names it.
        with pytest.raises(NginxError, match="broken before"):
            planned(replace(host, vhosts={}))
        with pytest.raises(NginxError, match="broken before"):
            planned(replace(host, vhosts={host.vhost_path: "server { listen 80; }"}))

    def test_every_certificate_that_the_ca_would_renew_is_revoked(self) -> None:
        other, gone = (authority().pair(SERVICE.fqdn) for _ in range(2))
        ended = authority().pair(SERVICE.fqdn, start=NOW - 30 * HOUR)
        text = line(ended.pem) + line(OLDER.pem) + line(gone.pem, "revoked") + line(other.pem) + line(good_pair().pem)
        host = Host(history=text).with_vhost()
        plan = planned(host, certs={PAST: OLDER.pem})
        # The older one's key is not there.
        assert [each.generation.serial for each in plan.revocations] == [LEAF.serial]
        assert [each.serial for each in plan.unrevoked] == [serial(OLDER.pem), serial(other.pem)]
        # A token revokes what the host shows, and not what it only names.
        root = authority().root_pem
        signed = planned(host, certs={PAST: OLDER.pem}, root=root)
        assert [(each.generation.serial, each.key) for each in signed.revocations] == [
            (serial(OLDER.pem), ""),
            (LEAF.serial, SERVICE.key),
        ]
        assert [each.serial for each in signed.unrevoked] == [serial(other.pem)]
        assert len(planned(host, certs={PAST: OLDER.pem}, root=root, revokes=False).unrevoked) == 3

    @pytest.mark.parametrize(
        "shown",
        [authority().pair("bank.internal"), authority("Other").pair(SERVICE.fqdn)],
        ids=["another service's", "another root's"],
    )
    def test_no_token_revokes_a_certificate_that_is_not_the_services(self, shown: Pair) -> None:
        host = Host(history=line(shown.pem) + line(good_pair().pem)).with_vhost()
        plan = planned(host, certs={PAST: shown.pem}, root=authority().root_pem)
        assert [each.generation.serial for each in plan.revocations] == [LEAF.serial]
        assert [each.serial for each in plan.unrevoked] == [serial(shown.pem)]

    def test_a_past_certificate_of_the_same_key_revokes_itself(self) -> None:
        plan = planned(Host(cert=None).with_vhost(), certs={PAST: good_pair().pem})
        assert [(each.cert, each.key) for each in plan.revocations] == [(PAST, SERVICE.key)]

    def test_without_a_history_earlier_certificates_are_not_known_and_it_says_so(self) -> None:
        assert "keeps no history" in planned(Host(history=None).with_vhost()).notes[0]

    def test_the_last_service_takes_the_shared_units_with_it_when_that_is_asked_for(self) -> None:
        assert "--last removes them" in planned().notes[0]
        plan = planned(last=True)
        assert verbs(plan)[-1] == "units"
        assert "/etc/systemd/system/step@.service" in plan.units

    def test_shared_units_are_not_taken_from_another_service(self) -> None:
        other = replace(SERVICE, name="docs", fqdn="docs.internal")
        host = Host().with_vhost()
        host.units[other.timer] = unit(other.timer)
        there = remains(host)
        there = replace(there, discovery=replace(there.discovery, services=(SERVICE, other)))
        with pytest.raises(NotReadyError, match=r"the units of docs\.internal, and nothing was changed"):
            make_plan(there, RetirementRequest(SERVICE, SETTINGS, last=True))
        assert make_plan(there, RetirementRequest(SERVICE, SETTINGS)).notes == ()


def serial(pem: str) -> int:
    return certificate.read_leaf(pem).serial


class RetiringHost:
    """A host on which a service ends: what its scripts answer, and what clients get."""

    def __init__(self, host: Host | None = None) -> None:
        self.host, self.is_served = host or Host().with_vhost(), True
        self.files = list(FILES)
        answers: dict[str, Callable[[Request], Answer]] = {
            "facts+discover": lambda _: self.answer(encoded({**self.host.fields(), "found": ""})),
            "list_files": lambda _: self.answer("\n".join(self.files).encode()),
            "read_keys": lambda _: self.answer(encoded({SERVICE.key: good_pair().public})),
            "remove_vhost": self.remove_vhost,
            "revoke_pair": lambda _: self.answer(b"revoked\n"),
            "remove_service": self.remove_service,
        }
        self.shell = RecordingShell(answers)

    def answer(self, out: bytes = b"", status: int = 0, err: str = "") -> Answer:
        return Answer("script", status, out, err)

    def ask(self, address: str, _fqdn: str, port: int = 443, **_more: float) -> Served:
        return Served(LEAF.der if self.is_served else good_pair("other.internal").der, address, port)

    def remove_vhost(self, _request: Request) -> Answer:
        self.is_served = False
        return self.answer()

    def remove_service(self, _request: Request) -> Answer:
        self.files = []
        return self.answer()


@pytest.fixture
def retire(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Retirement]:
    def run(there: RetiringHost, **options: Any) -> Retirement:
        monkeypatch.setattr(retirement, "RootShell", lambda _c: there.shell)
        monkeypatch.setattr(tls_client, "resolve", lambda _fqdn: ("10.87.0.12",))
        monkeypatch.setattr(tls_client, "ask", there.ask)
        monkeypatch.setattr(tls_client.until, "__kwdefaults__", {"seconds": 0.02})
        return retirement.retire(there.shell.c, SERVICE.name, settings=SETTINGS, **options)

    return run


class TestRun:
    def test_each_step_comes_after_the_proof_of_the_one_before(self, retire: Any) -> None:
        there, steps = RetiringHost(), []
        retired = retire(there, on_step=lambda verb, _text: steps.append(verb))
        assert steps == ["vhost", "timer", "revoke", "remove"]
        done = [script for script in there.shell.scripts if script not in ("read", "read_keys", "tls_probe")]
        assert done == [
            *("facts+discover", "list_files", "lock", "list_files", "remove_vhost", "disable_timer", "revoke_pair"),
            *("mark_revoked", "remove_password", "remove_service", "list_files"),
        ]
        assert [each.serial for each in retired.revoked] == [LEAF.serial]
        # The lock is the last file that goes: until then nobody else may work on the service.
        (removed,) = [request.args for request in there.shell.sent if request.script == "remove_service"]
        assert (removed[0], removed[1:3], removed[-1]) == (
            "2",
            (SERVICE.key, SERVICE.cert),
            service_files.lock(SERVICE),
        )

    def test_a_dry_run_reads_only(self, retire: Any) -> None:
        there = RetiringHost()
        retired = retire(there, dry_run=True)
        assert set(there.shell.scripts) <= {"facts+discover", "list_files", "read", "read_keys"}
        assert SERVICE.key in retired.files

    def test_nothing_to_do_takes_no_lock(self, retire: Any) -> None:
        there = RetiringHost(Host(**NOTHING))
        there.files, there.is_served = [], False
        assert retire(there).changed == ()
        assert "lock" not in there.shell.scripts

    def test_clients_that_still_get_it_bring_the_vhost_back(self, retire: Any) -> None:
        there = RetiringHost()
        there.shell.answers["remove_vhost"] = lambda _: there.answer()
        with pytest.raises(ServedError, match=r"still get the certificate .* the vhost is back in place"):
            retire(there)
        assert there.shell.scripts[-1] == "install_config"
        assert "disable_timer" not in there.shell.scripts

    @pytest.mark.parametrize(
        ("status", "out", "message"),
        [
            (ExitStatus.CONFIG_REFUSED, b"before\n", "was broken before this run: boom"),
            (ExitStatus.CONFIG_REFUSED, b"", "refuses its configuration without the vhost: boom"),
            (ExitStatus.NOT_TAKEN_UP, b"", "did not take the vhost out"),
            (ExitStatus.BUSY, b"", "boom"),
        ],
    )
    def test_an_nginx_that_refuses_stops_it_before_anything_else(
        self, retire: Any, status: int, out: bytes, message: str
    ) -> None:
        there = RetiringHost()
        there.shell.answers["remove_vhost"] = lambda _: there.answer(out, status, "nginx: [emerg] boom")
        with pytest.raises(Exception, match=message):
            retire(there)
        assert there.shell.scripts[-1] == "remove_vhost"

    def test_a_ca_that_is_down_leaves_the_pair_and_the_history(self, retire: Any) -> None:
        there = RetiringHost()
        there.shell.answers["revoke_pair"] = lambda _: there.answer(b"", 1, "dial tcp: refused")
        with pytest.raises(RevokeError, match=r"is not revoked, and the pair stays on the host: .*dial tcp") as caught:
            retire(there)
        assert "--no-revoke" in caught.value.remedy
        assert "remove_service" not in there.shell.scripts

    def test_an_nginx_that_needs_the_pair_after_all_keeps_it(self, retire: Any) -> None:
        there = RetiringHost()
        refused = Answer("remove_service", ExitStatus.CONFIG_REFUSED, b"", "nginx: [emerg] no such file in /x:3")
        there.shell.answers["remove_service"] = lambda _: refused
        with pytest.raises(NginxError, match="without the pair: no such file in /x:3"):
            retire(there)

    def test_a_file_that_is_left_is_told(self, retire: Any) -> None:
        there = RetiringHost()
        there.shell.answers["remove_service"] = lambda _: there.answer()
        with pytest.raises(NotReadyError, match=r"files are left: .*conf"):
            retire(there)


def test_files_of_other_services_do_not_belong_to_it() -> None:
    paths = retirement_plan.all_paths(SERVICE, SETTINGS)
    listed = [
        SERVICE.cert,
        SERVICE.cert.replace(SERVICE.fqdn, f".{SERVICE.fqdn}") + ".old",
        PAST,
        PAST.removesuffix("/1.pem"),
        snippets.path(SERVICE, "tls"),
        "/etc/passwd",
        SERVICE.cert.replace(SERVICE.name, "docs"),
        f"{PAST}/../../../../etc/shadow",
        SERVICE.cert + "\x1b[31m",
    ]
    found = service_files.parse(Answer("list_files", 0, "\n".join(listed).encode(), ""), paths)
    assert set(found) == set(listed[:5])
    assert found.index(listed[1]) < found.index(SERVICE.cert)
    assert found.index(PAST) < found.index(listed[3])
