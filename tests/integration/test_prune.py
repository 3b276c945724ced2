"""`inv apply --prune`: what is ours and no longer declared is retired when that is confirmed, and nothing else."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lab.services import hosts
from tests.integration.conftest import CHECKOUT
from tests.integration.on_host import Site, assert_done, assert_refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.conftest import Inv, Mesh

pytestmark = pytest.mark.lab
HOST = "h2"
TEA, MILK = Site(HOST, "tea"), Site(HOST, "milk")


@pytest.fixture(autouse=True)
def clean(mesh: Mesh) -> Iterator[None]:
    mesh.reset(HOST)
    yield
    mesh.reset(HOST)


@pytest.fixture
def mesh_file(tmp_path: Path) -> Path:
    return tmp_path / "mesh.json"


@pytest.fixture
def apply(mesh_file: Path, inv: Inv) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*names: str, more: tuple[str, ...] = (), **settings: Any) -> subprocess.CompletedProcess[str]:
        services = {name: {"host": HOST} for name in names}
        mesh_file.write_text(json.dumps({"meshfab": {"services": services, "hosts": [HOST], **settings}}))
        return inv("-f", str(mesh_file), "apply", *more)

    return run


def left(site: Site) -> str:
    return site.sh(f"find /etc /var/lib /run/meshfab /usr/local -name '*{site.name}*'", check=False)


def test_what_is_declared_no_more_is_retired_when_that_is_confirmed(apply: Any, inv: Inv, mesh_file: Path) -> None:
    assert_done(apply("tea", "milk"))
    # Set up by hand: not ours, whatever its name.
    hand = Site(HOST, "byhand")
    hand.mint()
    hand.write("/etc/nginx/conf.d/byhand.internal.conf", "server { listen 8081; return 204; }")
    before = TEA.look()
    planned = apply("tea", more=("--prune", "--dry-run"))
    assert planned.returncode == 2, planned.stdout + planned.stderr
    assert MILK.key in planned.stdout
    assert "h2 milk.internal: 4 steps to do; nothing was written" in planned.stdout
    report = json.loads(inv("-f", str(mesh_file), "check-certs", "--host", HOST, "--format", "json").stdout)
    named = [
        (row["name"], finding["remedy"].endswith(f"inv apply --host {HOST} --prune"))
        for row in report["hosts"][0]["certificates"]
        for finding in row["findings"]
        if finding["code"] == "undeclared"
    ]
    assert named == [("milk", True)]
    refused = apply("tea", more=("--prune",))
    assert_refused(refused, "no terminal", "milk.internal on h2", "--yes")
    assert MILK.key in refused.stdout
    assert TEA.look() == before
    said = assert_done(apply("tea", more=("--prune", "--yes")))
    assert "h2 milk.internal: retired" in said
    assert left(MILK) == ""
    # nginx answers with what is left.
    assert MILK.served() == TEA.serial()
    assert TEA.served() == TEA.serial() != ""
    assert hand.sh(f"ls {hand.cert} {hand.key} /etc/nginx/conf.d/byhand.internal.conf").count("\n") == 2
    assert "orphan: byhand.internal has a pair" in said
    assert apply("tea", more=("--prune", "--dry-run")).returncode == 0


def test_a_dry_run_says_by_its_status_whether_anything_would_change(apply: Any) -> None:
    assert apply("tea", more=("--dry-run",)).returncode == 2
    assert_done(apply("tea"))
    assert apply("tea", more=("--dry-run",)).returncode == 0
    # Without --prune what is not declared is named, and stays.
    done = apply(more=("--dry-run",))
    assert done.returncode == 0
    assert "h2: --prune would retire what meshfab set up: tea" in done.stdout
    TEA.sh("rm /etc/meshfab/tea.env")
    assert apply("tea", more=("--dry-run",)).returncode == 2
    hosts.run(HOST, "systemctl stop nginx")
    assert apply("tea", more=("--dry-run",)).returncode == 1


def test_a_person_at_a_terminal_is_asked(apply: Any, tmp_path: Path) -> None:
    assert_done(apply("tea"))
    apply(more=("--dry-run",))  # writes the declarations without it
    argv = [str(Path(sys.executable).with_name("inv")), "-f", str(tmp_path / "mesh.json"), "apply", "--prune"]
    for answer, is_left in (("n", True), ("y", False)):
        terminal, end = pty.openpty()
        with subprocess.Popen(argv, cwd=CHECKOUT, stdin=end, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as asked:
            os.close(end)
            os.write(terminal, f"{answer}\n".encode())
            said = asked.communicate(timeout=120)[0].decode()
        os.close(terminal)
        assert "Retire tea.internal on h2? [y/N]" in said
        assert bool(left(TEA)) is is_left, said
        assert asked.returncode == int(is_left)


def test_a_vhost_that_needs_the_pair_keeps_its_service_and_no_other(apply: Any) -> None:
    assert_done(apply("tea", "milk"))
    pair = f"ssl_certificate {MILK.cert}; ssl_certificate_key {MILK.key};"
    MILK.write("/etc/nginx/conf.d/own.conf", f"server {{ listen 8443 ssl; server_name x.internal; {pair} }}")
    MILK.sh("systemctl reload nginx")
    done = apply(more=("--prune", "--yes"))
    assert done.returncode == 1
    assert "/etc/nginx/conf.d/own.conf:1" in done.stdout
    assert left(TEA) == ""
    assert MILK.served() == MILK.serial() != ""


def test_a_host_under_another_name_loses_nothing(apply: Any) -> None:
    assert_done(apply("tea"))
    alias = hosts.address(HOST)
    before = TEA.look()
    assert_refused(apply("tea", more=("--prune", "--yes", "--host", alias)), alias, "would be retired")
    # Both names are in the declarations.
    done = apply("tea", hosts=[alias], more=("--prune", "--yes", "--host", alias))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "which is this host under another name" in done.stdout
    assert TEA.look() == before
