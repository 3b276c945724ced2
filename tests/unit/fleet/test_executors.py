"""Where the hosts are checked, and what is sent there: a pure choice, plain values, and no password."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from fabric import Connection
from invoke.config import Config

from lab.machine.process import children, is_gone, wait_until
from meshfab import Settings, check_certs
from meshfab.checks.report import HostReport
from meshfab.config import password
from meshfab.errors import InputError, NotReadyError
from meshfab.fleet import dask_executor, host_check, portable_config
from meshfab.fleet.executors import HOSTS_FOR_PROCESSES, ProcessExecutor, choose

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MANY = HOSTS_FOR_PROCESSES
SECRET = "correct horse"
_DIE = "import os; os._exit(3)"
# A call that says in which process it runs, and waits until the folder has a file of this name.
_WAIT_FOR = """
import os, pathlib, time
folder, end = pathlib.Path({folder!r}), time.monotonic() + 60
(folder / {name!r}).write_text(str(os.getpid()))
while not (folder / {awaited!r}).exists():
    if time.monotonic() > end:
        raise TimeoutError({awaited!r})
    time.sleep(0.01)
"""
# A command with two processes, one call in each.
_COMMAND = """
import sys
from meshfab.fleet.executors import ProcessExecutor

if __name__ == "__main__":
    pool = ProcessExecutor(2, 1)
    calls = [pool.submit(exec, code) for code in sys.argv[1:]]
    try:
        for call in calls:
            call.result()
    except KeyboardInterrupt:
        pool.shutdown(wait=False, cancel_futures=True)
        print("interrupted")
"""


class Calls:
    """Calls that run until they are told to end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def code(self, name: str, awaited: str = "end") -> str:
        return _WAIT_FOR.format(folder=str(self.folder), name=name, awaited=awaited)

    def pids(self) -> dict[str, int]:
        """The calls that have begun, and the processes they run in."""
        pids = {file.name: file.read_text() for file in self.folder.iterdir() if file.name != "end"}
        return {name: int(pid) for name, pid in pids.items() if pid}

    def end(self) -> None:
        (self.folder / "end").touch()


@pytest.fixture
def calls(tmp_path: Path) -> Calls:
    folder = tmp_path / "calls"
    folder.mkdir()
    return Calls(folder)


@pytest.fixture
def pool(request: pytest.FixtureRequest) -> Iterator[ProcessExecutor]:
    made = ProcessExecutor(*getattr(request, "param", (2, 2)))
    yield made
    made.shutdown(wait=False, cancel_futures=True)


@pytest.mark.parametrize(
    ("executor", "hosts", "cores", "not_portable", "kind", "reason"),
    [
        ("auto", MANY - 1, 8, (), "threads", "fewer than"),
        ("auto", MANY, 1, (), "threads", "one processor"),
        ("auto", MANY, 2, ("sudo.password",), "threads", "sudo.password cannot be sent"),
        ("auto", MANY, 2, (), "processes", "2 processors"),
        ("threads", MANY, 8, ("sudo.password",), "threads", "requested"),
        ("processes", 3, 2, (), "processes", "requested"),
        ("dask://10.0.0.1:8786", 3, 2, (), "dask", "10.0.0.1:8786"),
    ],
)
def test_the_choice_and_its_reason(
    executor: str, hosts: int, cores: int, not_portable: tuple[str, ...], kind: str, reason: str
) -> None:
    choice = choose(executor, hosts, cores, not_portable)
    assert choice.kind == kind
    assert reason in choice.reason


@pytest.mark.parametrize(
    "executor", ["celery", "", "dask://", "dask://host", "dask://:8786", "dask://host:x", "Threads"]
)
def test_another_word_is_refused(executor: str) -> None:
    with pytest.raises(InputError, match="threads, processes or dask"):
        choose(executor, 3, 2)


@pytest.mark.parametrize("executor", ["processes", "dask://10.0.0.1:8786"])
def test_a_configuration_with_a_password_is_refused_for_other_processes(executor: str) -> None:
    with pytest.raises(InputError, match=r"sudo\.password of the configuration cannot be sent"):
        choose(executor, 3, 2, ("sudo.password",))


def test_plain_values_are_portable_and_passwords_and_keys_are_not() -> None:
    config = Config(
        overrides={
            "user": "ann",
            "timeouts": {"connect": 3},
            "gateway": "nc %h %p",
            "sudo": {"password": SECRET},
            "connect_kwargs": {"password": SECRET, "passphrase": SECRET, "pkey": object(), "key_filename": ["/k"]},
        }
    )
    options, not_portable = portable_config.packed(config)
    assert set(not_portable) == {
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
def test_an_ordinary_configuration_is_portable(config: Any) -> None:
    assert portable_config.packed(config)[1] == ()


def test_a_gateway_that_is_a_connection_is_not_portable() -> None:
    assert portable_config.packed({"gateway": Connection("h1")})[1] == ("gateway",)


class RecordingPool:
    """Stands for concurrent.futures.ProcessPoolExecutor, and keeps what would be sent to its process."""

    sent: list[bytes]

    def __init__(self, _size: int, _context: Any, initializer: Any, initargs: Any) -> None:
        self.sent.append(pickle.dumps((initializer, initargs)))

    def submit(self, fn: Any, calls: Any, **options: Any) -> Future[Any]:
        self.sent.append(pickle.dumps((fn, calls, options)))
        future: Future[Any] = Future()
        future.set_result([(number, pickle.dumps((None, RuntimeError("recorded")))) for number, _ in calls])
        return future

    def shutdown(self, **_options: Any) -> None:
        """There is no process."""


def test_what_is_sent_contains_no_password(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "provisioner"
    file.write_text(SECRET)
    sent: list[bytes] = []
    monkeypatch.setattr(RecordingPool, "sent", sent, raising=False)
    monkeypatch.setattr("concurrent.futures.ProcessPoolExecutor", RecordingPool)
    config = Config(overrides={"sudo": {"password": SECRET}, "connect_kwargs": {"password": SECRET}})
    pool = ProcessExecutor(1, 2)
    try:
        report = check_certs(
            ["first.host", "second.host"],
            settings=Settings(provisioner_password=str(file)),
            config=config,
            executor=pool,
        )
    finally:
        pool.shutdown()
    assert all("recorded" in str(host.error) for host in report.hosts)
    assert all(name in b"".join(sent) for name in (b"first.host", b"second.host"))
    assert not any(SECRET.encode() in message for message in sent)


def test_each_process_makes_several_calls_at_once(pool: ProcessExecutor, calls: Calls) -> None:
    futures = [pool.submit(exec, calls.code(f"call {number}")) for number in range(4)]
    wait_until(lambda: len(calls.pids()) == 4, "four calls to run at once", 60)
    assert set(calls.pids().values()) == {worker.pid for worker in pool.workers}
    assert len(pool.workers) == 2
    assert not any(future.done() for future in futures)
    calls.end()
    assert [future.result(60) for future in futures] == [None] * 4


def test_a_call_that_hangs_delays_no_other(calls: Calls) -> None:
    pool = ProcessExecutor(1, 2)
    try:
        hanging = pool.submit(exec, calls.code("hanging"))
        assert [pool.submit(int, str(number)).result(60) for number in range(3)] == [0, 1, 2], "each as it ends"
        assert sum(future.result(60) for future in [pool.submit(int, "1") for _ in range(20)]) == 20
        assert not hanging.done()
        calls.end()
        assert hanging.result(60) is None
    finally:
        pool.shutdown()


def test_an_error_is_the_one_of_its_call(pool: ProcessExecutor, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="ValueError: invalid literal"):
        pool.submit(int, "x").result(60)
    with pytest.raises(RuntimeError, match="SystemExit"):
        pool.submit(exec, "raise SystemExit").result(60)
    with pytest.raises((AttributeError, pickle.PicklingError)):
        pool.submit(lambda: None)
    assert pool.submit(password.is_worker).result(60) is True
    pool.submit(exec, "print('noise', flush=True)").result(60)
    # Standard output is the report's.
    assert capfd.readouterr().out == ""


def test_the_end_waits_for_all_calls_and_leaves_no_process(calls: Calls) -> None:
    pool = ProcessExecutor(2, 1)
    first, others = pool.submit(exec, calls.code("first")), [pool.submit(int, "7") for _ in range(5)]
    wait_until(lambda: "first" in calls.pids(), "the first call to run", 60)
    calls.end()
    pool.shutdown()
    assert first.result(0) is None
    assert [future.result(0) for future in others] == [7] * 5
    assert all(is_gone(worker.pid or 0) for worker in pool.workers)


def test_a_process_that_dies_takes_its_own_calls_along_and_no_others(pool: ProcessExecutor, calls: Calls) -> None:
    futures = {f"call {number}": pool.submit(exec, calls.code(f"call {number}")) for number in range(4)}
    wait_until(lambda: len(calls.pids()) == 4, "four calls to run at once", 60)
    pids = calls.pids()
    victim = pids["call 0"]
    os.kill(victim, signal.SIGKILL)
    lost = {name for name, pid in pids.items() if pid == victim}
    for name in lost:
        with pytest.raises(ChildProcessError):
            futures.pop(name).result(60)
    assert 0 < len(lost) < 4
    calls.end()
    assert [future.result(60) for future in futures.values()] == [None] * (4 - len(lost))
    assert pool.submit(int, "7").result(60) == 7


@pytest.mark.parametrize("pool", [(2, 1)], indirect=True)
def test_without_a_process_left_every_call_fails(pool: ProcessExecutor) -> None:
    dying = [pool.submit(exec, _DIE) for _ in range(2)]
    waiting = [pool.submit(int, "7") for _ in range(3)]
    for future in dying:
        with pytest.raises(ChildProcessError):
            future.result(60)
    wait(waiting, 60, FIRST_EXCEPTION)
    with pytest.raises(ChildProcessError):
        pool.submit(int, "7").result(60)


def test_an_end_at_once_does_not_wait_for_what_runs(calls: Calls) -> None:
    pool = ProcessExecutor(1, 1)
    futures = [pool.submit(exec, calls.code(f"call {number}")) for number in range(3)]
    wait_until(lambda: "call 0" in calls.pids(), "the first call to run", 60)
    pool.shutdown(wait=False, cancel_futures=True)
    with pytest.raises(ChildProcessError):
        futures[0].result(0)
    assert all(future.cancelled() for future in futures[1:])
    wait_until(lambda: all(is_gone(worker.pid or 0) for worker in pool.workers), "the process to end", 60)


def test_a_worker_does_not_act_on_ctrl_c_from_its_start_on(pool: ProcessExecutor) -> None:
    for worker in pool.workers:
        os.kill(worker.pid or 0, signal.SIGINT)
    assert pool.submit(int, "7").result(60) == 7
    for worker in pool.workers:
        os.kill(worker.pid or 0, signal.SIGINT)
    assert [pool.submit(int, "7").result(60) for _ in range(4)] == [7] * 4
    assert all(worker.is_alive() for worker in pool.workers)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_no_process_is_left_when_the_command_ends(number: signal.Signals, calls: Calls, tmp_path: Path) -> None:
    script = tmp_path / "command.py"
    script.write_text(_COMMAND)
    process = subprocess.Popen(
        # A shell without a terminal starts its jobs with SIGINT ignored, and pytest may be one of them.
        ["env", "--default-signal=INT", sys.executable, str(script), calls.code("first"), calls.code("second")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        wait_until(lambda: len(calls.pids()) == 2, "both calls to run", 60)
        below = children(process.pid)
        assert set(calls.pids().values()) <= set(below)
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does
            assert process.communicate(timeout=60) == ("interrupted\n", "")
            assert process.returncode == 0
        else:
            process.kill()
        wait_until(lambda: all(map(is_gone, below)), "the processes of the command to end", 60)


def test_the_password_is_not_read_in_a_worker(pool: ProcessExecutor, tmp_path: Path) -> None:
    file = tmp_path / "provisioner"
    file.write_text(SECRET)
    with pytest.raises(
        RuntimeError, match="NotReadyError: the provisioner's password or key is not used in a worker process"
    ):
        pool.submit(password.read_password, file).result(60)


def test_the_password_is_not_read_in_a_task_of_dask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
        dask_executor.DaskExecutor("127.0.0.1:1")
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


@pytest.mark.parametrize(("parallel", "hosts"), [(1, 1), (16, 16), (100, 16)])
def test_a_worker_of_dask_gets_as_many_hosts_as_it_checks_at_once(
    parallel: int, hosts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_executor, "_connect", lambda _address: SimpleNamespace(get_executor=lambda **_options: 0))
    assert dask_executor.DaskExecutor("127.0.0.1:1", parallel).hosts_per_call == hosts
