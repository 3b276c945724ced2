"""The seam: plain values in, plain values out, on any executor; and what becomes of hosts that are not waited for."""

from __future__ import annotations

import os
import pickle
import threading
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from meshfab import Settings, check_certs
from meshfab.checks.report import HostReport, Report
from meshfab.cli import check_certs as command
from meshfab.errors import InputError
from meshfab.fleet import check_certs as sweep
from meshfab.fleet import host_check, public_names
from tests.support.certificates import NOW

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class AtOnce(Executor):
    """Runs each task when it is handed over, after a journey through pickle as to another machine."""

    def __init__(self) -> None:
        self.count = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.count += 1
        future: Future[Any] = Future()
        work, given = pickle.loads(pickle.dumps((fn, args)))  # noqa: S301  # our own, of a moment ago
        try:
            future.set_result(pickle.loads(pickle.dumps(work(*given, **kwargs))))  # noqa: S301
        except OSError as error:
            future.set_exception(error)
        return future


def well(host: str, settings: Settings, config: Any = None, **_jumps: Any) -> HostReport:  # noqa: ARG001  # check_host's own words
    return HostReport(host)


def worker_died(host: str, settings: Settings, config: Any = None, **_jumps: Any) -> HostReport:
    if host == "h2":
        raise OSError("the worker is gone")
    return well(host, settings, config)


def test_the_work_runs_on_any_executor_and_its_values_travel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_check, "check_host", well)
    pool = AtOnce()
    told: list[tuple[str, int]] = []
    settings = Settings(hosts=("h1", "h2"), services={"tea": {"host": "h3"}})
    report = check_certs(
        settings=settings, executor=pool, on_result=lambda host, missing: told.append((host.host, missing))
    )
    assert [host.host for host in report.hosts] == ["h1", "h2", "h3"]
    assert (pool.count, sorted(missing for _, missing in told)) == (3, [0, 1, 2])
    assert not report.was_interrupted


def test_a_worker_that_dies_takes_no_other_report_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_check, "check_host", worker_died)
    report = check_certs(["h1", "h2", "h3"], settings=Settings(), executor=AtOnce())
    assert [host.status for host in report.hosts] == ["ok", "unknown", "ok"]
    assert "the worker is gone" in str(report.hosts[1].error)


class LosesWorkers(AtOnce):
    """Has no answer for h2, and cancels h3: what Dask does without workers, and without its scheduler."""

    result_timeout = 0.05

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future = super().submit(fn, *args, **kwargs)
        if self.count == 1:
            return future
        future = Future()
        if self.count == 3:
            future.cancel()
        return future


def test_an_executor_that_loses_its_workers_ends_with_a_report_of_every_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_check, "check_host", well)
    missing: list[int] = []
    report = check_certs(
        ["h1", "h2", "h3"],
        settings=Settings(),
        executor=LosesWorkers(),
        on_result=lambda _host, count: missing.append(count),
    )
    assert [host.error for host in report.hosts] == [
        None,
        "not checked: no worker returned a result for 0.05 s",
        "not checked: the connection to the workers was lost",
    ]
    assert (missing, report.was_interrupted) == ([2, 1, 0], False)


def test_an_interruption_keeps_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    is_over = threading.Event()

    def hangs(host: str, settings: Settings, config: Any = None, **_jumps: Any) -> HostReport:
        assert host != "h2" or is_over.wait(60)
        return well(host, settings, config)

    monkeypatch.setattr(host_check, "check_host", hangs)

    def interrupt(_host: HostReport, missing: int) -> None:
        if missing == 1:
            raise KeyboardInterrupt

    with ThreadPoolExecutor(3) as pool:
        report = check_certs(["h1", "h2", "h3"], settings=Settings(), executor=pool, on_result=interrupt)
        is_over.set()
    assert report.was_interrupted
    assert [host.error is None for host in report.hosts] == [True, False, True]
    assert report.exit_status == 3


@pytest.mark.parametrize(
    ("hosts", "settings", "words"),
    [
        (None, {}, "no host to ask"),
        (["h 1"], {}, "not a host name"),
        (["h1"], {"services": {"tea": {"port": 1}}}, "unknown setting"),
    ],
)
def test_what_cannot_be_used_is_refused_before_any_connection(hosts: Any, settings: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_certs(hosts, settings=Settings(**settings))


def test_a_host_that_is_no_host_is_one_report(monkeypatch: pytest.MonkeyPatch) -> None:
    def confused(*_args: object) -> None:
        raise RecursionError("deep\nin an answer")

    monkeypatch.setattr(host_check, "_certificates", confused)
    report = host_check.check_host("h1", Settings())
    assert report.error == "its answer cannot be judged: RecursionError: deep in an answer"


def test_public_resolvers_share_the_deadline_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(fqdn: str, resolvers: tuple[str, ...]) -> tuple[str, ...]:
        assert resolvers == ("192.0.2.53",)
        if fqdn != "s0.internal":
            time.sleep(0.2)
        return (f"{fqdn} is public",)

    monkeypatch.setattr(public_names, "ask_public", silent)
    names = [f"s{number}.internal" for number in range(500)]
    began = time.monotonic()
    found = public_names.ask_public_names(names, Settings(public_resolvers=("192.0.2.53",)), began + 0.3)
    assert time.monotonic() - began < 3
    assert list(found) == names
    assert found["s0.internal"] == ("s0.internal is public",)
    assert found["s499.internal"] == ()


def test_a_file_is_replaced_at_once_or_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mesh.prom"
    command.replace(file, "one\n")
    command.replace(file, "two\n")
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("two\n", 0o644)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left"):
        command.replace(file, "three\n")
    assert file.read_text() == "two\n"
    assert [path.name for path in tmp_path.iterdir()] == ["mesh.prom"]


def test_words_of_the_command_line_are_checked_first(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--format 'xml' is unknown -> use one of table, json, prometheus, html"):
        command.run({}, ["h1"], command.Options("xml"))
    with pytest.raises(InputError, match="does not exist"):
        command.run({}, ["h1"], command.Options("json", str(tmp_path / "none" / "file")))


@pytest.mark.parametrize("form", command.FORMATS)
def test_every_form_goes_to_stdout_or_to_a_file(
    form: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = Report(NOW, (HostReport("h1"),), 0.5)
    monkeypatch.setattr(sweep, "check_certs", lambda *_args, **_options: done)
    assert command.run({}, ["h1"], command.Options(form)) == 0
    shown = capsys.readouterr().out
    assert command.run({}, ["h1"], command.Options(form, str(tmp_path / "file"))) == 0
    assert capsys.readouterr().out == ""
    assert (tmp_path / "file").read_text() == shown != ""


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_look_from_outside_without_a_root_is_refused_before_anything_is_asked(
    tmp_path: Path, content: str | None
) -> None:
    root = tmp_path / "root.pem"
    if content is not None:
        root.write_text(content)
    settings = Settings(services={"tea": {"host": "h2"}}, operator_root=str(root))
    with pytest.raises(InputError, match=r"root\.pem cannot be used .* set meshfab\.operator_root"):
        check_certs(settings=settings, look="outside")
