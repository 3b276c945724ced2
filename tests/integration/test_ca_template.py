"""The template of `inv ca-template` at a real CA: a provisioner that issues the mesh's names and no other."""

from __future__ import annotations

import os
import shlex
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from lab.services import ca
from tests.integration import ssh_agent
from tests.integration.on_host import Site, assert_done, assert_refused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.conftest import Inv, Mesh

pytestmark = pytest.mark.lab

AGENT_PROVISIONER = "template-agent"


@contextmanager
def templated(mesh: Mesh, inv: Inv, folder: Path, *options: str) -> Iterator[Path]:
    """The lab's provisioner with the template, by the very lines that are printed; afterwards as it was."""
    config, file = mesh.lab.ca / "config" / "ca.json", folder / "template.json"
    before, printed = config.read_text(), inv(*options, "ca-template")
    assert printed.returncode == 0, printed.stderr
    file.write_text(printed.stdout)
    line = next(line for line in printed.stderr.splitlines() if "step ca" in line)
    argv = [str(file) if word == "FILE" else word for word in shlex.split(line[line.index("step ca") :])]
    env = {**os.environ, "STEPPATH": str(mesh.lab.ca)}
    subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    restart()
    yield file
    config.write_text(before)
    restart()


def restart() -> None:
    ca.stop()
    ca.start()


@pytest.fixture(scope="module")
def modes(mesh: Mesh, inv: Inv, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, str]]]:
    """The environment of each mode. Both provisioners have the template for the declared names."""
    folder = tmp_path_factory.mktemp("template")
    key, services = ssh_agent.make_key(folder / "key", "ecdsa"), folder / "mesh.yaml"
    services.write_text("meshfab:\n  services:\n    declared: {host: h2, sans: [also.internal]}\n")
    with templated(mesh, inv, folder, "-f", str(services)) as file, ssh_agent.started(folder) as agent:
        options = {"x509": {"templateFile": str(file)}}
        provisioner = {"type": "JWK", "name": AGENT_PROVISIONER, "key": key.jwk, "claims": ca.CLAIMS}
        ca.add_provisioner({**provisioner, "options": options})
        agent.add(str(key.path))
        by_agent = {"INVOKE_MESHFAB_SIGNING": "agent", "INVOKE_MESHFAB_PROVISIONER": AGENT_PROVISIONER, **agent.env}
        yield {"host": {}, "operator": {"INVOKE_MESHFAB_SIGNING": "operator"}, "agent": by_agent}
    mesh.reset("h2")


@pytest.mark.parametrize("mode", ["host", "operator", pytest.param("agent", marks=pytest.mark.slow)])
def test_a_declared_name_is_minted_and_renewed_and_another_is_refused(
    clean_host: str, inv: Inv, modes: dict[str, dict[str, str]], mode: str
) -> None:
    env, outside, declared = modes[mode], Site(clean_host), Site(clean_host, "declared")
    before = outside.look()
    words = f"{outside.fqdn} is not a name of a declared service"
    assert_refused(inv("mint", *outside.words, env=env), clean_host, words, "see the")
    assert outside.look() == before
    assert_done(inv("provision", *declared.words, "--san", "also.internal", env=env))
    assert declared.served() == declared.serial() != ""
    assert_done(inv("renew", *declared.words, env=env))


def test_without_services_the_names_are_those_of_the_domain(
    clean_host: str, inv: Inv, mesh: Mesh, tmp_path: Path
) -> None:
    site = Site(clean_host)
    with templated(mesh, inv, tmp_path):
        for name in ("www.bank.example", "ca.internal"):
            refused = f"{name} is not a name of a service below internal"
            assert_refused(inv("mint", *site.words, "--san", name), refused)
        assert_done(inv("mint", *site.words))
