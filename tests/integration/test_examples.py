"""Every example is true: run as its words say, with the wheel, on the mesh."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.integration.installed import WHEELS
from tests.integration.on_host import Site, curl

if TYPE_CHECKING:
    from tests.integration.conftest import Mesh
    from tests.integration.installed import Installed

pytestmark = pytest.mark.lab

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def test_the_index_names_every_example_and_every_one_is_run_here() -> None:
    folders = {path.name for path in EXAMPLES.iterdir() if path.is_dir()}
    assert folders == {"fabfile", "deploy", "report", "gitea"}
    assert folders == set(re.findall(r"^\| \[`(\w+)/`\]", (EXAMPLES / "README.md").read_text(), re.MULTILINE))


@pytest.fixture
def wiki(clean_host: str) -> Site:
    return Site(clean_host, "wiki")


def test_a_plain_fabfile(installed: Installed, wiki: Site) -> None:
    folder = EXAMPLES / "fabfile"
    listed = installed.run("fab", "--list", cwd=folder).stdout.split()
    assert {"provision", "wiki"} <= set(listed)
    done = installed.run("fab", "-H", wiki.host, "wiki", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "https://wiki.internal until" in done.stdout.splitlines()[-1]
    assert wiki.served() == wiki.serial() != ""
    assert "proxy_pass http://127.0.0.1:8080" in wiki.sh(f"cat {wiki.vhost}")
    done = installed.run("fab", "-H", "nohost", "wiki", cwd=folder)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)


# The hosts have no Python; Perl is part of every Debian.
APP = """#!/usr/bin/perl
use IO::Socket::INET;
my $server = IO::Socket::INET->new(LocalAddr => "127.0.0.1:8080", Listen => 5, ReuseAddr => 1) or die;
while (my $client = $server->accept) {
    while (<$client>) { last if /^\\r$/ }
    print $client "HTTP/1.0 200 OK\\r\\n\\r\\nwiki VERSION\\n";
    close $client;
}
"""
UNIT = "[Service]\nExecStart=/opt/wiki\n"


def test_a_deploy(installed: Installed, wiki: Site, tmp_path: Path) -> None:
    wiki.write("/etc/systemd/system/wiki.service", UNIT)
    wiki.sh("systemctl daemon-reload")
    build = tmp_path / "wiki"
    for version, certificate in (("1", "certificate: mint"), ("2", "certificate: nothing to do")):
        build.write_text(APP.replace("VERSION", version))
        words = ("deploy", "--host", wiki.host, "--build", str(build))
        done = installed.run("fab", *words, cwd=EXAMPLES / "deploy")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(certificate)
        assert done.stdout.endswith(f"answers: wiki {version}\n")
        assert curl(wiki) == f"wiki {version}\n"
    wiki.sh("systemctl stop wiki")


def test_a_deploy_without_a_certificate_restarts_nothing(installed: Installed, tmp_path: Path) -> None:
    words = ("deploy", "--host", "nohost", "--build", "wiki")
    done = installed.run("fab", *words, cwd=EXAMPLES / "deploy", env={"HOME": str(tmp_path)})
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert done.stderr.startswith("nothing was deployed: ")


def test_a_loop_with_a_report_of_its_own(installed: Installed, wiki: Site, mesh: Mesh) -> None:
    mesh.reset("h1")
    git = Site("h1", "git")
    done = installed.run(
        "python", "report.py", "git@h1", "tea@nohost", f"wiki@{wiki.host}", "A.B@h1", cwd=EXAMPLES / "report"
    )
    first, down, last, wrong = (json.loads(row) for row in done.stdout.splitlines())
    assert (done.returncode, done.stderr) == (1, "")
    assert (first["ok"], down["ok"], last["ok"], wrong["ok"]) == (True, False, True, False)
    assert "not a known name" in down["error"]
    assert "mint" in last["changed"]
    assert git.served() == git.serial() != ""
    assert wiki.served() == wiki.serial() != ""


@dataclass
class Runner:
    """What a forge's runner does with a job: each step by `bash -e`, with what it was given, until one fails."""

    folder: Path
    temp: Path
    environment: dict[str, str]
    secrets: dict[str, str]
    did: list[str] = field(default_factory=list)

    def run(self, steps: list[dict[str, Any]]) -> tuple[int, str]:
        """The first status that was not 0, and all that was said."""
        status, said = 0, ""
        for step in steps:
            if "run" not in step or (status and step.get("if") != "always()"):
                continue
            done = subprocess.run(
                ["/bin/bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]],
                cwd=self.folder,
                env={**self.environment, **{name: self._filled(text) for name, text in step.get("env", {}).items()}},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                text=True,
                timeout=60,
                check=False,
            )
            self.did.append(step["name"])
            status, said = status or done.returncode, said + done.stdout
        return status, said

    def _filled(self, text: str) -> str:
        return re.sub(r"\$\{\{ secrets\.(\w+) \}\}", lambda match: self.secrets[match[1]], text)


@pytest.fixture
def runner(installed: Installed, mesh: Mesh, tmp_path: Path) -> Runner:
    """A clean machine: no terminal, an empty home, and of this checkout only the example's own files."""
    shutil.copytree(EXAMPLES / "gitea", tmp_path / "work")
    for name in ("home", "temp"):
        (tmp_path / name).mkdir()
    environment = {
        "PATH": f"{Path(sys.executable).resolve().parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(tmp_path / "home"),
        "CI": "true",
        "GITEA_ACTIONS": "true",
        "RUNNER_TEMP": str(tmp_path / "temp"),
        # In the place of the package index.
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": f"{WHEELS} {installed.wheels}",
        "PIP_NO_COMPILE": "1",
    }
    secrets = {
        "MESH_SSH_KEY": (mesh.lab.home / ".ssh" / "id_ed25519").read_text().rstrip("\n"),
        "MESH_KNOWN_HOSTS": (mesh.lab.home / ".ssh" / "known_hosts").read_text().rstrip("\n"),
        "MESH_PROVISIONER": mesh.lab.password.read_text().rstrip("\n"),
    }
    return Runner(tmp_path / "work", tmp_path / "temp", environment, secrets)


@pytest.fixture
def steps(installed: Installed, runner: Runner) -> list[dict[str, Any]]:
    """The job's steps."""
    job = yaml.safe_load((runner.folder / ".gitea" / "workflows" / "certificates.yaml").read_text())
    found: list[dict[str, Any]] = job["jobs"]["certificates"]["steps"]
    assert installed.wheel.is_file()
    return found


NAMES = ["Install", "Write the secrets down", "Apply", "Look at the whole fleet", "Remove the secrets"]


def test_a_job_of_a_forge(runner: Runner, steps: list[dict[str, Any]], wiki: Site) -> None:
    look = {
        "name": "look",
        "run": 'stat -c "%a %n" "$RUNNER_TEMP"/mesh "$RUNNER_TEMP"/mesh/*; env | grep -c "^SSH_KEY" || :',
    }
    status, said = runner.run([*steps[:3], look, *steps[3:]])
    assert status == 0, said
    assert [name for name in runner.did if name != "look"] == NAMES
    assert wiki.served() == wiki.serial() != ""
    assert "\x1b" not in said
    assert all(secret not in said for secret in runner.secrets.values())
    modes = re.findall(rf"^(\d+) {runner.temp}/mesh(\S*)$", said, re.MULTILINE)
    assert {name: mode for mode, name in modes} == {
        "": "700",
        "/key": "600",
        "/known_hosts": "600",
        "/provisioner": "600",
        "/ssh_config": "600",
    }
    assert [path.name for path in runner.temp.iterdir()] == ["tools"]
    assert not any(Path(runner.environment["HOME"]).rglob("known_hosts"))


def test_a_job_that_fails_says_why_in_a_line_and_leaves_no_secret(
    runner: Runner, steps: list[dict[str, Any]], installed: Installed, clean_host: str
) -> None:
    # The tools are there: installing them once is enough.
    (runner.temp / "tools").symlink_to(installed.folder)
    runner.secrets["MESH_KNOWN_HOSTS"] = ""
    status, said = runner.run(steps[2:])
    assert status == 1
    assert runner.did == ["Write the secrets down", "Apply", "Remove the secrets"]
    assert [row for row in said.splitlines() if f"{clean_host}.internal: the host key is unknown" in row]
    assert "Traceback" not in said
    assert "\x1b" not in said
    assert [path.name for path in runner.temp.iterdir()] == ["tools"]
