"""What holds for every test: no connection leaves the lab, and no test reads its user's own files.

Everything below `tests/integration` is marked `lab`: it runs inside the lab and is left out
elsewhere. `./dev test` brings labs up and runs it in them, but for the tests that are marked `slow`.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from lab import layout
from lab.errors import LabError
from lab.machine import namespace_holder
from meshfab.ssh import host_keys

if TYPE_CHECKING:
    from collections.abc import Callable

_INTEGRATION = Path(__file__).parent / "integration"
_LEFT_OUT = pytest.StashKey[int]()
# Hypothesis measures how long an example takes, and a machine that is busy takes long for any.
settings.register_profile("meshfab", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("meshfab")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the lab's tests by their folder, the quick ones first; outside the lab leave them out."""
    for item in items:
        if item.path.is_relative_to(_INTEGRATION):
            item.add_marker("lab")
    items.sort(key=lambda item: item.get_closest_marker("lab") is not None)
    if _is_inside():
        return
    left_out = [item for item in items if item.get_closest_marker("lab")]
    items[:] = [item for item in items if not item.get_closest_marker("lab")]
    config.hook.pytest_deselected(items=left_out)
    config.stash[_LEFT_OUT] = len(left_out)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say once what was left out, and how to run it."""
    count = config.stash.get(_LEFT_OUT, 0)
    if count:
        terminalreporter.write_line(
            f"{count} lab tests left out: this is not the lab. ./dev test runs them in one",
            yellow=True,
        )


def _is_inside() -> bool:
    """Whether this process is in the network of the current lab."""
    try:
        holder = namespace_holder.pid(layout.current())
        return Path("/proc/self/ns/net").samefile(f"/proc/{holder}/ns/net")
    except (LabError, OSError):
        return False


@pytest.fixture(autouse=True)
def own_home(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """A home with nothing in it, and no settings by environment; in the lab, the operator's home."""
    for name in list(os.environ):
        if name.startswith(("INVOKE_", "FABRIC_")):
            monkeypatch.delenv(name)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    if request.node.get_closest_marker("lab") is None:
        monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture
def ssh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An ~/.ssh of its own, and no files of the machine's."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(host_keys, "_GLOBAL_FILES", "none")
    (tmp_path / ".ssh").mkdir()
    return tmp_path / ".ssh"


@pytest.fixture(autouse=True)
def no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test without the mark `lab` fails when it connects, or asks for a name."""
    if request.node.get_closest_marker("lab") is not None:
        return
    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, _guarded(getattr(socket.socket, name)))
    monkeypatch.setattr(socket, "getaddrinfo", _refuse)


def _guarded(real: Callable[..., Any]) -> Callable[..., Any]:
    def call(self: socket.socket, *args: Any) -> Any:
        if self.family != socket.AF_UNIX:
            _refuse(*args)
        return real(self, *args)

    return call


def _refuse(*args: Any, **_more: Any) -> None:
    # Not an Exception, so no code under test can swallow it.
    pytest.fail(f"a test outside the lab tried to reach {args!r}: put it in tests/integration")
