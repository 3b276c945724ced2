"""The step functions: which scripts are sent to a host, for each state of the host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from fabric import Config, Connection
from invoke.context import Context

import meshfab
from meshfab.errors import InputError, LockedError, MeshfabError, MintError, NotReadyError, ServedError
from meshfab.host import tls_client
from meshfab.host.tls_client import Served
from meshfab.provisioning import api, host_run, plan
from meshfab.ssh.script import Answer, ExitStatus, Request
from tests.support.certificates import SERVICE, SETTINGS, Pair, authority, good_pair
from tests.support.fake_host import PASSWORD, Host, RecordingShell, encoded, unit

if TYPE_CHECKING:
    from pathlib import Path

    from meshfab.config.settings import Settings
    from meshfab.provisioning.outcome import Outcome
    from meshfab.provisioning.plan import Plan

ADDRESS = "10.87.0.12"
FRESH: dict[str, Any] = {
    "cert": None,
    "public": None,
    "digests": {"/x": "0" * 64},
    "units": {
        "nginx.service": unit("nginx.service"),
        SERVICE.timer: unit(SERVICE.timer, load="not-found", enabled="", active="inactive"),
    },
}


@dataclass
class Simulation:
    """A host on which scripts have their effects, and a TLS client that connects to it."""

    host: Host
    next_pair: Pair = field(default_factory=good_pair)
    served: bytes | None = None
    ignores_reload: bool = False
    shell: RecordingShell = field(default_factory=RecordingShell)
    steps: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.shell.answers.update(
            {"facts+probe": lambda _: self.host.answer()},
            mint=lambda _: self.answer("mint", cert=self.next_pair.pem, public=self.next_pair.public),
            commit=self.script(self._commit),
            install_units=self.script(self._install_units),
            install_config=self.script(self._install_config),
            reload=self.script(self._reload),
            read=lambda request: self.answer("read", **dict.fromkeys(request.args[:1], self.host.cert or "")),
            tls_probe=lambda request: Answer(request.script, 0, b"", ""),
        )

    @staticmethod
    def answer(script: str, **fields: str) -> Answer:
        return Answer(script, 0, encoded(fields), "")

    @staticmethod
    def script(effect: Callable[[Request], None]) -> Callable[[Request], Answer]:
        def run(request: Request) -> Answer:
            effect(request)
            return Answer(request.script, 0, b"", "")

        return run

    def ask(self, address: str, _fqdn: str, port: int = 443, **_more: float) -> Served:
        return Served(self.served, address, port, why="" if self.served else "connection refused")

    def _commit(self, _: Request) -> None:
        pair = self.next_pair
        self.host = replace(self.host, pair=pair, cert=pair.pem, public=pair.public)

    def _install_units(self, request: Request) -> None:
        if SERVICE.timer in request.args[1]:
            self.host = replace(self.host, units={**self.host.units, SERVICE.timer: unit(SERVICE.timer)})
        if request.args[3:]:
            self.host = replace(self.host, digests={})
            self.host.__post_init__()

    def _install_config(self, request: Request) -> None:
        path, _link, _dump_path, text = request.args[-4:]
        self.host = self.host.with_vhost(text, path)
        self._reload(request)

    def _reload(self, _: Request) -> None:
        if not self.ignores_reload:
            assert self.host.pair is not None
            self.served = self.host.pair.der


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    path = tmp_path / "password"
    path.touch(0o600)
    path.write_text(f"{PASSWORD}\n")
    return replace(SETTINGS, provisioner_password=str(path))


@pytest.fixture
def c() -> Connection:
    return Connection("h2", config=Config())


@pytest.fixture
def simulate(monkeypatch: pytest.MonkeyPatch) -> Callable[[Simulation], Simulation]:
    """Replace the network with a simulation."""

    def replace_network(simulation: Simulation) -> Simulation:
        monkeypatch.setattr(host_run, "RootShell", lambda _c: simulation.shell)
        monkeypatch.setattr(tls_client, "resolve", lambda _fqdn: (ADDRESS,))
        monkeypatch.setattr(tls_client, "ask", simulation.ask)
        monkeypatch.setattr(tls_client.until, "__kwdefaults__", {"seconds": 0.05})
        return simulation

    return replace_network


Simulate = Callable[[Simulation], Simulation]


def converged() -> Simulation:
    return Simulation(Host().with_vhost(), served=good_pair().der)


def test_a_converged_host_gets_the_probe_only(simulate: Simulate, c: Connection, settings: Settings) -> None:
    simulation = simulate(converged())
    outcome = api.provision(c, "gongfoo", settings=settings, on_step=lambda *step: simulation.steps.append(step))
    assert simulation.shell.scripts == ["facts+probe"]
    assert outcome.changed == ()
    assert outcome.served is not None
    assert outcome.served.der == good_pair().der
    assert simulation.steps == []


def test_a_fresh_host_gets_every_script_and_a_second_run_the_probe_only(
    simulate: Simulate, c: Connection, settings: Settings
) -> None:
    simulation = simulate(Simulation(Host(**FRESH)))
    outcome = api.provision(c, "gongfoo", settings=settings, on_step=lambda *step: simulation.steps.append(step))
    assert [step.verb for step in outcome.changed] == ["mint", "units", "timer", "vhost"]
    assert [verb for verb, _ in simulation.steps] == ["mint", "units", "timer", "vhost"]
    acting = [
        name for name in simulation.shell.scripts if name not in ("facts+probe", "read", "tls_probe", "remove_backups")
    ]
    assert acting == [
        "lock",
        "check_transfer",
        "put_password",
        "mint",
        "remove_password",
        "commit",
        "install_units",
        "install_config",
        "wait_background",
        "record",
    ]
    simulation.shell.sent.clear()
    again = api.provision(c, "gongfoo", settings=settings)
    assert simulation.shell.scripts == ["facts+probe"]
    assert again.changed == ()


def test_the_password_is_removed_before_the_pair_is_moved_into_place(
    simulate: Simulate, c: Connection, settings: Settings
) -> None:
    simulation = simulate(Simulation(Host(**FRESH)))
    api.provision(c, "gongfoo", settings=settings)
    names = simulation.shell.scripts
    assert names.index("lock") < names.index("put_password") < names.index("mint") < names.index("remove_password")
    assert names.index("remove_password") < names.index("commit")
    assert [request.script for request in simulation.shell.sent if request.data] == ["put_password"]


@pytest.mark.parametrize("part", [api.mint, api.renew_enable, api.wire_nginx], ids=lambda part: part.__name__)
def test_each_step_function_sends_the_probe_only_to_a_converged_host(
    simulate: Simulate, c: Connection, settings: Settings, part: Callable[..., Outcome]
) -> None:
    simulation = simulate(converged())
    assert part(c, "gongfoo", settings=settings).changed == ()
    assert simulation.shell.scripts == ["facts+probe"]


ALONE: dict[str, tuple[Callable[..., Outcome], set[str]]] = {
    "mint": (api.mint, {"put_password", "mint", "remove_password", "commit", "record"}),
    "renew-enable": (api.renew_enable, {"install_units"}),
    "wire-nginx": (api.wire_nginx, {"install_config"}),
}


HARMLESS = {"facts+probe", "lock", "check_transfer", "read", "tls_probe", "remove_backups"}


@pytest.mark.parametrize(("part", "scripts"), ALONE.values(), ids=ALONE)
def test_each_step_function_sends_its_own_scripts_only(
    simulate: Simulate, c: Connection, settings: Settings, part: Callable[..., Outcome], scripts: set[str]
) -> None:
    fresh = Host(**FRESH) if "install_config" not in scripts else Host(digests=FRESH["digests"], units=FRESH["units"])
    simulation = simulate(Simulation(fresh))
    part(c, "gongfoo", settings=settings)
    assert set(simulation.shell.scripts) - HARMLESS == scripts


def test_a_dry_run_reads_and_writes_nothing(simulate: Simulate, c: Connection) -> None:
    simulation = simulate(Simulation(Host(**FRESH)))
    outcome = api.provision(c, "gongfoo", settings=SETTINGS, dry_run=True)
    assert simulation.shell.scripts == ["facts+probe", "read"]
    assert [step.verb for step in outcome.changed] == ["mint", "units", "timer", "vhost"]
    assert len(outcome.diffs) == 6
    assert any("+++ /etc/nginx/conf.d/gongfoo.internal.conf" in diff for diff in outcome.diffs)
    assert not SETTINGS.password_file.exists()


def test_a_run_without_a_password_file_ends_before_the_first_connection(simulate: Simulate, c: Connection) -> None:
    simulation = simulate(Simulation(Host(**FRESH)))
    with pytest.raises(InputError, match="password file"):
        api.provision(c, "gongfoo", settings=SETTINGS)
    assert simulation.shell.sent == []


@pytest.mark.parametrize("name", ["Gongfoo", "a.b", "", "$(x)"])
def test_an_invalid_name_ends_before_the_first_connection(
    simulate: Simulate, c: Connection, settings: Settings, name: str
) -> None:
    simulation = simulate(Simulation(Host(**FRESH)))
    for part in (api.provision, api.mint, api.renew_enable, api.wire_nginx):
        with pytest.raises(InputError):
            part(c, name, settings=settings)
    assert simulation.shell.sent == []


def test_the_settings_are_read_from_the_configuration_of_the_connection(simulate: Simulate) -> None:
    simulation = simulate(Simulation(Host(**FRESH)))
    c = Connection("h2", config=Config(overrides={"meshfab": {"root": "/srv/root.pem"}}))
    api.provision(c, "gongfoo", dry_run=True)
    assert "/srv/root.pem" in simulation.shell.sent[0].args


def test_a_context_instead_of_a_connection_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_client, "resolve", lambda _fqdn: ())
    with pytest.raises(InputError, match="connect"):
        api.renew_enable(Context(), "gongfoo", settings=SETTINGS)


PACKAGES = {
    "step": "step",
    "nginx": "nginx",
    "openssl": "openssl",
    "setfacl": "acl",
    "flock": "util-linux",
    "systemd-run": "systemd",
}


@pytest.mark.parametrize(("tool", "expected"), PACKAGES.items(), ids=PACKAGES)
def test_a_missing_program_is_named_before_anything_is_done(
    simulate: Simulate, c: Connection, settings: Settings, tool: str, expected: str
) -> None:
    host = Host(**FRESH)
    del host.tools[tool]
    simulation = simulate(Simulation(host))
    with pytest.raises(NotReadyError, match=tool) as caught:
        api.provision(c, "gongfoo", settings=settings)
    assert expected in str(caught.value.remedy)
    assert simulation.shell.scripts == ["facts+probe"]


def test_a_missing_root_certificate_is_named_with_its_path(
    simulate: Simulate, c: Connection, settings: Settings
) -> None:
    simulation = simulate(Simulation(Host(**FRESH, root=None)))
    with pytest.raises(NotReadyError) as caught:
        api.provision(c, "gongfoo", settings=settings)
    assert settings.root in str(caught.value)
    assert simulation.shell.scripts == ["facts+probe"]


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_root_that_is_not_the_pinned_one_is_refused_before_the_password_is_sent(
    simulate: Simulate, c: Connection, settings: Settings, dry_run: bool
) -> None:
    simulation = simulate(Simulation(Host(**FRESH)))
    pinned = replace(settings, root_fingerprint="ab" * 32)
    with pytest.raises(NotReadyError, match=f"not the pinned root {'ab' * 32}") as caught:
        api.provision(c, "gongfoo", settings=pinned, dry_run=dry_run)
    assert "meshfab.root_fingerprint" in caught.value.remedy
    assert simulation.shell.scripts == ["facts+probe"]


def test_the_pinned_root_is_accepted(simulate: Simulate, c: Connection, settings: Settings) -> None:
    simulate(Simulation(Host(**FRESH)))
    fingerprint = authority().root.certificate.fingerprint(SHA256()).hex()
    assert api.provision(c, "gongfoo", settings=replace(settings, root_fingerprint=fingerprint)).changed


MINT_OUTPUTS = {
    "wrong password": ("error decrypting JWE: go-jose: error in cryptographic primitive, decryption", "password"),
    "no such provisioner": ("provisioner with name lair not found", "no provisioner 'lair'"),
    "CA down": ("dial tcp 10.87.0.2:443: connect: connection refused", "not reached"),
    "another root": ("x509: certificate signed by unknown authority", "does not chain"),
    "anything else": ("the sky is falling", "sky"),
}


@pytest.mark.parametrize(("output", "expected"), MINT_OUTPUTS.values(), ids=MINT_OUTPUTS)
def test_a_refused_mint_has_a_remedy_and_leaves_no_password(
    simulate: Simulate, c: Connection, settings: Settings, output: str, expected: str
) -> None:
    simulation = simulate(Simulation(Host(**FRESH)))
    simulation.shell.answers["mint"] = lambda request: Answer(request.script, 1, b"", output)
    with pytest.raises(MintError, match=expected) as caught:
        api.provision(c, "gongfoo", settings=settings)
    assert caught.value.remedy
    assert "commit" not in simulation.shell.scripts
    assert simulation.shell.scripts[-1] == "remove_password"


UNFIT = {
    "another name": authority().pair("x.internal"),
    "another root": authority("Other").pair(SERVICE.fqdn),
    "no chain": authority().pair(SERVICE.fqdn, without_chain=True),
}


@pytest.mark.parametrize("pair", UNFIT.values(), ids=UNFIT)
def test_an_invalid_pair_is_not_moved_into_place(
    simulate: Simulate, c: Connection, settings: Settings, pair: Pair
) -> None:
    simulation = simulate(Simulation(Host(**FRESH), next_pair=pair))
    with pytest.raises(MintError, match="not valid"):
        api.provision(c, "gongfoo", settings=settings)
    assert "commit" not in simulation.shell.scripts


def test_a_key_of_another_certificate_is_not_moved_into_place(
    simulate: Simulate, c: Connection, settings: Settings
) -> None:
    simulation = simulate(Simulation(Host(**FRESH)))
    other = authority().pair(SERVICE.fqdn)
    simulation.shell.answers["mint"] = lambda _: simulation.answer("mint", cert=good_pair().pem, public=other.public)
    with pytest.raises(MintError, match="not valid"):
        api.provision(c, "gongfoo", settings=settings)
    assert "commit" not in simulation.shell.scripts


def test_a_reload_after_which_clients_do_not_get_the_leaf_is_rolled_back(
    simulate: Simulate, c: Connection, settings: Settings
) -> None:
    simulation = simulate(Simulation(Host(**FRESH), served=authority().pair("x.internal").der, ignores_reload=True))
    with pytest.raises(ServedError) as caught:
        api.provision(c, "gongfoo", settings=settings)
    assert "what was there before is back" in str(caught.value)
    assert simulation.shell.scripts[-2:] == ["restore_pair", "remove_config"]
    assert "remove_backups" not in simulation.shell.scripts


def test_a_refused_vhost_leaves_the_old_pair_and_vhost_in_place(
    simulate: Simulate, c: Connection, settings: Settings
) -> None:
    # install_config.sh itself restores the old vhost; to remove ours once more would remove the operator's.
    simulation = simulate(converged())
    simulation.shell.answers["install_config"] = lambda request: Answer(
        request.script, ExitStatus.CONFIG_REFUSED, b"", "nginx: [emerg] host not found"
    )
    with pytest.raises(MeshfabError, match="host not found"):
        api.provision(c, "gongfoo", upstream="http://nowhere.internal:1", settings=settings)
    assert "remove_config" not in simulation.shell.scripts


@pytest.mark.parametrize("script", ["install_units", "wait_background"])
def test_a_failed_step_after_the_mint_restores_the_old_pair(
    simulate: Simulate, c: Connection, settings: Settings, script: str
) -> None:
    expired = authority().pair("x.internal")
    simulation = simulate(Simulation(replace(Host(**{**FRESH, "cert": "", "public": ""}), pair=expired).with_vhost()))
    simulation.host = replace(simulation.host, cert=expired.pem, public=expired.public)
    simulation.shell.answers[script] = lambda request: Answer(request.script, 1, b"", "Read-only file system")
    with pytest.raises(NotReadyError, match="Read-only"):
        api.provision(c, "gongfoo", settings=settings)
    names = simulation.shell.scripts
    assert "restore_pair" in names[names.index("commit") :]
    assert ("remove_config" in names) is (script == "wait_background")


def test_a_busy_lock_is_reported_with_its_holder(simulate: Simulate, c: Connection, settings: Settings) -> None:
    simulation = simulate(Simulation(Host(**FRESH)))
    simulation.shell.answers["lock"] = lambda request: Answer(
        request.script, ExitStatus.BUSY, b"", "ann@desk since 12:00"
    )
    with pytest.raises(LockedError, match="ann@desk"):
        api.provision(c, "gongfoo", settings=settings)
    assert simulation.shell.scripts == ["facts+probe", "lock"]


def test_after_a_wait_for_the_lock_the_host_is_observed_again(
    simulate: Simulate, c: Connection, settings: Settings
) -> None:
    simulation = simulate(Simulation(Host(**FRESH)))

    def waited(request: Request) -> Answer:
        # The colleague whom we waited for has done it all.
        simulation.host, simulation.served = Host().with_vhost(), good_pair().der
        return Answer(request.script, 0, b"waited\n", "")

    simulation.shell.answers["lock"] = waited
    assert api.provision(c, "gongfoo", settings=settings).changed == ()
    assert simulation.shell.scripts == ["facts+probe", "lock", "check_transfer", "facts+probe"]


def test_a_configuration_that_stays_unreadable_is_an_error_and_no_endless_loop(
    simulate: Simulate, c: Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulation = simulate(Simulation(Host(key_rights="root:root|600").with_vhost(), served=good_pair().der))
    make = plan.make_plan

    def config_unreadable_plan(*args: Any) -> Plan:
        plan_now = make(*args)
        return replace(plan_now, nginx_change=replace(plan_now.nginx_change, config_unreadable=True))

    monkeypatch.setattr(host_run, "make_plan", config_unreadable_plan)
    with pytest.raises(MeshfabError, match="still missing"):
        api.provision(c, "gongfoo", settings=settings)
    assert simulation.shell.scripts.count("set_permissions") == 3


def test_an_endpoint_that_the_operator_cannot_reach_is_asked_from_the_host(
    simulate: Simulate, c: Connection, settings: Settings
) -> None:
    simulation = simulate(Simulation(Host().with_vhost(), served=None))
    simulation.shell.answers["tls_probe"] = lambda _: simulation.answer("tls_probe", **{"0": good_pair().pem})
    outcome = api.provision(c, "gongfoo", settings=settings)
    assert outcome.changed == ()
    assert outcome.served is not None
    assert outcome.served.via == "h2"


def test_the_public_names_are_those_of_this_module() -> None:
    for name in ("provision", "mint", "renew_enable", "wire_nginx"):
        assert getattr(meshfab, name) is getattr(api, name)


def test_a_certificate_that_the_host_cannot_record_fails_no_run(
    simulate: Simulate, c: Connection, settings: Settings
) -> None:
    simulation = simulate(Simulation(Host(**FRESH)))
    simulation.shell.answers["record"] = lambda request: Answer(request.script, 0, b"printf: No space left\n", "")
    outcome = api.provision(c, "gongfoo", settings=settings, on_step=lambda *step: simulation.steps.append(step))
    assert outcome.leaf is not None
    assert ("record", "not recorded: printf: No space left; the next tick tries again") in simulation.steps
