"""Where a sweep runs, and what goes there: a pure choice, plain values, and no password."""

from __future__ import annotations

import os
import pickle
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from fabric import Connection
from invoke.config import Config

from meshfab import Settings, check_certs
from meshfab.checks.report import HostReport
from meshfab.config import password, place
from meshfab.errors import InputError, NotReadyError
from meshfab.fleet import dask_executor, host_check, portable_config
from meshfab.fleet.crew import Crew
from meshfab.fleet.executors import HOSTS_FOR_PROCESSES, choose

MANY = HOSTS_FOR_PROCESSES
SECRET = "correct horse"
_DIE = "import os; os._exit(3)"


@pytest.mark.parametrize(
    ("word", "hosts", "cores", "left", "kind", "reason"),
    [
        ("auto", MANY - 1, 8, (), "threads", "fewer than"),
        ("auto", MANY, 1, (), "threads", "one processor"),
        ("auto", MANY, 2, ("sudo.password",), "threads", "sudo.password does not travel"),
        ("auto", MANY, 2, (), "processes", "2 processors"),
        ("threads", MANY, 8, ("sudo.password",), "threads", "asked for"),
        ("processes", 3, 2, (), "processes", "asked for"),
        ("dask://10.0.0.1:8786", 3, 2, (), "dask", "10.0.0.1:8786"),
    ],
)
def test_the_choice_and_its_reason(
    word: str, hosts: int, cores: int, left: tuple[str, ...], kind: str, reason: str
) -> None:
    choice = choose(word, hosts, cores, left)
    assert choice.kind == kind
    assert reason in choice.reason


@pytest.mark.parametrize("word", ["celery", "", "dask://", "dask://host", "dask://:8786", "dask://host:x", "Threads"])
def test_another_word_is_refused(word: str) -> None:
    with pytest.raises(InputError, match="threads, processes or dask"):
        choose(word, 3, 2)


@pytest.mark.parametrize("word", ["processes", "dask://10.0.0.1:8786"])
def test_what_would_leave_a_password_behind_is_refused(word: str) -> None:
    with pytest.raises(InputError, match=r"sudo\.password of the configuration does not travel"):
        choose(word, 3, 2, ("sudo.password",))


def test_plain_values_travel_and_passwords_and_keys_do_not() -> None:
    config = Config(
        overrides={
            "user": "ann",
            "timeouts": {"connect": 3},
            "gateway": "nc %h %p",
            "sudo": {"password": SECRET},
            "connect_kwargs": {"password": SECRET, "passphrase": SECRET, "pkey": object(), "key_filename": ["/k"]},
        }
    )
    options, left = portable_config.packed(config)
    assert set(left) == {
        "sudo.password",
        "connect_kwargs.password",
        "connect_kwargs.passphrase",
        "connect_kwargs.pkey",
    }
    assert SECRET.encode() not in pickle.dumps(options)
    there = portable_config.unpacked(options).clone()
    assert (there.user, there.timeouts.connect, there.gateway) == ("ann", 3, "nc %h %p")
    assert dict(there.connect_kwargs) == {"key_filename": ["/k"]}


@pytest.mark.parametrize("config", [None, {}, Config()])
def test_nothing_stays_behind_of_an_ordinary_configuration(config: Any) -> None:
    assert portable_config.packed(config)[1] == ()


def test_a_gateway_that_is_a_connection_stays_behind() -> None:
    assert portable_config.packed({"gateway": Connection("h1")})[1] == ("gateway",)


def test_what_is_sent_holds_no_password(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "provisioner"
    file.write_text(SECRET)
    sent: list[bytes] = []

    def keep(self: Any, message: bytes) -> None:
        sent.append(message)
        self.process.kill()

    monkeypatch.setattr("meshfab.fleet.crew._Member.send", keep)
    config = Config(overrides={"sudo": {"password": SECRET}, "connect_kwargs": {"password": SECRET}})
    pool = Crew(1, 2)
    try:
        report = check_certs(
            ["h1", "h2"], settings=Settings(provisioner_password=str(file)), config=config, executor=pool
        )
    finally:
        pool.shutdown()
    assert len(sent) == 2
    assert all(SECRET.encode() not in message for message in sent)
    assert all("worker process has died" in str(host.error) for host in report.hosts)


def test_a_crew_makes_calls_in_processes_of_its_own_many_at_once() -> None:
    pool = Crew(2, 4)
    try:
        began = time.monotonic()
        futures = [pool.submit(time.sleep, 0.5) for _ in range(8)]
        pids = {pool.submit(os.getpid).result(20) for _ in range(4)}
        assert [future.result(20) for future in futures] == [None] * 8
        assert time.monotonic() - began < 3.5
        assert os.getpid() not in pids
        with pytest.raises(RuntimeError, match="ValueError: invalid literal"):
            pool.submit(int, "x").result(20)
        assert pool.submit(place.is_worker).result(20) is True
    finally:
        pool.shutdown()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_process_that_dies_takes_its_own_calls_along_and_no_others() -> None:
    pool = Crew(2, 1)
    try:
        lost = pool.submit(os.kill, 0, 0)
        lost.result(20)
        one, two = pool.submit(exec, _DIE), pool.submit(time.sleep, 0.2)
        with pytest.raises(ChildProcessError):
            one.result(20)
        two.result(20)
        assert pool.submit(int, "7").result(20) == 7
        pool.submit(exec, _DIE)
        with pytest.raises(ChildProcessError):
            pool.submit(exec, _DIE).result(20)
            pool.submit(int, "7").result(20)
    finally:
        pool.shutdown()


def test_an_end_at_once_does_not_wait_for_what_runs() -> None:
    pool = Crew(1, 1)
    futures = [pool.submit(time.sleep, 60) for _ in range(3)]
    began = time.monotonic()
    pool.shutdown(wait=False, cancel_futures=True)
    assert time.monotonic() - began < 5
    assert all(future.done() for future in futures)


def test_what_may_mint_does_not_run_in_a_worker(tmp_path: Path) -> None:
    file = tmp_path / "provisioner"
    file.write_text(SECRET)
    pool = Crew(1, 1)
    try:
        with pytest.raises(RuntimeError, match="NotReadyError: what may mint does not run in a worker process"):
            pool.submit(password.read_password, file).result(20)
    finally:
        pool.shutdown()


def test_what_may_mint_does_not_run_in_a_task_of_dask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "provisioner"
    file.write_text(SECRET)
    assert password.read_password(file).reveal() == SECRET

    class Dask:
        Worker = type("Worker", (), {"_instances": {1}})

        @staticmethod
        def get_worker() -> None:
            raise ValueError("No worker found")

    monkeypatch.setitem(sys.modules, "distributed.worker", Dask)
    with pytest.raises(NotReadyError):
        password.read_password(file)


def test_a_missing_extra_is_one_line_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError) as caught:
        dask_executor.Cluster("127.0.0.1:1")
    assert str(caught.value).endswith("-> pip install 'meshfab[dask]'")


def test_the_worker_of_another_version_says_so() -> None:
    from meshfab.fleet.remote_calls import CheckContext, check_hosts

    with pytest.raises(Exception, match=r"the worker has meshfab .*, and not 0\.0"):
        check_hosts(("h1",), Settings(), CheckContext("0.0", "1", pickle.dumps({})))


def test_a_call_knows_what_is_declared_for_its_hosts_only(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, set[str]] = {}

    def look(host: str, settings: Settings, *_args: Any, **_options: Any) -> Any:
        seen[host] = set(settings.services)
        return HostReport(host)

    monkeypatch.setattr(host_check, "check_host", look)
    settings = Settings(services={"tea": {"hosts": ["h1", "h2"]}, "wine": {"host": "h2"}}, hosts=("h3",))
    check_certs(settings=settings)
    assert seen == {"h1": {"tea"}, "h2": {"tea", "wine"}, "h3": set()}


def test_a_member_ends_when_nobody_asks_any_more() -> None:
    pool = Crew(1, 1)
    child = pool._members[0].process
    assert pool.submit(os.getsid, 0).result(20) != os.getsid(0), "a Ctrl-C on the terminal is not for it"
    assert child.stdin
    child.stdin.close()
    assert child.wait(10) == 0
    pool.shutdown()
