"""What a stranger gets from `pip install`: the command, the tasks in files of theirs, the functions and the types."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.on_host import Site

if TYPE_CHECKING:
    from tests.integration.conftest import Mesh
    from tests.integration.installed import Installed

pytestmark = pytest.mark.lab

CHECKOUT = Path(__file__).resolve().parents[2]
OURS = "from meshfab import ns\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of a stranger's with `ns` in a tasks.py and in a fabfile."""
    for name in ("tasks.py", "fabfile.py"):
        (tmp_path / name).write_text(OURS)
    return tmp_path


@pytest.fixture
def site(clean_host: str) -> Site:
    return Site(clean_host)


class TestContents:
    """The wheel itself."""

    def test_it_has_every_file_of_the_package_and_its_data_and_nothing_else(self, installed: Installed) -> None:
        package = [path for path in (CHECKOUT / "meshfab").rglob("*") if path.is_file()]
        wanted = {str(path.relative_to(CHECKOUT)) for path in package if path.suffix != ".pyc"}
        for name in ("unit-files", "nginx-snippets"):
            wanted |= {f"meshfab/{name}/{path.name}" for path in (CHECKOUT / name).iterdir()}
        with zipfile.ZipFile(installed.wheel) as wheel:
            found = {name for name in wheel.namelist() if ".dist-info/" not in name}
        assert found == wanted
        assert {"meshfab/py.typed", "meshfab/unit-files/meshfab-tick", "meshfab/scripts/ssh/library.sh"} <= found

    def test_what_ships_with_the_package_is_found_in_the_environment(
        self, installed: Installed, tmp_path: Path
    ) -> None:
        shipped = [
            ("unit-files", "step@.service"),
            ("unit-files", "meshfab-tick"),
            ("nginx-snippets", "vhost.conf.j2"),
            ("cli/schemas", "check-certs.schema.json"),
            ("cli/templates", "report.html.j2"),
            ("scripts/ssh", "library.sh"),
        ]
        code = f"from meshfab.host.resources import folder\nfor place, name in {shipped}: print(folder(place) / name)"
        places = installed.run("python", "-c", code, cwd=tmp_path).stdout.splitlines()
        assert len(places) == len(shipped)
        assert all(place.startswith(f"{installed.folder}/lib/") and Path(place).stat().st_size for place in places)


class TestProgram:
    """`meshfab`, in a folder with nothing in it."""

    def test_it_provisions_without_any_tasks_py(self, installed: Installed, site: Site, tmp_path: Path) -> None:
        done = installed.run("meshfab", "provision", *site.words, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert site.served() == site.serial() != ""
        done = installed.run("python", "-m", "meshfab", "provision", *site.words, cwd=tmp_path)
        assert "nothing changed" in done.stdout


class TestTasks:
    """`from meshfab import ns`, under inv and under fab."""

    @pytest.mark.parametrize("command", ["inv", "fab"])
    def test_the_tasks_are_listed(self, installed: Installed, folder: Path, command: str) -> None:
        done = installed.run(command, "--list", cwd=folder)
        assert {"provision", "check-certs"} <= {row.split()[0] for row in done.stdout.splitlines() if row.strip()}

    def test_fab_hands_on_its_connection_and_without_one_there_is_host(
        self, installed: Installed, folder: Path, site: Site
    ) -> None:
        done = installed.run("fab", "-H", site.host, "provision", "--name", site.name, cwd=folder)
        assert (done.returncode, done.stderr) == (0, "")
        assert site.served() == site.serial() != ""
        for command in (("fab",), ("inv",), ("fab", "-H", site.host)):
            done = installed.run(*command, "provision", *site.words, cwd=folder)
            assert (done.returncode, done.stderr) == (0, ""), command
            assert "nothing changed" in done.stdout

    def test_fab_asks_the_host_of_its_connection_about_its_certificates(
        self, installed: Installed, folder: Path, clean_host: str
    ) -> None:
        done = installed.run("fab", "-H", clean_host, "check-certs", cwd=folder)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines()[1].split()[:2] == [clean_host, "(host)"]

    def test_two_hosts_that_differ_are_one_line(self, installed: Installed, folder: Path) -> None:
        done = installed.run("fab", "-H", "h1", "provision", "--name", "x", "--host", "h2", cwd=folder)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == "-H is h1 and --host is h2 -> give one of the two\n"

    @pytest.mark.parametrize("task", ["apply", "check-certs", "doctor"])
    def test_a_task_of_the_fleet_does_not_choose_between_two_words_for_its_hosts(
        self, installed: Installed, folder: Path, task: str
    ) -> None:
        done = installed.run("fab", "-H", "h1", task, "--host", "h1", cwd=folder)
        assert (done.returncode > 0, done.stdout) == (True, "")
        assert done.stderr == "both -H and --host were given -> give --host alone, and again for more hosts\n"

    def test_a_host_whose_key_is_not_on_record_is_refused_under_fab_too(
        self, installed: Installed, folder: Path, clean_host: str, stranger: dict[str, str]
    ) -> None:
        seen = Site(clean_host).commands()
        done = installed.run("fab", "-H", clean_host, "provision", "--name", "x", cwd=folder, env=stranger)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
        assert "the host key is unknown" in done.stderr
        assert Site(clean_host).commands() == seen


OTHER = "https://other.example"
BLOCK = f"meshfab:\n  ca_url: {OTHER}\n"
SET = f"configure({{'meshfab': {{'ca_url': '{OTHER}'}}}})\n"
MOUNTED = (
    "from invoke import Collection\nimport meshfab\nns = Collection()\nns.add_collection(meshfab.ns, name='certs')\n"
)


@dataclass(frozen=True)
class Way:
    """One way to set the CA's URL: the command up to the task, the stranger's files, and the environment."""

    command: str
    files: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)


WAYS = {
    "invoke.yaml": Way("inv ", {"invoke.yaml": BLOCK}),
    "fabric.yaml": Way("fab ", {"fabric.yaml": BLOCK}),
    "invoke.yaml for meshfab": Way("meshfab ", {"invoke.yaml": BLOCK}),
    "-f FILE": Way("inv -f mesh.yaml ", {"mesh.yaml": BLOCK}),
    "-f FILE for fab": Way("fab -f mesh.yaml -H h2 ", {"mesh.yaml": BLOCK}),
    "environment": Way("inv ", env={"INVOKE_MESHFAB_CA_URL": OTHER}),
    "environment for fab": Way("fab ", env={"FABRIC_MESHFAB_CA_URL": OTHER}),
    "environment for meshfab": Way("meshfab ", env={"INVOKE_MESHFAB_CA_URL": OTHER}),
    "ns.configure in place": Way("inv ", {"tasks.py": f"{OURS}ns.{SET}"}),
    "a parent's configure": Way("inv certs.", {"tasks.py": f"{MOUNTED}ns.{SET}"}),
    "a parent that sets another key, and the environment": Way(
        "inv certs.",
        {"tasks.py": f"{MOUNTED}ns.configure({{'meshfab': {{'provisioner': 'lair'}}}})"},
        {"INVOKE_MESHFAB_CA_URL": OTHER},
    ),
    "mounted, and invoke.yaml": Way("inv certs.", {"tasks.py": MOUNTED, "invoke.yaml": BLOCK}),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_setting_is_taken_from_there_and_every_other_keeps_its_default(
    installed: Installed, folder: Path, way: Way
) -> None:
    for name, text in way.files.items():
        (folder / name).write_text(text)
    words = f"{way.command}renew-enable --name ways --host h2 --dry-run"
    done = installed.run(*words.split(), cwd=folder, env=way.env)
    assert (done.returncode, done.stderr) == (0, "")
    told = {row for row in done.stdout.splitlines() if row.startswith("+MESHFAB_")}
    assert f"+MESHFAB_CA_URL={OTHER}" in told
    assert "+MESHFAB_ROOT=/etc/pki/ca-trust/source/anchors/root-internal.pem" in told
    assert "+MESHFAB_CERT=/etc/nginx/tls/cert/ways.internal.pem" in told


# The caller's own connection, by Fabric's own rules until it is handed over.
OWN = """
import sys
from fabric import Connection
from meshfab import MeshfabError, provision

with Connection(sys.argv[1]) as c:
    if sys.argv[3] == "open":
        c.open()
    try:
        print(len(provision(c, sys.argv[2]).changed), "changes")
    except MeshfabError as error:
        sys.exit(f"{type(error).__name__}: {error}")
"""


@pytest.fixture
def stranger(tmp_path: Path, mesh: Mesh) -> dict[str, str]:
    """The environment of an operator who has been on no host of the mesh yet, and has the password."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    shutil.copytree(mesh.lab.home / ".step", home / ".step")
    own = f"IdentityFile {mesh.lab.home}/.ssh/id_ed25519"
    config = (mesh.lab.home / ".ssh" / "config").read_text()
    (home / ".ssh" / "config").write_text(config.replace("IdentityFile ~/.ssh/id_ed25519", own))
    return {"HOME": str(home)}


class TestFunctions:
    """The step functions on a connection that the caller has made."""

    @pytest.mark.parametrize("state", ["closed", "open"])
    def test_a_connection_of_the_callers_is_used(
        self, installed: Installed, site: Site, tmp_path: Path, state: str
    ) -> None:
        done = installed.run("python", "-c", OWN, site.host, site.name, state, cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (0, "4 changes\n", "")
        assert site.served() == site.serial() != ""

    @pytest.mark.parametrize("state", ["closed", "open"])
    def test_one_to_a_host_that_is_not_verified_is_refused_before_anything_is_sent(
        self, installed: Installed, site: Site, tmp_path: Path, stranger: dict[str, str], state: str
    ) -> None:
        logins, commands = site.logins(), site.commands()
        done = installed.run("python", "-c", OWN, site.host, site.name, state, cwd=tmp_path, env=stranger)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
        assert done.stderr.startswith("HostKeyError: h2: the host key is unknown")
        # What the caller opened by itself is a login; nothing of ours came after it.
        assert (site.logins(), site.commands()) == (logins + (state == "open"), commands)
        assert site.leftovers() == ""


class TestTypes:
    """py.typed, and every public name in a stranger's typed file."""

    def test_it_passes_mypys_strict_rules_against_the_wheel(self, installed: Installed, tmp_path: Path) -> None:
        shutil.copy(CHECKOUT / "tests" / "support" / "public_api_typing.py", tmp_path)
        (tmp_path / "wrong.py").write_text("from meshfab import Settings\nSettings(parallel='many')\n")
        mypy = [sys.executable, "-m", "mypy", "--strict", "--python-executable", installed.bin("python")]

        def check(name: str) -> str:
            done = subprocess.run([*mypy, name], cwd=tmp_path, capture_output=True, text=True, check=False)
            return done.stdout

        assert check("public_api_typing.py") == "Success: no issues found in 1 source file\n"
        assert 'incompatible type "str"; expected "int"' in check("wrong.py")
