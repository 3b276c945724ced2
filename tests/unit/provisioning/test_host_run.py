"""A run for several services of one host: the requests that they share, and the services that a failure stops."""

from __future__ import annotations

import time
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
    NotReadyError,
    SecretLeftError,
    ServedError,
    SudoAsksError,
)
from meshfab.host import tls_client
from meshfab.provisioning import host_run
from meshfab.provisioning.host_run import HostRun
from meshfab.provisioning.observe import HostObservation
from meshfab.provisioning.outcome import Outcome
from meshfab.provisioning.request import ProvisionRequest
from meshfab.ssh.script import Answer, ExitStatus, Request
from tests.support.certificates import SETTINGS, authority, good_pair
from tests.support.fake_ca import csr
from tests.support.fake_host import PASSWORD, Host, encoded, unit
from tests.support.fake_signer import Signer
from tests.support.multi_service_host import ADDRESS, MultiServiceHost, converged_host, fresh_host, service_named

# Not in alphabetical order.
NAMES = ("tea", "milk", "cream")


@pytest.fixture
def run_on(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[HostRun, dict[str, Outcome]]]:
    """Run on a simulated host in the place of the network."""

    def run_on_host(host: MultiServiceHost, *names: str, **options: Any) -> tuple[HostRun, dict[str, Outcome]]:
        monkeypatch.setattr(host_run, "RootShell", lambda _c: host.shell)
        monkeypatch.setattr(tls_client, "resolve", lambda _fqdn: (ADDRESS,))
        monkeypatch.setattr(tls_client, "ask", host.ask)
        monkeypatch.setattr(tls_client.until, "__kwdefaults__", {"seconds": 0.02})
        services = tuple(service_named(name) for name in names or host.services)
        on_step = options.pop("on_step", None)
        options = {"password": Password(PASSWORD), "covers_all_services": True, **options}
        request = ProvisionRequest(services=services, settings=SETTINGS, **options)
        run = HostRun(Connection("h2", config=Config()), request, on_step)
        outcomes = run.converge()
        assert [outcome.service.name for outcome in outcomes] == [service.name for service in services]
        return run, {outcome.service.name: outcome for outcome in outcomes}

    return run_on_host


RunOn = Callable[..., tuple[HostRun, dict[str, Outcome]]]


def simulated_host(make: Callable[[str], Host] = fresh_host, *names: str) -> MultiServiceHost:
    host = MultiServiceHost({name: make(name) for name in names or NAMES})
    fqdns = [part.service.fqdn for part in host.services.values() if part.vhosts]
    host.served = {fqdn: good_pair(fqdn).der for fqdn in fqdns}
    return host


def fail_when(text: str, status: int, error: str) -> Callable[[Request], Answer | None]:
    """A failure of the script when one of its arguments contains this text."""

    def fail(request: Request) -> Answer | None:
        is_in_args = any(text in arg for arg in request.args)
        return Answer(request.script, status, b"", error) if is_in_args else None

    return fail


def verbs(outcome: Outcome) -> list[str]:
    return [step.verb for step in outcome.changed]


def failed(outcomes: dict[str, Outcome]) -> dict[str, MeshfabError]:
    return {name: outcome.error for name, outcome in outcomes.items() if outcome.error}


def test_all_services_of_a_host_share_one_script_of_each_kind(run_on: RunOn) -> None:
    host = simulated_host()
    run, outcomes = run_on(host)
    of_each = ["put_password", "mint", "remove_password"] * 3 + ["commit"]
    assert host.shell.scripts == [
        "facts+discover", "lock", "check_transfer",
        *of_each, "install_units", "install_config", "wait_background", "record", "read",
    ]  # fmt: skip
    assert all(verbs(outcome) == ["mint", "units", "timer", "vhost"] for outcome in outcomes.values())
    assert all(
        outcome.served and outcome.leaf and outcome.served.der == outcome.leaf.der for outcome in outcomes.values()
    )
    assert run.error is None
    ((_, _, _, _, *args),) = host.calls("lock")
    assert args[::3] == sorted(NAMES), "the same order for all operators"
    ((_, timers, _, *args),) = host.calls("install_units")
    assert len(args[::3]) == len(set(args[::3])) == 4 + len(NAMES)
    assert timers.split() == [f"step@{name}.timer" for name in NAMES]
    ((_, _, _, _, *args),) = host.calls("install_config")
    assert args[::4] == [f"/etc/nginx/conf.d/{name}.internal.conf" for name in NAMES]
    assert host.calls("read") == [tuple(service_named(name).cert for name in NAMES)]


def signing_host() -> MultiServiceHost:
    host = simulated_host()
    fields = {f"{name}/request": csr(service_named(name).fqdn) for name in NAMES}
    host.shell.answers["facts+request_pairs"] = lambda request: Answer(request.script, 0, encoded(fields), "")
    host.shell.answers["stage_chains"] = lambda request: Answer(request.script, 0, b"", "")
    return host


def test_where_pairs_are_signed_here_the_lock_and_the_requests_share_a_round_trip(run_on: RunOn) -> None:
    host, signer = signing_host(), Signer()
    _, outcomes = run_on(host, password=None, signer=signer)
    assert failed(outcomes) == {}
    assert host.shell.scripts == [
        "facts+discover", "lock", "facts+request_pairs",
        "stage_chains", "commit", "install_units", "install_config", "wait_background", "record", "read",
    ]  # fmt: skip
    assert sorted(signer.signed) == sorted(service_named(name).names for name in NAMES)
    assert signer.unlocked_early, "nothing was served under these names"


def test_requests_that_were_made_before_a_wait_for_the_lock_are_made_again(run_on: RunOn) -> None:
    host = signing_host()
    host.overrides["lock"] = lambda request: Answer(request.script, 0, b"waited\n", "")
    assert failed(run_on(host, password=None, signer=Signer())[1]) == {}
    assert host.shell.scripts[:5] == [
        "facts+discover",
        "lock",
        "facts+request_pairs",
        "facts+discover",
        "facts+request_pairs",
    ]


@pytest.mark.parametrize(("status", "restored"), [(1, 0), (ExitStatus.PARTLY_MOVED, 3)])
def test_pairs_are_restored_only_if_some_were_moved(run_on: RunOn, status: int, restored: int) -> None:
    host = simulated_host()
    host.overrides["commit"] = lambda request: Answer(request.script, status, b"", "mv: read-only file system")
    _, outcomes = run_on(host)
    assert set(failed(outcomes)) == set(NAMES)
    at = host.shell.scripts.index("commit")
    after = host.shell.scripts[at + 1 : at + 4]
    assert after.count("restore_pair") == restored
    assert "install_config" not in host.shell.scripts


def test_a_pair_that_is_signed_long_after_the_host_was_read_is_valid() -> None:
    state = simulated_host().services["tea"].state()
    observation = HostObservation(state, {}, {}, read_at=time.monotonic() - 90)
    assert 89 < (observation.state_now.now - state.now).total_seconds() < 200


def test_a_second_run_sends_only_the_discovery(run_on: RunOn) -> None:
    host = simulated_host()
    run_on(host)
    host.shell.sent.clear()
    _, outcomes = run_on(host)
    assert host.shell.scripts == ["facts+discover"]
    assert not any(outcome.changed or outcome.error for outcome in outcomes.values())


def test_only_services_with_missing_steps_are_locked_and_changed(run_on: RunOn) -> None:
    host = simulated_host(converged_host)
    host.services["milk"] = fresh_host("milk")
    del host.served["milk.internal"]
    _, outcomes = run_on(host)
    assert [args[4::3] for args in host.calls("lock")] == [("milk",)]
    assert [name for name, outcome in outcomes.items() if outcome.changed] == ["milk"]
    assert host.shell.scripts.count("mint") == host.shell.scripts.count("install_config") == 1


def test_a_refused_plan_is_an_error_of_its_service_only(run_on: RunOn) -> None:
    host = simulated_host()
    other = "server {\nlisten 443 ssl;\nserver_name milk.internal;\nssl_certificate /o.pem;\n}\n"
    host.services["milk"].conf["/etc/nginx/conf.d/own.conf"] = other
    _, outcomes = run_on(host)
    assert list(failed(outcomes)) == ["milk"]
    assert "own.conf" in str(outcomes["milk"].error)
    assert [args[4::3] for args in host.calls("lock")] == [("cream", "tea")]
    assert all(len(outcomes[name].changed) == 4 for name in ("tea", "cream"))


def test_a_failed_mint_does_not_stop_the_other_services(run_on: RunOn) -> None:
    host = simulated_host()
    host.overrides["mint"] = fail_when("milk.internal", 1, "the sky is falling")
    _, outcomes = run_on(host)
    assert list(failed(outcomes)) == ["milk"]
    assert isinstance(outcomes["milk"].error, MintError)
    assert outcomes["milk"].changed == ()
    assert host.shell.scripts.count("put_password") == host.shell.scripts.count("remove_password") == 3
    assert [args[2::3] for args in host.calls("commit")] == [(service_named("tea").cert, service_named("cream").cert)]
    assert host.shell.scripts.count("install_config") == 1


def test_a_failed_proof_rolls_back_its_own_service_only(run_on: RunOn) -> None:
    host = simulated_host()
    host.services |= {name: replace(fresh_host(name), cert="no certificate") for name in ("tea", "milk")}
    host.ignored, host.served["milk.internal"] = {"milk"}, authority().pair("x.internal").der
    _, outcomes = run_on(host)
    assert list(failed(outcomes)) == ["milk"]
    assert isinstance(outcomes["milk"].error, ServedError)
    assert [args[0] for args in host.calls("restore_pair")] == [service_named("milk").cert]
    ((_, _, _, path, _, _),) = host.calls("remove_config")
    assert path == "/etc/nginx/conf.d/milk.internal.conf"
    ((*removed,),) = host.calls("remove_backups")
    assert service_named("tea").cert in removed
    assert service_named("milk").cert not in removed, "its old pair is restored from the backup"


def test_a_failed_batch_is_rolled_back_and_each_service_tried_alone(run_on: RunOn) -> None:
    host = simulated_host()
    host.overrides["install_config"] = fail_when(
        "milk.internal.conf", ExitStatus.CONFIG_REFUSED, "nginx: [emerg] host not found"
    )
    _, outcomes = run_on(host)
    assert list(failed(outcomes)) == ["milk"]
    assert isinstance(outcomes["milk"].error, NginxError)
    assert all("vhost" in verbs(outcomes[name]) for name in ("tea", "cream"))
    names = host.shell.scripts
    rolled_back = names[names.index("install_config") :]
    assert rolled_back[1:5] == ["restore_pair", "restore_pair", "restore_pair", "remove_config"], (
        "the whole batch is rolled back before anything else"
    )
    assert host.calls("remove_config")[0][3:] == (), "install_config.sh removed its files itself"
    assert [args[4::3] for args in host.calls("lock")] == [("cream", "milk", "tea"), ("tea",), ("milk",), ("cream",)]


def test_a_single_service_that_fails_is_not_tried_again(run_on: RunOn) -> None:
    host = simulated_host(fresh_host, "tea")
    host.overrides["install_config"] = fail_when(
        "tea.internal.conf", ExitStatus.CONFIG_REFUSED, "nginx: [emerg] host not found"
    )
    run, outcomes = run_on(host)
    assert host.shell.scripts.count("lock") == 1
    assert outcomes["tea"].error is run.error is not None


@pytest.mark.parametrize(
    "fault", [LostError("the connection was lost", host="h2"), SecretLeftError("THE PASSWORD IS THERE", host="h2")]
)
@pytest.mark.parametrize("script", ["lock", "mint", "install_units"])
def test_an_error_of_the_host_ends_the_run_for_every_unfinished_service(
    run_on: RunOn, fault: MeshfabError, script: str
) -> None:
    host = simulated_host()
    host.services["cream"] = converged_host("cream")
    host.served["cream.internal"] = good_pair("cream.internal").der

    def fail(_request: Request) -> Answer:
        raise fault

    host.overrides[script] = fail
    run, outcomes = run_on(host)
    assert run.error is fault
    assert failed(outcomes) == {"tea": fault, "milk": fault}
    assert host.shell.scripts.count(script) == 1
    assert host.shell.scripts[-1] in (script, "remove_password"), (
        "after it the password is removed, and nothing else is done"
    )


def test_a_shell_that_has_ended_gets_no_more_requests(run_on: RunOn) -> None:
    host = simulated_host()

    def fail(_request: Request) -> Answer:
        host.shell.is_idle = False
        raise SudoAsksError("sudo asks for a password", host="h2")

    host.overrides["facts+discover"] = fail
    run, outcomes = run_on(host)
    assert host.shell.scripts == ["facts+discover"]
    assert failed(outcomes) == dict.fromkeys(NAMES, run.error)
    assert isinstance(run.error, SudoAsksError)


def test_a_busy_service_does_not_stop_the_others(run_on: RunOn) -> None:
    host = simulated_host()
    host.overrides["lock"] = fail_when("milk", ExitStatus.BUSY, "ann@desk since noon")
    _, outcomes = run_on(host)
    assert list(failed(outcomes)) == ["milk"]
    assert isinstance(outcomes["milk"].error, LockedError)
    assert "ann@desk" in str(outcomes["milk"].error)
    assert "tea.internal" not in str(outcomes["milk"].error)
    assert all(len(outcomes[name].changed) >= 3 for name in ("tea", "cream"))


def test_a_host_that_would_record_the_password_refuses_the_mint_and_no_other_step(run_on: RunOn) -> None:
    host = simulated_host(converged_host)
    host.services["milk"] = fresh_host("milk")
    host.services["tea"] = replace(
        host.services["tea"], units={"step@tea.timer": unit("step@tea.timer", active="failed")}
    )
    host.overrides["check_transfer"] = lambda request: Answer(request.script, ExitStatus.INPUT_RECORDED, b"", "")
    _, outcomes = run_on(host)
    assert "put_password" not in host.shell.scripts
    assert not any(request.data for request in host.shell.sent)
    assert {name: str(error) for name, error in failed(outcomes).items()}.keys() == {"milk"}
    assert isinstance(outcomes["milk"].error, NotReadyError)
    assert verbs(outcomes["tea"]) == ["timer"]


def test_after_a_wait_for_a_lock_the_host_is_observed_again(run_on: RunOn) -> None:
    host = simulated_host()

    def wait_for_other_run(request: Request) -> Answer:
        # The other run has finished two of the three services.
        for name in ("tea", "milk"):
            host.services[name] = converged_host(name)
            host.served[f"{name}.internal"] = good_pair(f"{name}.internal").der
        return Answer(request.script, 0, b"waited\n", "")

    host.overrides["lock"] = wait_for_other_run
    _, outcomes = run_on(host)
    assert [name for name, outcome in outcomes.items() if outcome.changed] == ["cream"]
    assert host.shell.scripts[:4] == ["facts+discover", "lock", "check_transfer", "facts+discover"]
    assert host.shell.scripts.count("lock") == 1


def test_several_missing_pairs_are_all_healed_in_one_run(run_on: RunOn) -> None:
    host = simulated_host(converged_host)
    for name in NAMES:
        host.services[name] = replace(host.services[name], cert=None, public=None)
    host.served = dict.fromkeys(host.served, authority().pair("x.internal").der)
    run, outcomes = run_on(host)
    assert (run.error, failed(outcomes)) == (None, {})
    assert all(verbs(outcome) == ["mint", "reload"] for outcome in outcomes.values())
    assert [args[4::3] for args in host.calls("lock")] == [("cream", "milk", "tea")], "before anything is done"
    assert host.shell.scripts.count("mint") == 3
    assert host.shell.scripts.count("reload") == 1, "nginx does not load a configuration that it cannot read yet"


def test_a_configuration_that_stays_broken_is_an_error_of_every_service(run_on: RunOn) -> None:
    host = simulated_host(converged_host)
    host.services["tea"] = replace(host.services["tea"], cert=None, public=None)
    host.overrides["commit"] = lambda request: Answer(request.script, 0, b"", "")
    _, outcomes = run_on(host)
    # The pair stays missing although the script succeeds: an error for each service, and no endless loop.
    assert set(failed(outcomes)) == set(NAMES)
    assert host.shell.scripts.count("mint") <= 3 + len(NAMES)


def test_a_dry_run_of_several_services_only_reads(run_on: RunOn) -> None:
    host = simulated_host()
    _, outcomes = run_on(host, dry_run=True, password=None)
    assert set(host.shell.scripts) == {"facts+discover", "read"}
    assert all(verbs(outcome) == ["mint", "units", "timer", "vhost"] and outcome.diffs for outcome in outcomes.values())


def test_a_run_for_all_services_reports_the_undeclared_ones(run_on: RunOn) -> None:
    host = simulated_host(converged_host)
    host.undeclared = "milk cream"
    run, outcomes = run_on(host, "tea")
    assert list(outcomes) == ["tea"]
    assert [sentence.split()[1] for sentence in run.undeclared] == ["milk.internal", "cream.internal"]
    assert run.prunable == ("milk", "cream")
    assert set(host.shell.scripts) == {"facts+discover"}


def test_only_a_service_with_our_mark_could_be_pruned(run_on: RunOn) -> None:
    host = simulated_host(converged_host)
    host.undeclared = "milk cream"
    bare = {"/x": "0" * 64}
    host.services["milk"] = replace(host.services["milk"], digests=bare)
    host.services["cream"] = Host(service_named("cream"), digests=bare).with_vhost("server { listen 443 ssl; }\n")
    run, _ = run_on(host, "tea")
    # milk has a vhost of ours; cream has a pair, a timer and somebody's own vhost.
    assert len(run.undeclared) == 2
    assert run.prunable == ("milk",)


def test_a_run_for_some_services_does_not_look_for_undeclared_ones(run_on: RunOn) -> None:
    host = simulated_host(converged_host)
    run, _ = run_on(host, "tea", covers_all_services=False)
    assert (host.shell.scripts, run.undeclared) == (["facts+probe"], ())


def test_each_step_is_reported_with_its_service(run_on: RunOn) -> None:
    steps: list[tuple[str, str]] = []
    host = simulated_host()
    host.services["milk"] = converged_host("milk")
    host.served["milk.internal"] = good_pair("milk.internal").der
    run_on(host, on_step=lambda service, verb, _text: steps.append((service.name, verb)))
    assert {name for name, _ in steps} == {"tea", "cream"}
    assert [verb for name, verb in steps if name == "tea"] == ["mint", "units", "timer", "vhost"]


def test_without_declared_services_the_undeclared_ones_are_still_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = simulated_host(converged_host, "tea")
    host.undeclared = "tea"
    monkeypatch.setattr(host_run, "RootShell", lambda _c: host.shell)
    request = ProvisionRequest(services=(), settings=SETTINGS, covers_all_services=True)
    run = HostRun(Connection("h2", config=Config()), request)
    assert run.converge() == []
    assert [sentence.split()[1] for sentence in run.undeclared] == ["tea.internal"]
