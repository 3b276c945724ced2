"""The documents, typed as they stand: every command of a page on the lab, and what it prints held against the page.

A block ```` ```console ```` is a transcript. A command that nothing is printed under must end well; numbers, times and
the width of columns may differ.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.services import name_servers
from tests.integration.conftest import CHECKOUT
from tests.integration.on_host import Site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.conftest import Inv, Mesh

HOSTS = ("h1", "h2", "h3")
BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
SERVICE = ("provision", "--name", "gongfoo", "--host", "h2")


def blocks(page: str, language: str) -> list[str]:
    text = (CHECKOUT / page).read_text()
    return [
        re.sub(rf"^{indent}", "", body, flags=re.M) for indent, kind, body in BLOCK.findall(text) if kind == language
    ]


def commands(page: str) -> list[tuple[str, str]]:
    """Each command, and what the page says that it prints."""
    found = []
    for block in blocks(page, "console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, printed = part.partition("\n")
            found.append((command, printed))
    return found


def plain(printed: str) -> list[str]:
    """What must be the same on every run."""
    text = re.sub(r"(?<!exit status )\d+", "0", printed)
    # Ten seconds before a tick are as good as ten minutes.
    text = re.sub(r"\b0 (min|s)\b", "0 s", text)
    return [" ".join(line.split()) for line in text.splitlines()]


def play(page: str, folder: Path) -> None:
    for command, printed in commands(page):
        done = subprocess.run(
            ["bash", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
            # The operator's own project, which may set everything.
            env={**os.environ, "MESHFAB_TRUSTED_PROJECTS": str(folder)},
            timeout=120,
            check=False,
        )
        if printed:
            assert plain(done.stdout) == plain(printed), f"{page}: {command}\n{done.stdout}"
        else:
            # A dry run says with 2 that something would change.
            assert done.returncode in ((0, 2) if re.search("(apply|publish-dns) --dry-run", command) else (0,)), (
                f"{page}: {command}\n{done.stdout}"
            )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An operator's own: the tasks, and settings that a page may add to."""
    (tmp_path / "tasks.py").write_text("from meshfab import ns\n\n__all__ = ['ns']\n")
    return tmp_path


@pytest.fixture(autouse=True)
def hosts(mesh: Mesh) -> Iterator[None]:
    mesh.reset(*HOSTS)
    for name, host in (("gongfoo", "h2"), ("wiki", "h3"), ("git", "h1")):
        mesh.dns.point(name, host)
    yield
    mesh.dns.forward(None)
    mesh.reset(*HOSTS)


def demo(_mesh: Mesh, inv: Inv, _folder: Path) -> None:
    assert inv(*SERVICE).returncode == 0


def declared(_mesh: Mesh, _inv: Inv, folder: Path) -> None:
    (folder / "invoke.yaml").write_text(blocks("README.md", "yaml")[0])


def of_the_page(mesh: Mesh, _inv: Inv, folder: Path) -> None:
    mesh.dns.point("tea", "h1")
    (folder / "invoke.yaml").write_text(blocks("docs/how-to/fleet.md", "yaml")[0])


def with_wiki(_mesh: Mesh, inv: Inv, _folder: Path) -> None:
    assert inv("provision", "--name", "wiki", "--host", "h3").returncode == 0


def by_hand(_mesh: Mesh, _inv: Inv, _folder: Path) -> None:
    Site("h3", name="oldtea").runbook()


def demanding(mesh: Mesh, inv: Inv, _folder: Path) -> None:
    [server] = blocks("docs/how-to/mtls-upstream.md", "nginx")
    mesh.hosts.run("h3", "cat >/etc/nginx/conf.d/demanding.conf && systemctl reload nginx", input=server)
    assert inv(*SERVICE).returncode == 0


def beyond(_mesh: Mesh, inv: Inv, folder: Path) -> None:
    assert inv("provision", "--name", "wiki", "--host", "h3").returncode == 0
    [far] = blocks("docs/how-to/jump-hosts.md", "text")
    config = folder / "ssh_config"
    config.write_text(far + (Path.home() / ".ssh" / "config").read_text())
    (folder / "invoke.yaml").write_text(f"meshfab: {{ssh_config: {config}}}\n")


def with_a_store(mesh: Mesh, _inv: Inv, folder: Path) -> None:
    """The setting of the page, with a stand-in for `pass` that prints the password of the lab."""
    store = folder / "pass"
    store.write_text(f'#!/bin/sh\n[ "$*" = "show mesh/provisioner" ] && cat {mesh.lab.password}\necho user: ops\n')
    store.chmod(0o755)
    setting = blocks("docs/how-to/password-store.md", "yaml")[0]
    (folder / "invoke.yaml").write_text(setting.replace("[pass,", f"[{store},"))


def with_a_name_server(mesh: Mesh, _inv: Inv, folder: Path) -> None:
    """The settings of the page, for a BIND on h1 and a declared service; nobody else has the name."""
    mesh.dns.unpoint("wiki")
    server = name_servers.start("bind", "h1")
    key = folder / "dns.key"
    key.write_text(f"hmac-sha256:writer:{name_servers.WRITER}\n")
    key.chmod(0o600)
    setting = blocks("docs/how-to/dns.md", "yaml")[0].replace("10.87.0.1\n", f"{server.address}\n")
    setting = setting.replace("~/.config/meshfab/dns.key", str(key))
    (folder / "invoke.yaml").write_text(f"{setting}  services: {{wiki: {{host: h3}}}}\n")


def test_the_tutorial_is_true(mesh: Mesh, inv: Inv) -> None:
    demo(mesh, inv, CHECKOUT)
    play("docs/tutorial.md", CHECKOUT)
    play("docs/explanation/proof.md", CHECKOUT)


@pytest.mark.parametrize(
    ("page", "before"),
    [
        ("README.md", declared),
        ("docs/how-to/provision.md", None),
        ("docs/how-to/adopt.md", by_hand),
        ("docs/how-to/mtls-upstream.md", demanding),
        ("docs/how-to/fleet.md", of_the_page),
        ("docs/how-to/retire.md", with_wiki),
        ("docs/how-to/jump-hosts.md", beyond),
        ("docs/how-to/password-store.md", with_a_store),
        ("docs/how-to/signing.md", None),
        ("docs/how-to/rekey.md", demo),
        ("docs/how-to/dns.md", with_a_name_server),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_page_shows_is_what_happens(
    page: str, before: Callable[[Mesh, Inv, Path], None] | None, mesh: Mesh, inv: Inv, folder: Path
) -> None:
    if before:
        before(mesh, inv, folder)
    play(page, folder)
