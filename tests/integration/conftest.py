"""What the lab's tests share: the mesh, the operator's `inv`, and a host as it was brought up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from lab import layout
from lab.faults import faults, host_reset
from lab.services import ca, dns, hosts
from tests.integration.installed import Installed, install
from tests.integration.warm_inv import WarmInv

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CHECKOUT = Path(__file__).resolve().parents[2]


class Mesh:
    """The lab that this test runs in: a module for each kind of thing that it has."""

    hosts = hosts
    ca = ca
    dns = dns
    faults = faults
    layout = layout

    @property
    def lab(self) -> layout.Lab:
        return layout.current()

    @property
    def root(self) -> Path:
        """The mesh's root certificate, as the operator has it."""
        return self.lab.home / ".step" / "certs" / "root_ca.crt"

    def reset(self, *names: str) -> None:
        """Make hosts what they were when the lab brought them up; see `clean_host`."""
        for name in names:
            host_reset.reset(name)


class Inv(Protocol):
    """`inv(*args)` as the operator types it, its output in a pipe; it never raises on a failure."""

    def __call__(
        self,
        *args: str,
        env: Mapping[str, str] | None = None,
        cwd: Path = CHECKOUT,
        timeout: float = 300,
    ) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture(scope="session")
def mesh() -> Mesh:
    """The running lab: `mesh.hosts.run("h2", …)`, `mesh.faults.cut("h2")`, `mesh.ca.stop()` …"""
    return Mesh()


@pytest.fixture(scope="session")
def inv(mesh: Mesh, request: pytest.FixtureRequest) -> Iterator[Inv]:  # noqa: ARG001
    """Run an operator's command: `inv("provision", "--name", "tea", "--host", "h2").stdout`."""
    command = str(Path(sys.executable).with_name("inv"))
    # The quick run of `./dev test`.
    warm = WarmInv(command) if request.config.option.markexpr == "not slow" else None

    def call(
        *args: str,
        env: Mapping[str, str] | None = None,
        cwd: Path = CHECKOUT,
        timeout: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        whole = {**os.environ, **(env or {})}
        # A variable of Python's own is for its start.
        if warm and not any(name.startswith("PYTHON") for name in env or {}):
            return warm.run(args, env=whole, cwd=cwd, timeout=timeout)
        return subprocess.run(
            [command, *args],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=whole,
            cwd=cwd,
            timeout=timeout,
            check=False,
        )

    yield call
    if warm:
        warm.close()


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory, mesh: Mesh) -> Installed:  # noqa: ARG001
    """Our wheel in an environment of its own, outside the checkout."""
    return install(tmp_path_factory.mktemp("installed"))


@pytest.fixture
def clean_host(request: pytest.FixtureRequest, mesh: Mesh) -> str:
    """A host as the lab brought it up: links, disk, units, processes and /tmp. Returns its name.

    It is h2, laid out as Fedora is, unless the test says otherwise:
    `@pytest.mark.parametrize("clean_host", ["h1", "h2"], indirect=True)`. For more hosts in one
    test, and in fixtures of any scope, there is `mesh.reset("h1", "h3")`. What other tests need
    on the host, such as units that a fixture of their module installed, is gone afterwards.
    """
    host = str(getattr(request, "param", "h2"))
    mesh.reset(host)
    return host
