"""The flow: what is sent to a host, by script name, in the state it is found in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from fabric import Config, Connection
from invoke.context import Context

import meshfab
from meshfab.errors import InputError, LockedError, MeshfabError, MintError, NotReadyError, ServedError
from meshfab.host import tls_client
from meshfab.host.tls_client import Served
from meshfab.provisioning import api, host_run, plan
from meshfab.ssh.script import Answer, Request
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
class World:
    """A host that does what its scripts are for, and a client that asks it."""

    host: Host
    next_pair: Pair = field(default_factory=good_pair)
    serves: bytes | None = None
    is_deaf: bool = False
    shell: RecordingShell = field(default_factory=RecordingShell)
    said: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.shell.answers.update(
            {"facts+probe": lambda _: self.host.answer()},
            mint=lambda _: self.answer("mint", cert=self.next_pair.pem, public=self.next_pair.public),
            commit=self.does(self._commit),
            install_units=self.does(self._set_up),
            install_config=self.does(self._wire),
            reload=self.does(self._reload),
            read=lambda request: self.answer("read", **dict.fromkeys(request.args[:1], self.host.cert or "")),
            tls_probe=lambda request: Answer(request.script, 0, b"", ""),
        )

    @staticmethod
    def answer(script: str, **fields: str) -> Answer:
        return Answer(script, 0, encoded(fields), "")

    @staticmethod
    def does(act: Callable[[Request], None]) -> Callable[[Request], Answer]:
        def run(request: Request) -> Answer:
            act(request)
            return Answer(request.script, 0, b"", "")

        return run

    def ask(self, address: str, _fqdn: str, port: int = 443, **_more: float) -> Served:
        return Served(self.serves, address, port, why="" if self.serves else "connection refused")

    def _commit(self, _: Request) -> None:
        pair = self.next_pair
        self.host = replace(self.host, pair=pair, cert=pair.pem, public=pair.public)

    def _set_up(self, request: Request) -> None:
        if SERVICE.timer in request.args[1]:
            self.host = replace(self.host, units={**self.host.units, SERVICE.timer: unit(SERVICE.timer)})
        if request.args[3:]:
            self.host = replace(self.host, digests={})
            self.host.__post_init__()

    def _wire(self, request: Request) -> None:
        path, _link, _shown, text = request.args[-4:]
        self.host = self.host.with_vhost(text, path)
        self._reload(request)

    def _reload(self, _: Request) -> None:
        if not self.is_deaf:
            assert self.host.pair is not None
            self.serves = self.host.pair.der


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
def live(monkeypatch: pytest.MonkeyPatch) -> Callable[[World], World]:
    """Put a world in the place of the network."""

    def put(world: World) -> World:
        monkeypatch.setattr(host_run, "RootShell", lambda _c: world.shell)
        monkeypatch.setattr(tls_client, "resolve", lambda _fqdn: (ADDRESS,))
        monkeypatch.setattr(tls_client, "ask", world.ask)
        monkeypatch.setattr(tls_client.until, "__kwdefaults__", {"seconds": 0.05})
        return world

    return put


Live = Callable[[World], World]


def done() -> World:
    return World(Host().with_vhost(), serves=good_pair().der)


def test_a_converged_host_gets_one_script_and_it_is_the_probe(live: Live, c: Connection, settings: Settings) -> None:
    world = live(done())
    outcome = api.provision(c, "gongfoo", settings=settings, on_step=lambda *said: world.said.append(said))
    assert world.shell.scripts == ["facts+probe"]
    assert outcome.changed == ()
    assert outcome.served is not None
    assert outcome.served.der == good_pair().der
    assert world.said == []


def test_a_fresh_host_gets_the_whole_flow_and_a_second_run_only_the_probe(
    live: Live, c: Connection, settings: Settings
) -> None:
    world = live(World(Host(**FRESH)))
    outcome = api.provision(c, "gongfoo", settings=settings, on_step=lambda *said: world.said.append(said))
    assert [step.verb for step in outcome.changed] == ["mint", "units", "timer", "vhost"]
    assert [verb for verb, _ in world.said] == ["mint", "units", "timer", "vhost"]
    acting = [
        name for name in world.shell.scripts if name not in ("facts+probe", "read", "tls_probe", "remove_backups")
    ]
    assert acting == [
        "lock",
        "put_password",
        "mint",
        "remove_password",
        "commit",
        "install_units",
        "install_config",
        "wait_background",
    ]
    world.shell.sent.clear()
    again = api.provision(c, "gongfoo", settings=settings)
    assert world.shell.scripts == ["facts+probe"]
    assert again.changed == ()


def test_the_password_is_gone_before_the_pair_is_moved_in(live: Live, c: Connection, settings: Settings) -> None:
    world = live(World(Host(**FRESH)))
    api.provision(c, "gongfoo", settings=settings)
    names = world.shell.scripts
    assert names.index("lock") < names.index("put_password") < names.index("mint") < names.index("remove_password")
    assert names.index("remove_password") < names.index("commit")
    assert [request.script for request in world.shell.sent if request.data] == ["put_password"]


@pytest.mark.parametrize("part", [api.mint, api.renew_enable, api.wire_nginx], ids=lambda part: part.__name__)
def test_each_step_alone_on_a_converged_host_is_the_probe(
    live: Live, c: Connection, settings: Settings, part: Callable[..., Outcome]
) -> None:
    world = live(done())
    assert part(c, "gongfoo", settings=settings).changed == ()
    assert world.shell.scripts == ["facts+probe"]


ALONE: dict[str, tuple[Callable[..., Outcome], set[str]]] = {
    "mint": (api.mint, {"put_password", "mint", "remove_password", "commit"}),
    "renew-enable": (api.renew_enable, {"install_units"}),
    "wire-nginx": (api.wire_nginx, {"install_config"}),
}


@pytest.mark.parametrize(("part", "scripts"), ALONE.values(), ids=ALONE)
def test_each_step_alone_does_no_others_work(
    live: Live, c: Connection, settings: Settings, part: Callable[..., Outcome], scripts: set[str]
) -> None:
    fresh = Host(**FRESH) if "install_config" not in scripts else Host(digests=FRESH["digests"], units=FRESH["units"])
    world = live(World(fresh))
    part(c, "gongfoo", settings=settings)
    assert set(world.shell.scripts) - {"facts+probe", "lock", "read", "tls_probe", "remove_backups"} == scripts


def test_a_dry_run_reads_and_writes_nothing(live: Live, c: Connection) -> None:
    world = live(World(Host(**FRESH)))
    outcome = api.provision(c, "gongfoo", settings=SETTINGS, dry_run=True)
    assert world.shell.scripts == ["facts+probe", "read"]
    assert [step.verb for step in outcome.changed] == ["mint", "units", "timer", "vhost"]
    assert len(outcome.diffs) == 5
    assert any("+++ /etc/nginx/conf.d/gongfoo.internal.conf" in diff for diff in outcome.diffs)
    assert not SETTINGS.password_file.exists()


def test_a_run_without_its_password_ends_before_the_first_connection(live: Live, c: Connection) -> None:
    world = live(World(Host(**FRESH)))
    with pytest.raises(InputError, match="password file"):
        api.provision(c, "gongfoo", settings=SETTINGS)
    assert world.shell.sent == []


@pytest.mark.parametrize("name", ["Gongfoo", "a.b", "", "$(x)"])
def test_a_bad_word_ends_before_the_first_connection(live: Live, c: Connection, settings: Settings, name: str) -> None:
    world = live(World(Host(**FRESH)))
    for part in (api.provision, api.mint, api.renew_enable, api.wire_nginx):
        with pytest.raises(InputError):
            part(c, name, settings=settings)
    assert world.shell.sent == []


def test_the_settings_of_the_connections_own_configuration_are_read(live: Live) -> None:
    world = live(World(Host(**FRESH)))
    c = Connection("h2", config=Config(overrides={"meshfab": {"root": "/srv/root.pem"}}))
    api.provision(c, "gongfoo", dry_run=True)
    assert "/srv/root.pem" in world.shell.sent[0].args


def test_a_context_in_place_of_a_connection_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_client, "resolve", lambda _fqdn: ())
    with pytest.raises(InputError, match="connect"):
        api.renew_enable(Context(), "gongfoo", settings=SETTINGS)


LACKING = {
    "step": "step",
    "nginx": "nginx",
    "openssl": "openssl",
    "setfacl": "acl",
    "flock": "util-linux",
    "systemd-run": "systemd",
}


@pytest.mark.parametrize(("tool", "word"), LACKING.items(), ids=LACKING)
def test_a_host_that_lacks_a_program_is_told_which_before_anything_is_done(
    live: Live, c: Connection, settings: Settings, tool: str, word: str
) -> None:
    host = Host(**FRESH)
    del host.tools[tool]
    world = live(World(host))
    with pytest.raises(NotReadyError, match=tool) as caught:
        api.provision(c, "gongfoo", settings=settings)
    assert word in str(caught.value.remedy)
    assert world.shell.scripts == ["facts+probe"]


def test_a_host_without_the_root_is_told_where_it_belongs(live: Live, c: Connection, settings: Settings) -> None:
    world = live(World(Host(**FRESH, root=None)))
    with pytest.raises(NotReadyError) as caught:
        api.provision(c, "gongfoo", settings=settings)
    assert settings.root in str(caught.value)
    assert world.shell.scripts == ["facts+probe"]


STEP_SAYS = {
    "wrong password": ("error decrypting JWE: go-jose: error in cryptographic primitive, decryption", "password"),
    "no such provisioner": ("provisioner with name lair not found", "no provisioner 'lair'"),
    "CA down": ("dial tcp 10.87.0.2:443: connect: connection refused", "not reached"),
    "another root": ("x509: certificate signed by unknown authority", "does not chain"),
    "anything else": ("the sky is falling", "sky"),
}


@pytest.mark.parametrize(("said", "word"), STEP_SAYS.values(), ids=STEP_SAYS)
def test_a_refused_mint_is_sorted_by_what_to_do_and_leaves_no_password(
    live: Live, c: Connection, settings: Settings, said: str, word: str
) -> None:
    world = live(World(Host(**FRESH)))
    world.shell.answers["mint"] = lambda request: Answer(request.script, 1, b"", said)
    with pytest.raises(MintError, match=word) as caught:
        api.provision(c, "gongfoo", settings=settings)
    assert caught.value.remedy
    assert "commit" not in world.shell.scripts
    assert world.shell.scripts[-1] == "remove_password"


UNFIT = {
    "another name": authority().pair("x.internal"),
    "another root": authority("Other").pair(SERVICE.fqdn),
    "no chain": authority().pair(SERVICE.fqdn, without_chain=True),
}


@pytest.mark.parametrize("pair", UNFIT.values(), ids=UNFIT)
def test_a_pair_that_does_not_pass_the_checks_is_not_moved_in(
    live: Live, c: Connection, settings: Settings, pair: Pair
) -> None:
    world = live(World(Host(**FRESH), next_pair=pair))
    with pytest.raises(MintError, match="not valid"):
        api.provision(c, "gongfoo", settings=settings)
    assert "commit" not in world.shell.scripts


def test_a_key_that_is_not_the_new_certificates_is_not_moved_in(live: Live, c: Connection, settings: Settings) -> None:
    world = live(World(Host(**FRESH)))
    other = authority().pair(SERVICE.fqdn)
    world.shell.answers["mint"] = lambda _: world.answer("mint", cert=good_pair().pem, public=other.public)
    with pytest.raises(MintError, match="not valid"):
        api.provision(c, "gongfoo", settings=settings)
    assert "commit" not in world.shell.scripts


def test_a_green_reload_without_the_leaf_on_the_wire_is_a_failure_and_taken_back(
    live: Live, c: Connection, settings: Settings
) -> None:
    world = live(World(Host(**FRESH), serves=authority().pair("x.internal").der, is_deaf=True))
    with pytest.raises(ServedError) as caught:
        api.provision(c, "gongfoo", settings=settings)
    assert "what was there before is back" in str(caught.value)
    assert world.shell.scripts[-2:] == ["restore_pair", "remove_config"]
    assert "remove_backups" not in world.shell.scripts


def test_a_vhost_that_nginx_refuses_leaves_the_old_pair_and_vhost_in_place(
    live: Live, c: Connection, settings: Settings
) -> None:
    # install_config.sh itself puts the old vhost back; taking "ours" out once more would remove the operator's.
    world = live(done())
    world.shell.answers["install_config"] = lambda request: Answer(
        request.script, 3, b"", "nginx: [emerg] host not found"
    )
    with pytest.raises(MeshfabError, match="host not found"):
        api.provision(c, "gongfoo", upstream="http://nowhere.internal:1", settings=settings)
    assert "remove_config" not in world.shell.scripts


@pytest.mark.parametrize("script", ["install_units", "wait_background"])
def test_a_step_that_fails_after_the_mint_leaves_the_old_pair(
    live: Live, c: Connection, settings: Settings, script: str
) -> None:
    expired = authority().pair("x.internal")
    world = live(World(replace(Host(**{**FRESH, "cert": "", "public": ""}), pair=expired).with_vhost()))
    world.host = replace(world.host, cert=expired.pem, public=expired.public)
    world.shell.answers[script] = lambda request: Answer(request.script, 1, b"", "Read-only file system")
    with pytest.raises(NotReadyError, match="Read-only"):
        api.provision(c, "gongfoo", settings=settings)
    names = world.shell.scripts
    assert "restore_pair" in names[names.index("commit") :]
    assert ("remove_config" in names) is (script == "wait_background")


def test_a_lock_that_somebody_holds_is_told_with_the_holder(live: Live, c: Connection, settings: Settings) -> None:
    world = live(World(Host(**FRESH)))
    world.shell.answers["lock"] = lambda request: Answer(request.script, 75, b"", "ann@desk since 12:00")
    with pytest.raises(LockedError, match="ann@desk"):
        api.provision(c, "gongfoo", settings=settings)
    assert world.shell.scripts == ["facts+probe", "lock"]


def test_after_a_wait_for_the_lock_the_host_is_looked_at_again(live: Live, c: Connection, settings: Settings) -> None:
    world = live(World(Host(**FRESH)))

    def waited(request: Request) -> Answer:
        # The colleague whom we waited for has done it all.
        world.host, world.serves = Host().with_vhost(), good_pair().der
        return Answer(request.script, 0, b"waited\n", "")

    world.shell.answers["lock"] = waited
    assert api.provision(c, "gongfoo", settings=settings).changed == ()
    assert world.shell.scripts == ["facts+probe", "lock", "facts+probe"]


def test_a_host_that_never_shows_its_configuration_is_an_error_and_no_loop(
    live: Live, c: Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = live(World(Host(key_rights="root:root|600").with_vhost(), serves=good_pair().der))
    make = plan.make_plan

    def blind(*args: Any) -> Plan:
        made = make(*args)
        return replace(made, nginx_change=replace(made.nginx_change, config_unreadable=True))

    monkeypatch.setattr(host_run, "make_plan", blind)
    with pytest.raises(MeshfabError, match="still missing"):
        api.provision(c, "gongfoo", settings=settings)
    assert world.shell.scripts.count("set_permissions") == 3


def test_a_host_that_the_operator_cannot_reach_is_asked_from_the_host_itself(
    live: Live, c: Connection, settings: Settings
) -> None:
    world = live(World(Host().with_vhost(), serves=None))
    world.shell.answers["tls_probe"] = lambda _: world.answer("tls_probe", **{"0": good_pair().pem})
    outcome = api.provision(c, "gongfoo", settings=settings)
    assert outcome.changed == ()
    assert outcome.served is not None
    assert outcome.served.via == "h2"


def test_the_public_names_are_the_flows_own() -> None:
    for name in ("provision", "mint", "renew_enable", "wire_nginx"):
        assert getattr(meshfab, name) is getattr(api, name)
