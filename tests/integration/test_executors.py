"""check-certs in other processes: its own, and those of a real Dask scheduler with two workers."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab import layout
from lab.machine.process import is_gone, wait_until
from meshfab import Settings, check_certs
from meshfab.fleet.dask_executor import DaskExecutor
from tests.support.terminal import terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Inv, Mesh

INV = str(Path(sys.executable).with_name("inv"))
HANGING = ("--host", "h1", "--host", "h3")
PORT = 8786
ADDRESS = f"{layout.OPERATOR_ADDRESS}:{PORT}"
HOSTS = ("--host", "h1", "--host", "h2", "--host", "nowhere.internal")


@pytest.fixture(scope="module", autouse=True)
def clean_hosts(mesh: Mesh) -> None:
    """Other tests leave services behind whose names lead elsewhere since."""
    mesh.reset("h1", "h2", "h3")


class Dask:
    """A scheduler and its workers, as people start them."""

    def __init__(self, folder: Path, port: int = PORT) -> None:
        self.folder = folder
        self.address = f"{layout.OPERATOR_ADDRESS}:{port}"
        self.workers: list[subprocess.Popen[bytes]] = []
        self.scheduler = self._start("scheduler", "--host", layout.OPERATOR_ADDRESS, "--port", str(port), "--no-show")
        for _ in range(2):
            self.join()
        try:
            wait_until(lambda: self._count() == 2, "two workers of Dask", 120, 0.1)
        except BaseException:
            self.stop()
            raise

    def join(self) -> None:
        self.workers.append(self._start("worker", f"tcp://{self.address}", "--nthreads", "1", "--no-nanny"))

    def is_busy(self) -> bool:
        """Whether a worker has a call to make."""
        from distributed import Client

        with Client(f"tcp://{self.address}", set_as_default=False) as client:  # type: ignore[no-untyped-call]
            return any(client.processing().values())

    def stop(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        command = str(Path(sys.executable).with_name("dask"))
        with (self.folder / "dask.log").open("ab") as log:
            return subprocess.Popen(
                [command, *words, "--no-dashboard"], stdout=log, stderr=subprocess.STDOUT, cwd=self.folder
            )

    def _count(self) -> int:
        return (self.folder / "dask.log").read_text().count("Registered to:")


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dask]:
    made = Dask(tmp_path_factory.mktemp("dask"))
    yield made
    made.stop()


def told(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    return {host["host"]: host["status"] for host in json.loads(done.stdout)["hosts"]}


@pytest.mark.parametrize("executor", ["threads", "processes", f"dask://{ADDRESS}"])
def test_every_executor_tells_the_same(executor: str, request: pytest.FixtureRequest, inv: Inv) -> None:
    if executor.startswith("dask"):
        request.getfixturevalue("dask")
    done = inv("check-certs", *HOSTS, "--format", "json", "--executor", executor)
    assert told(done) == {"h1": "ok", "h2": "ok", "nowhere.internal": "unknown"}, done.stderr
    assert (done.returncode, done.stderr) == (3, "")


def test_the_workers_of_dask_did_the_work_and_mint_nothing(dask: Dask, mesh: Mesh) -> None:
    assert dask.workers
    pool = DaskExecutor(ADDRESS)
    try:
        assert {pool.submit(os.getpid).result(60)} <= {worker.pid for worker in dask.workers}
        from meshfab.config.password import read_password

        with pytest.raises(Exception, match="the provisioner's password or key is not used in a worker process"):
            pool.submit(read_password, mesh.lab.password).result(60)
    finally:
        pool.shutdown()


@pytest.mark.slow
def test_a_cluster_that_loses_its_workers_says_so_in_every_row(dask: Dask, mesh: Mesh, inv: Inv) -> None:
    mesh.faults.cut("h3")
    pool = DaskExecutor(ADDRESS)
    pool.result_timeout = 5
    try:
        with ThreadPoolExecutor(1) as beside:
            sweep = beside.submit(check_certs, ["h3"], settings=Settings(), executor=pool)
            wait_until(dask.is_busy, "a worker to begin with the host", 120, 0.1)
            for worker in dask.workers:
                worker.kill()
            report = sweep.result(120)
        alone = inv("check-certs", "--host", "h1", "--executor", f"dask://{ADDRESS}")
    finally:
        mesh.faults.restore("h3")
        pool.shutdown()
        for worker in dask.workers:
            worker.kill()
            worker.wait()
        dask.workers.clear()
        dask.join()
    assert report.exit_status == 3
    assert report.hosts[0].error == "not checked: no worker returned a result for 5 s"
    assert (alone.returncode, len(alone.stderr.splitlines())) == (3, 1)
    assert "has no worker" in alone.stderr


@pytest.mark.parametrize("port", [1, 443], ids=["nobody", "somebody else"])
def test_a_scheduler_that_is_none_is_one_line(inv: Inv, port: int) -> None:
    # On 443 of the CA's address somebody answers who is no Dask.
    address = f"{layout.CA_ADDRESS}:{port}"
    done = inv("check-certs", "--host", "h1", "--executor", f"dask://{address}")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"no Dask scheduler answers at {address}")
    assert len(done.stderr.splitlines()) == 1


def test_a_lost_scheduler_is_in_the_row_of_every_host(mesh: Mesh, tmp_path: Path) -> None:
    cluster = Dask(tmp_path, PORT + 10)
    mesh.faults.cut("h3")
    try:
        process = subprocess.Popen(
            [INV, "check-certs", *HANGING, "--format", "json", "--executor", f"dask://{cluster.address}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_until(cluster.is_busy, "a worker to begin with the hosts", 120, 0.1)
        cluster.scheduler.kill()
        out, errors = process.communicate(timeout=120)
    finally:
        mesh.faults.restore("h3")
        cluster.stop()
    errors_of = {host["host"]: host["error"] for host in json.loads(out)["hosts"]}
    assert errors_of == dict.fromkeys(("h1", "h3"), "not checked: the connection to the workers was lost")
    assert (process.returncode, errors) == (3, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_an_interrupted_sweep_says_what_it_knows_and_leaves_no_process(mesh: Mesh, number: signal.Signals) -> None:
    mesh.faults.cut("h3")
    try:
        with terminal() as screen:
            process = subprocess.Popen(
                # A shell without a terminal starts its jobs with SIGINT ignored, and pytest may be one of them.
                ["env", "--default-signal=INT", INV, "check-certs", *HANGING, "--executor", "processes"],
                stdout=subprocess.PIPE,
                stderr=screen.fd,
                text=True,
                start_new_session=True,
            )
            wait_until(lambda: "1 of 2 hosts" in screen.shown(), "h1 to answer", 60, 0.05)
            children = _children(process.pid)
            if number == signal.SIGINT:
                os.killpg(process.pid, number)  # as a terminal does
            else:
                process.kill()
            out, _ = process.communicate(timeout=60)
            errors = screen.shown()
    finally:
        mesh.faults.restore("h3")
    assert children
    wait_until(lambda: all(map(is_gone, children)), "the processes of the check to end", 60)
    assert "Traceback" not in errors
    if number == signal.SIGINT:
        assert process.returncode == 3
        assert "interrupted before it answered" in out
        assert re.search(r"1 unknown, .*\d ok", out)


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(one) for task in tasks for one in (task / "children").read_text().split()]
