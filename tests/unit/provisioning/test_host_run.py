"""A run over several services of one host: what is sent for all of them together, and whom a failure concerns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from fabric import Config, Connection

from meshfab.config.password import Password
from meshfab.errors import (
    LockedError,
    LostError,
    MeshfabError,
    MintError,
    NginxError,
    SecretLeftError,
    ServedError,
    SudoAsksError,
)
from meshfab.host import tls_client
from meshfab.provisioning import host_run
from meshfab.provisioning.host_run import HostRun
from meshfab.provisioning.outcome import Outcome
from meshfab.provisioning.request import ProvisionRequest
from meshfab.ssh.script import Answer, Request
from tests.support.certificates import SETTINGS, authority, good_pair
from tests.support.fake_host import PASSWORD, Host
from tests.support.multi_service_host import ADDRESS, Rack, fresh, service, whole

# Not in their alphabetical order.
NAMES = ("tea", "milk", "cream")


@pytest.fixture
def at_work(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[HostRun, dict[str, Outcome]]]:
    """Run over a rack in the place of the network."""

    def work(rack: Rack, *names: str, **options: Any) -> tuple[HostRun, dict[str, Outcome]]:
        monkeypatch.setattr(host_run, "RootShell", lambda _c: rack.shell)
        monkeypatch.setattr(tls_client, "resolve", lambda _fqdn: (ADDRESS,))
        monkeypatch.setattr(tls_client, "ask", rack.ask)
        monkeypatch.setattr(tls_client.until, "__kwdefaults__", {"seconds": 0.02})
        services = tuple(service(name) for name in names or rack.parts)
        on_step = options.pop("on_step", None)
        options = {"password": Password(PASSWORD), "covers_all_services": True, **options}
        request = ProvisionRequest(services=services, settings=SETTINGS, **options)
        job = HostRun(Connection("h2", config=Config()), request, on_step)
        outcomes = job.converge()
        assert [outcome.service.name for outcome in outcomes] == [one.name for one in services]
        return job, {outcome.service.name: outcome for outcome in outcomes}

    return work


Work = Callable[..., tuple[HostRun, dict[str, Outcome]]]


def rack_of(make: Callable[[str], Host] = fresh, *names: str) -> Rack:
    rack = Rack({name: make(name) for name in names or NAMES})
    rack.serves = {one.service.fqdn: good_pair(one.service.fqdn).der for one in rack.parts.values() if one.vhosts}
    return rack


def when(words: str, status: int, said: str) -> Callable[[Request], Answer | None]:
    """Fail where the script is given these words."""

    def no(request: Request) -> Answer | None:
        is_it = any(words in arg for arg in request.args)
        return Answer(request.script, status, b"", said) if is_it else None

    return no


def verbs(outcome: Outcome) -> list[str]:
    return [step.verb for step in outcome.changed]


def failed(outcomes: dict[str, Outcome]) -> dict[str, MeshfabError]:
    return {name: outcome.error for name, outcome in outcomes.items() if outcome.error}


def test_all_services_of_a_host_are_done_by_one_script_of_each_kind(at_work: Work) -> None:
    rack = rack_of()
    job, outcomes = at_work(rack)
    of_each = ["put_password", "mint", "remove_password"] * 3 + ["commit"] * 3
    assert rack.shell.scripts == [
        "facts+discover", "lock", *of_each, "install_units", "install_config", "wait_background", "read",
    ]  # fmt: skip
    assert all(verbs(one) == ["mint", "units", "timer", "vhost"] for one in outcomes.values())
    assert all(one.served and one.leaf and one.served.der == one.leaf.der for one in outcomes.values())
    assert job.error is None
    ((_, _, _, _, *words),) = rack.did("lock")
    assert words[::3] == sorted(NAMES), "one order for all operators"
    ((_, timers, _, *words),) = rack.did("install_units")
    assert len(words[::3]) == len(set(words[::3])) == 3 + len(NAMES)
    assert timers.split() == [f"step@{name}.timer" for name in NAMES]
    ((_, _, _, _, *words),) = rack.did("install_config")
    assert words[::4] == [f"/etc/nginx/conf.d/{name}.internal.conf" for name in NAMES]
    assert rack.did("read") == [tuple(service(name).cert for name in NAMES)]


def test_the_second_run_is_the_survey_and_nothing_else(at_work: Work) -> None:
    rack = rack_of()
    at_work(rack)
    rack.shell.sent.clear()
    _, outcomes = at_work(rack)
    assert rack.shell.scripts == ["facts+discover"]
    assert not any(one.changed or one.error for one in outcomes.values())


def test_only_what_lacks_something_is_locked_and_touched(at_work: Work) -> None:
    rack = rack_of(whole)
    rack.parts["milk"] = fresh("milk")
    del rack.serves["milk.internal"]
    _, outcomes = at_work(rack)
    assert [words[4::3] for words in rack.did("lock")] == [("milk",)]
    assert [name for name, one in outcomes.items() if one.changed] == ["milk"]
    assert rack.shell.scripts.count("mint") == rack.shell.scripts.count("install_config") == 1


def test_a_plan_that_is_refused_is_one_services_error(at_work: Work) -> None:
    rack = rack_of()
    other = "server {\nlisten 443 ssl;\nserver_name milk.internal;\nssl_certificate /o.pem;\n}\n"
    rack.parts["milk"].conf["/etc/nginx/conf.d/own.conf"] = other
    _, outcomes = at_work(rack)
    assert list(failed(outcomes)) == ["milk"]
    assert "own.conf" in str(outcomes["milk"].error)
    assert [words[4::3] for words in rack.did("lock")] == [("cream", "tea")]
    assert all(len(outcomes[name].changed) == 4 for name in ("tea", "cream"))


def test_a_mint_that_fails_keeps_no_other_from_its_pair(at_work: Work) -> None:
    rack = rack_of()
    rack.refused["mint"] = when("milk.internal", 1, "the sky is falling")
    _, outcomes = at_work(rack)
    assert list(failed(outcomes)) == ["milk"]
    assert isinstance(outcomes["milk"].error, MintError)
    assert outcomes["milk"].changed == ()
    assert rack.shell.scripts.count("put_password") == rack.shell.scripts.count("remove_password") == 3
    assert [words[1] for words in rack.did("commit")] == [service("tea").cert, service("cream").cert]
    assert rack.shell.scripts.count("install_config") == 1


def test_a_proof_that_fails_takes_back_its_own_service_alone(at_work: Work) -> None:
    rack = rack_of()
    rack.parts |= {name: replace(fresh(name), cert="no certificate") for name in ("tea", "milk")}
    rack.deaf, rack.serves["milk.internal"] = {"milk"}, authority().pair("x.internal").der
    _, outcomes = at_work(rack)
    assert list(failed(outcomes)) == ["milk"]
    assert isinstance(outcomes["milk"].error, ServedError)
    assert [words[0] for words in rack.did("restore_pair")] == [service("milk").cert]
    ((_, _, _, path, _, _),) = rack.did("remove_config")
    assert path == "/etc/nginx/conf.d/milk.internal.conf"
    ((*kept,),) = rack.did("remove_backups")
    assert service("tea").cert in kept
    assert service("milk").cert not in kept, "its old pair is put back from there"


def test_what_fails_together_is_undone_and_tried_one_by_one(at_work: Work) -> None:
    rack = rack_of()
    rack.refused["install_config"] = when("milk.internal.conf", 3, "nginx: [emerg] host not found")
    _, outcomes = at_work(rack)
    assert list(failed(outcomes)) == ["milk"]
    assert isinstance(outcomes["milk"].error, NginxError)
    assert all("vhost" in verbs(outcomes[name]) for name in ("tea", "cream"))
    names = rack.shell.scripts
    undone = names[names.index("install_config") :]
    assert undone[1:5] == ["restore_pair", "restore_pair", "restore_pair", "remove_config"], (
        "all of the batch, before anything else"
    )
    assert rack.did("remove_config")[0][3:] == (), "install_config.sh took its files out again itself"
    assert [words[4::3] for words in rack.did("lock")] == [("cream", "milk", "tea"), ("tea",), ("milk",), ("cream",)]


def test_a_failing_single_service_is_not_tried_again(at_work: Work) -> None:
    rack = rack_of(fresh, "tea")
    rack.refused["install_config"] = when("tea.internal.conf", 3, "nginx: [emerg] host not found")
    job, outcomes = at_work(rack)
    assert rack.shell.scripts.count("lock") == 1
    assert outcomes["tea"].error is job.error is not None


@pytest.mark.parametrize("fault", [LostError("the line dropped", host="h2"), SecretLeftError("IT LIES", host="h2")])
@pytest.mark.parametrize("script", ["lock", "mint", "install_units"])
def test_what_concerns_the_host_ends_the_run_for_every_open_service(
    at_work: Work, fault: MeshfabError, script: str
) -> None:
    rack = rack_of()
    rack.parts["cream"] = whole("cream")
    rack.serves["cream.internal"] = good_pair("cream.internal").der

    def no(_request: Request) -> Answer:
        raise fault

    rack.refused[script] = no
    job, outcomes = at_work(rack)
    assert job.error is fault
    assert failed(outcomes) == {"tea": fault, "milk": fault}
    assert rack.shell.scripts.count(script) == 1
    assert rack.shell.scripts[-1] in (script, "remove_password"), "after it the password is taken away, and no more"


def test_a_shell_that_has_ended_is_not_asked_again(at_work: Work) -> None:
    rack = rack_of()

    def no(_request: Request) -> Answer:
        rack.shell.is_idle = False
        raise SudoAsksError("sudo asks for a password", host="h2")

    rack.refused["facts+discover"] = no
    job, outcomes = at_work(rack)
    assert rack.shell.scripts == ["facts+discover"]
    assert failed(outcomes) == dict.fromkeys(NAMES, job.error)
    assert isinstance(job.error, SudoAsksError)


def test_a_service_that_somebody_else_is_at_holds_up_no_other(at_work: Work) -> None:
    rack = rack_of()
    rack.refused["lock"] = when("milk", 75, "ann@desk since noon")
    _, outcomes = at_work(rack)
    assert list(failed(outcomes)) == ["milk"]
    assert isinstance(outcomes["milk"].error, LockedError)
    assert "ann@desk" in str(outcomes["milk"].error)
    assert "tea.internal" not in str(outcomes["milk"].error)
    assert all(len(outcomes[name].changed) >= 3 for name in ("tea", "cream"))


def test_a_wait_for_a_lock_is_followed_by_a_second_look(at_work: Work) -> None:
    rack = rack_of()

    def waited(request: Request) -> Answer:
        # The colleague whom we waited for has done two of the three.
        for name in ("tea", "milk"):
            rack.parts[name] = whole(name)
            rack.serves[f"{name}.internal"] = good_pair(f"{name}.internal").der
        return Answer(request.script, 0, b"waited\n", "")

    rack.refused["lock"] = waited
    _, outcomes = at_work(rack)
    assert [name for name, one in outcomes.items() if one.changed] == ["cream"]
    assert rack.shell.scripts[:3] == ["facts+discover", "lock", "facts+discover"]
    assert rack.shell.scripts.count("lock") == 1


def test_pairs_that_nginx_misses_one_after_the_other_are_all_healed_in_one_run(at_work: Work) -> None:
    rack = rack_of(whole)
    for name in NAMES:
        rack.parts[name] = replace(rack.parts[name], cert=None, public=None)
    rack.serves = dict.fromkeys(rack.serves, authority().pair("x.internal").der)
    job, outcomes = at_work(rack)
    assert (job.error, failed(outcomes)) == (None, {})
    assert all(verbs(one) == ["mint", "reload"] for one in outcomes.values())
    assert [words[4::3] for words in rack.did("lock")] == [("cream", "milk", "tea")], "before anything is done to any"
    assert rack.shell.scripts.count("mint") == 3
    assert rack.shell.scripts.count("reload") == 1, "nginx is not asked to load what it cannot read yet"


def test_a_configuration_that_a_stranger_broke_is_everybodys_error(at_work: Work) -> None:
    rack = rack_of(whole)
    rack.parts["tea"] = replace(rack.parts["tea"], cert=None, public=None)
    rack.refused["commit"] = lambda request: Answer(request.script, 0, b"", "")
    _, outcomes = at_work(rack)
    # The pair does not come to be there, whatever the script says: an error for each, and no endless loop.
    assert set(failed(outcomes)) == set(NAMES)
    assert rack.shell.scripts.count("mint") <= 3 + len(NAMES)


def test_a_dry_run_of_several_services_only_reads(at_work: Work) -> None:
    rack = rack_of()
    _, outcomes = at_work(rack, dry_run=True, password=None)
    assert set(rack.shell.scripts) == {"facts+discover", "read"}
    assert all(verbs(one) == ["mint", "units", "timer", "vhost"] and one.diffs for one in outcomes.values())


def test_a_run_that_is_whole_says_what_is_not_declared(at_work: Work) -> None:
    rack = rack_of(whole)
    rack.undeclared = "milk cream"
    job, outcomes = at_work(rack, "tea")
    assert list(outcomes) == ["tea"]
    assert [stray.split()[1] for stray in job.undeclared] == ["milk.internal", "cream.internal"]
    assert set(rack.shell.scripts) == {"facts+discover"}


def test_a_run_of_one_service_among_others_does_not_look_for_them(at_work: Work) -> None:
    rack = rack_of(whole)
    job, _ = at_work(rack, "tea", covers_all_services=False)
    assert (rack.shell.scripts, job.undeclared) == (["facts+probe"], ())


def test_what_is_told_is_told_of_its_service(at_work: Work) -> None:
    said: list[tuple[str, str]] = []
    rack = rack_of()
    rack.parts["milk"] = whole("milk")
    rack.serves["milk.internal"] = good_pair("milk.internal").der
    at_work(rack, on_step=lambda one, verb, _text: said.append((one.name, verb)))
    assert {name for name, _ in said} == {"tea", "cream"}
    assert [verb for name, verb in said if name == "tea"] == ["mint", "units", "timer", "vhost"]


def test_where_nothing_is_declared_the_strays_are_told_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rack = rack_of(whole, "tea")
    rack.undeclared = "tea"
    monkeypatch.setattr(host_run, "RootShell", lambda _c: rack.shell)
    request = ProvisionRequest(services=(), settings=SETTINGS, covers_all_services=True)
    job = HostRun(Connection("h2", config=Config()), request)
    assert job.converge() == []
    assert [stray.split()[1] for stray in job.undeclared] == ["tea.internal"]
