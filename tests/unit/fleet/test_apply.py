"""Every declared service on every host: who runs when, what becomes of each host, and how it ends before its time."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from lab.machine.process import wait_until
from meshfab.cli import apply as command
from meshfab.config.settings import Settings
from meshfab.errors import ConnectError, InputError, MeshfabError, MintError, SecretLeftError, StoppedError
from meshfab.fleet import apply, host_runs
from meshfab.provisioning.outcome import Outcome
from tests.support.fake_host import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from meshfab.fleet.host_outcome import HostOutcome
    from meshfab.provisioning.request import ProvisionRequest

TEN = tuple(f"h{number}" for number in range(1, 11))


class Fake:
    """Stands for a HostRun: does what the test says for its host, and waits to be stopped where that is nothing."""

    world: World

    def __init__(self, c: Any, request: ProvisionRequest, _on_step: Any) -> None:
        self.host, self.request = str(c.enter_result), request
        self.undeclared: tuple[str, ...] = ()
        self.prunable: tuple[str, ...] = ()
        self.error: MeshfabError | None = None
        self.fault: MeshfabError | None = None
        self.why = ""
        self.stopped = threading.Event()

    def converge(self) -> list[Outcome]:
        with self.world.door:
            self.world.begun.append(self.host)
            self.world.running += 1
            self.world.most = max(self.world.most, self.world.running)
        try:
            self.world.does(self)
        finally:
            with self.world.door:
                self.world.running -= 1
        return [Outcome(self.host, service, error=self.fault or self.error) for service in self.request.services]

    def stop(self, why: str) -> None:
        self.why = why
        self.stopped.set()

    def hang(self) -> None:
        """Until somebody stops it."""
        assert self.stopped.wait(60), "nobody stopped it"
        self.error = StoppedError(self.why, host=self.host)


class World:
    """All hosts, and what happens on each."""

    def __init__(self, does: Callable[[Fake], None] = lambda _: None) -> None:
        self.does = does
        self.begun: list[str] = []
        self.running = self.most = 0
        self.door = threading.Lock()


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> Callable[..., World]:
    def put(does: Callable[[Fake], None] = lambda _: None) -> World:
        Fake.world = World(does)
        monkeypatch.setattr(host_runs, "HostRun", Fake)
        monkeypatch.setattr(host_runs, "connect_by_settings", lambda host, *_words, **_more: nullcontext(host))
        return Fake.world

    return put


@pytest.fixture
def declared(tmp_path: Path) -> Callable[..., Settings]:
    path = tmp_path / "password"
    path.touch(0o600)
    path.write_text(f"{PASSWORD}\n")

    def make(*hosts: str, **more: Any) -> Settings:
        services = {"tea": {"hosts": list(hosts or TEN)}}
        return Settings(services=services, provisioner_password=str(path), **more)

    return make


Live = Callable[..., World]
Declared = Callable[..., Settings]


def words(came: HostOutcome) -> str:
    return str(came.error or "; ".join(str(one.error) for one in came.services if one.error))


def test_each_host_gets_its_own_services_by_one_run_that_is_whole(live: Live, declared: Declared) -> None:
    seen: dict[str, Fake] = {}
    live(lambda one: seen.update({one.host: one}))
    settings = Settings(
        hosts=("h9",),
        services={"tea": {"hosts": ["h1", "h2"]}, "milk": {"host": "h2"}},
        provisioner_password=declared().provisioner_password,
    )
    found = apply.apply(settings=settings)
    assert [came.host for came in found] == ["h9", "h1", "h2"]
    assert {host: [one.name for one in run.request.services] for host, run in seen.items()} == {
        "h9": [],
        "h1": ["tea"],
        "h2": ["tea", "milk"],
    }
    assert all(
        run.request.covers_all_services and run.request.password and run.request.password.reveal() == PASSWORD
        for run in seen.values()
    )
    assert all(came.is_well for came in found)


@pytest.mark.parametrize("consent", ["", "force", "start", "dry_run"])
def test_what_was_consented_to_is_what_each_run_is_told(live: Live, declared: Declared, consent: str) -> None:
    seen: list[ProvisionRequest] = []
    live(lambda one: seen.append(one.request))
    apply.apply(
        settings=declared("h1", "h2"), dry_run=consent == "dry_run", force=consent == "force", start=consent == "start"
    )
    assert len(seen) == 2
    for request in seen:
        given = {"force": request.consent.force, "start": request.consent.start, "dry_run": request.dry_run}
        assert {name for name, is_given in given.items() if is_given} == ({consent} - {""})


def test_outcomes_come_as_they_are_ready_and_are_returned_in_order(live: Live, declared: Declared) -> None:
    first_may = threading.Event()

    def does(one: Fake) -> None:
        if one.host == "h1":
            assert first_may.wait(10)

    live(does)
    told: list[tuple[str, int]] = []

    def tell(came: HostOutcome, left: int) -> None:
        told.append((came.host, left))
        if left == 1:
            first_may.set()

    found = apply.apply(settings=declared("h1", "h2", "h3"), on_result=tell)
    assert [came.host for came in found] == ["h1", "h2", "h3"]
    assert told[-1] == ("h1", 0)
    assert sorted(left for _, left in told) == [0, 1, 2]


def test_a_host_that_is_named_twice_is_one_host(live: Live, declared: Declared) -> None:
    world = live()
    assert [came.host for came in apply.apply(["h2", "h1", "h2"], settings=declared())] == ["h2", "h1"]
    assert sorted(world.begun) == ["h1", "h2"]


def test_no_more_hosts_at_once_than_the_settings_allow(live: Live, declared: Declared) -> None:
    # Nine of them in threes, and the tenth alone.
    together = threading.Barrier(3)
    world = live(lambda one: None if one.host == TEN[-1] else together.wait(60))
    assert all(came.is_well for came in apply.apply(settings=declared(parallel=3)))
    assert (world.most, len(world.begun)) == (3, 10)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (ConnectError("nobody answers", host="h2"), "h2: nobody answers"),
        (RecursionError("deep\nin \x1b[31man answer"), "cannot be handled: RecursionError: deep in an answer"),
    ],
)
def test_a_fault_of_one_host_is_its_row_only(live: Live, declared: Declared, fault: Exception, said: str) -> None:
    def does(one: Fake) -> None:
        if one.host == "h2":
            raise fault

    live(does)
    found = apply.apply(settings=declared("h1", "h2", "h3"))
    assert [came.is_well for came in found] == [True, False, True]
    assert found[1].host == "h2"
    assert said in words(found[1])
    assert "\n" not in words(found[1])


def test_one_service_that_failed_makes_its_host_one_that_failed(live: Live, declared: Declared) -> None:
    def does(one: Fake) -> None:
        one.fault = MintError("the CA is down", host=one.host) if one.host == "h1" else None

    live(does)
    found = apply.apply(settings=declared("h1", "h2"))
    assert [(came.is_well, came.error) for came in found] == [(False, None), (True, None)]


def test_a_host_that_takes_too_long_is_stopped_and_no_other(
    live: Live, declared: Declared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_runs, "HOST_SECONDS", 0.1)
    monkeypatch.setattr(host_runs, "SERVICE_SECONDS", 0.05)
    live(lambda one: one.hang() if one.host == "h2" else None)
    began = time.monotonic()
    found = apply.apply(settings=declared("h1", "h2", "h3", parallel=2))
    assert 0.15 <= time.monotonic() - began < 5
    assert [came.is_well for came in found] == [True, False, True]
    assert "its time was up" in words(found[1])


def test_an_interruption_stops_what_runs_and_begins_nothing_more(live: Live, declared: Declared) -> None:
    world = live(lambda one: one.hang() if one.host != "h1" else None)
    told: list[str] = []

    def tell(came: HostOutcome, _left: int) -> None:
        told.append(came.host)
        if came.host == "h1":
            wait_until(lambda: world.running == 3, "three hosts to be under way", 60)
            raise KeyboardInterrupt

    found = apply.apply(settings=declared(parallel=3), on_result=tell)
    assert [came.host for came in found] == list(TEN)
    assert [came.is_well for came in found] == [True] + [False] * 9
    assert sorted(world.begun) == ["h1", "h2", "h3", "h4"]
    assert sorted(told) == sorted(TEN), "every host is told of, once"
    for came in found[1:]:
        has_begun = came.host in world.begun
        assert ("before it was finished" if has_begun else "before its turn") in words(came)


class Stubborn:
    """What happens on a host that does not end when it is stopped."""

    def __init__(self, *hosts: str) -> None:
        self.hosts, self.let_go, self.running = hosts, threading.Event(), threading.Semaphore(0)

    def __call__(self, one: Fake) -> None:
        if one.host in self.hosts:
            self.running.release()
            self.let_go.wait(30)


@pytest.fixture
def stubborn() -> Iterator[Callable[..., Stubborn]]:
    made: list[Stubborn] = []

    def make(*hosts: str) -> Stubborn:
        made.append(Stubborn(*hosts))
        return made[-1]

    yield make
    for each in made:
        each.let_go.set()


def test_a_run_that_does_not_end_when_it_is_stopped_is_given_up(
    live: Live, declared: Declared, monkeypatch: pytest.MonkeyPatch, stubborn: Callable[..., Stubborn]
) -> None:
    monkeypatch.setattr(host_runs, "STOP_SECONDS", 0.3)
    hangs = stubborn("h2")
    live(hangs)
    told: list[str] = []

    def tell(outcome: HostOutcome, _left: int) -> None:
        told.append(outcome.host)
        if outcome.host == "h1":
            assert hangs.running.acquire(timeout=10)
            raise KeyboardInterrupt

    began = time.monotonic()
    found = apply.apply(settings=declared("h1", "h2", parallel=2), on_result=tell)
    assert time.monotonic() - began < 5
    assert told == ["h1", "h2"]
    assert "given up" in words(found[1])
    assert "within 120 s" in words(found[1])
    # It ends after all: too late for an outcome.
    hangs.let_go.set()
    assert found[1].error is not None


def test_an_error_of_the_callback_stops_the_runs_before_it_is_raised(live: Live, declared: Declared) -> None:
    ended: list[str] = []

    def does(one: Fake) -> None:
        if one.host != "h1":
            one.hang()
            ended.append(one.host)

    world = live(does)

    def tell(_outcome: HostOutcome, _left: int) -> None:
        until = time.monotonic() + 5
        while world.running < 1 and time.monotonic() < until:
            time.sleep(0.005)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        apply.apply(settings=declared("h1", "h2", parallel=2), on_result=tell)
    assert ended == ["h2"]


def test_hosts_that_hang_take_no_other_hosts_turn(
    live: Live, declared: Declared, monkeypatch: pytest.MonkeyPatch, stubborn: Callable[..., Stubborn]
) -> None:
    for name, seconds in {"HOST_SECONDS": 0.1, "SERVICE_SECONDS": 0.1, "STOP_SECONDS": 0.1}.items():
        monkeypatch.setattr(host_runs, name, seconds)
    live(stubborn("h1", "h2"))
    found = apply.apply(settings=declared("h1", "h2", "h3", "h4", parallel=2))
    assert [outcome.is_well for outcome in found] == [False, False, True, True]
    assert all("given up" in words(outcome) for outcome in found[:2])


def test_the_process_can_end_while_a_host_hangs(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.touch(0o600)
    file.write_text("geheim\n")
    program = f"""
import threading
from contextlib import nullcontext
from meshfab.config.settings import Settings
from meshfab.fleet import apply, host_runs

class Hangs:
    error, undeclared = None, ()
    def __init__(self, c, request, _on_step):
        self.request = request
    def converge(self):
        threading.Event().wait()
    def stop(self, _reason):
        pass

host_runs.HostRun, host_runs.connect_by_settings = Hangs, lambda *_args, **_more: nullcontext()
host_runs.HOST_SECONDS = host_runs.SERVICE_SECONDS = host_runs.STOP_SECONDS = 0.1
settings = Settings(services={{"tea": {{"host": "h1"}}}}, provisioner_password={str(file)!r})
print(apply.apply(settings=settings)[0].error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert "given up" in done.stdout
    assert done.returncode == 0, done.stderr


def test_an_interruption_before_anything_ran_is_told_for_all(
    live: Live, declared: Declared, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = live(Fake.hang)

    def interrupt(*_words: object) -> None:
        raise KeyboardInterrupt

    collect = host_runs.HostRuns.collect
    calls: list[int] = []

    def once(self: Any, *given: Any) -> None:
        calls.append(1)
        if len(calls) == 1:
            interrupt()
        collect(self, *given)

    monkeypatch.setattr(host_runs.HostRuns, "collect", once)
    found = apply.apply(settings=declared(parallel=2))
    assert len(world.begun) <= 2
    assert all("interrupted" in words(came) for came in found)


def test_a_dry_run_needs_no_password(live: Live) -> None:
    seen: list[Fake] = []
    live(seen.append)
    settings = Settings(services={"tea": {"host": "h1"}}, provisioner_password="/nowhere/at/all")
    assert apply.apply(settings=settings, dry_run=True)[0].is_well
    assert (seen[0].request.dry_run, seen[0].request.password) == (True, None)
    with pytest.raises(InputError, match="password"):
        apply.apply(settings=settings)
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("hosts", "services"),
    [(None, {}), (["h 1"], {}), (["h1"], {"tea": {"host": "h1"}, "milk": {"host": "h2", "sans": ["x y"]}})],
    ids=["no host", "no host name", "a fault in a declaration of another host"],
)
def test_bad_input_connects_nobody(live: Live, declared: Declared, hosts: Any, services: Any) -> None:
    world = live()
    settings = Settings(services=services, provisioner_password=declared().provisioner_password)
    with pytest.raises(InputError):
        apply.apply(hosts, settings=settings)
    assert world.begun == []


def test_the_command_prints_each_host_and_the_sum_and_knows_whether_all_is_well(
    live: Live, declared: Declared, capsys: pytest.CaptureFixture[str]
) -> None:
    live()
    assert command.run({}, declared("h1", "h2"), [], dry_run=False) == 0
    out = capsys.readouterr().out
    assert "h1 as declared: tea.internal\n" in out
    assert out.splitlines()[-1].startswith("2 hosts, 0 changed, 2 as declared (")

    def does(one: Fake) -> None:
        one.error = SecretLeftError("THE PASSWORD MAY STILL LIE at /tmp/x", host=one.host, remedy="rm it")

    live(does)
    assert command.run({}, declared("h1", "h2"), ["h1"], dry_run=False) == 1
    said = capsys.readouterr()
    assert said.out.splitlines()[-1].startswith("1 host, 0 changed, 0 as declared, 1 failed: h1 (")
    assert said.err == "h1: THE PASSWORD MAY STILL LIE at /tmp/x -> rm it\n", "the last and the loudest line"
