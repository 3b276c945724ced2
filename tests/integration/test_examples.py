"""Every example is true: run as its words say, with the wheel, on the mesh."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.machine import binaries
from lab.services import dns
from meshfab.version import __version__
from tests.integration.installed import WHEELS
from tests.integration.on_host import Site, curl

if TYPE_CHECKING:
    from tests.integration.conftest import Mesh
    from tests.integration.installed import Installed

pytestmark = pytest.mark.lab

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def test_the_index_names_every_example_and_every_one_is_run_here() -> None:
    folders = {path.name for path in EXAMPLES.iterdir() if path.is_dir()}
    assert folders == {"fabfile", "deploy", "report", "gitea", "infra-setup"}
    assert folders == set(re.findall(r"^\| \[`([\w-]+)/`\]", (EXAMPLES / "README.md").read_text(), re.MULTILINE))


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
    """A machine that runs the jobs of a forge, with nothing on it but the example's own repository.

    The runner is `act`, which Gitea's own is made of, without containers.
    """

    repository: Path
    environment: dict[str, str]
    secrets: dict[str, str]

    @property
    def workflow(self) -> Path:
        return self.repository / ".gitea" / "workflows" / "certificates.yaml"

    def add_before(self, step: str, command: str) -> None:
        """Add a step to the job, to see what the steps around it see."""
        head = f"      - name: {step}\n"
        more = f"      - name: Look around\n        run: |\n          {command}\n\n{head}"
        text = self.workflow.read_text()
        assert text.count(head) == 1
        self.workflow.write_text(text.replace(head, more))

    def run(self) -> tuple[int, str]:
        """Push, so to speak. Returns the runner's exit status, and its log."""
        secrets = [word for name in self.secrets for word in ("--secret", name)]
        done = subprocess.run(
            [
                str(binaries.ensure_runner(lambda *_: None)),
                "push",
                "--no-cache-server",
                "-P",
                "mesh=-self-hosted",
                "-W",
                str(self.workflow),
                *secrets,
            ],
            cwd=self.repository,
            env={**self.environment, **self.secrets},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
            timeout=300,
            check=False,
        )
        return done.returncode, done.stdout

    def left(self) -> list[str]:
        """The files on the machine that hold a secret."""
        home = Path(self.environment["HOME"])
        values = [secret.encode() for secret in self.secrets.values() if secret]
        return [str(path) for path in home.rglob("*") if path.is_file() and any(s in path.read_bytes() for s in values)]


@pytest.fixture
def runner(installed: Installed, mesh: Mesh, tmp_path: Path) -> Runner:
    repository, home = tmp_path / "work", tmp_path / "home"
    shutil.copytree(EXAMPLES / "gitea", repository)
    home.mkdir()
    for words in (
        ["init", "-q"],
        ["add", "-A"],
        ["-c", "user.name=ops", "-c", "user.email=ops@h0", "commit", "-qm", "-"],
    ):
        subprocess.run(["git", *words], cwd=repository, check=True)
    environment = {
        "PATH": f"{Path(sys.executable).resolve().parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(home),
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
    return Runner(repository, environment, secrets)


def steps_of(log: str) -> dict[str, bool]:
    """Each step of the job that ran, and whether it succeeded."""
    return {name: mark == "Success" for mark, name in re.findall(r"(Success|Failure) - Main (.+?)(?: \[|$)", log, re.M)}


def test_a_job_in_a_forges_runner(runner: Runner, wiki: Site) -> None:
    runner.add_before(
        "Apply", 'stat -c "mode %a %n" "$RUNNER_TEMP"/mesh "$RUNNER_TEMP"/mesh/*; env | grep -c ^SSH_KEY || :'
    )
    status, log = runner.run()
    assert status == 0, log
    assert all(steps_of(log).values())
    assert list(steps_of(log))[-1] == "Remove the secrets"
    assert wiki.served() == wiki.serial() != ""
    modes = {name: mode for mode, name in re.findall(r"mode (\d+) \S*/mesh(\S*)", log)}
    assert modes == {"": "700", **dict.fromkeys(("/key", "/known_hosts", "/provisioner", "/ssh_config"), "600")}
    assert all(secret not in log for secret in runner.secrets.values())
    assert runner.left() == []


@pytest.mark.slow
def test_a_critical_finding_fails_the_job(runner: Runner, wiki: Site) -> None:
    # Somebody else's forgotten password file: apply does not touch it, because nobody declared that service.
    wiki.sh("umask 077; echo secret >/tmp/other-provisioner")
    status, log = runner.run()
    assert status != 0
    results = steps_of(log)
    assert [name for name, is_well in results.items() if not is_well] == ["Look at the whole fleet"]
    assert results["Apply"]
    assert results["Remove the secrets"]
    assert "secret-left" in log
    assert runner.left() == []


@pytest.mark.slow
def test_a_job_that_fails_says_why_in_a_line_and_leaves_no_secret(runner: Runner, clean_host: str) -> None:
    runner.secrets["MESH_KNOWN_HOSTS"] = "nobody ssh-ed25519 AAAA"
    status, log = runner.run()
    assert status != 0
    results = steps_of(log)
    assert [name for name, is_well in results.items() if not is_well] == ["Apply"]
    assert results["Remove the secrets"]
    assert f"{clean_host}.internal: the host key is unknown" in log
    assert "Traceback" not in log
    assert runner.left() == []


def test_the_job_pins_what_we_test_with() -> None:
    rows = (EXAMPLES / "gitea" / "requirements.txt").read_text().split("\n")
    pins = {row for row in rows if row and not row.startswith("#")}
    assert f"meshfab=={__version__}" in pins
    assert pins - {f"meshfab=={__version__}"} <= set((EXAMPLES.parent / "constraints.txt").read_text().split("\n"))


@pytest.mark.slow
def test_a_setup_script(installed: Installed, wiki: Site, mesh: Mesh) -> None:
    mesh.reset("h1")  # the name `git` leads to another host from here on
    others = [Site(wiki.host, name) for name in ("git", "tea")]
    dns.point("code", wiki.host)
    script = ("sh", str(EXAMPLES / "infra-setup" / "infra-setup.sh"))
    serials, looks = [], []
    for _ in range(2):
        done = subprocess.run(
            script, env=dict(installed.environment), capture_output=True, text=True, timeout=120, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        serials.append([site.served() for site in (wiki, *others)])
        looks.append(wiki.look())
    assert all(serials[0])
    assert serials[0] == serials[1]
    assert looks[0] == looks[1]
    assert done.stdout.count("nothing to do") == 3
