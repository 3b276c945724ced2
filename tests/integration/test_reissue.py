"""`inv reissue`: new keys everywhere, and the drill for a provisioner's key that leaked."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from lab import layout
from lab.services import ca
from tests.integration.on_host import Site, assert_done, assert_refused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.conftest import Inv, Mesh

pytestmark = pytest.mark.lab
NEW = "lair-2"


@dataclass
class Fleet:
    """Services on two hosts, declared in a settings file."""

    sites: list[Site]
    file: Path

    def keys(self) -> list[str]:
        return [site.sh(f"sha256sum <{site.key}") for site in self.sites]

    def age(self) -> None:
        """Make the keys an hour older, in what the hosts have recorded."""
        for site in self.sites:
            file = f"/var/lib/meshfab/{site.name}.history"
            site.sh(f"awk '{{ $2 -= 3600 }} 1' {file} >/root/aged && cat /root/aged >{file}")

    @property
    def words(self) -> tuple[str, str]:
        return "-f", str(self.file)


@pytest.fixture(scope="module", autouse=True)
def clean_afterwards(mesh: Mesh) -> Iterator[None]:
    yield
    mesh.reset("h2", "h3")


@pytest.fixture
def fleet(mesh: Mesh, inv: Inv, tmp_path: Path) -> Fleet:
    mesh.reset("h2", "h3")
    sites = [Site("h2"), Site("h2"), Site("h3")]
    file = tmp_path / "mesh.yaml"
    declared = "".join(f"    {site.name}: {{host: {site.host}}}\n" for site in sites)
    file.write_text(f"meshfab:\n  services:\n{declared}")
    fleet = Fleet(sites, file)
    assert_done(inv(*fleet.words, "apply"))
    return fleet


@pytest.fixture
def new_provisioner() -> Iterator[None]:
    """Another provisioner with the same password; the test removes the old one, and this puts it back."""
    old = ca.remove_provisioner()
    ca.add_provisioner(old)
    ca.add_provisioner({**old, "name": NEW})
    yield
    ca.remove_provisioner(NEW)
    if layout.PROVISIONER not in {provisioner["name"] for provisioner in ca.provisioners()}:
        ca.add_provisioner(old)


def findings(inv: Inv, *words: str) -> set[str]:
    report = json.loads(inv(*words, "check-certs", "--format", "json").stdout)
    return {
        finding["code"]
        for host in report["hosts"]
        for each in host["certificates"]
        if each["kind"] == "service"
        for finding in each["findings"]
    }


@pytest.mark.slow
def test_every_key_is_replaced_once(fleet: Fleet, inv: Inv) -> None:
    first, last = fleet.sites[0], fleet.sites[-1]
    fleet.age()
    before = fleet.keys()
    assert inv(*fleet.words, "reissue", "--all", "--dry-run").returncode == 2
    assert fleet.keys() == before
    assert_refused(inv(*fleet.words, "reissue"), "--all")
    assert_done(inv(*fleet.words, "reissue", "--name", last.name))
    after_one = fleet.keys()
    assert (after_one[:2], after_one[2] != before[2]) == (before[:2], True)
    # One host fails: what is left is done by the line that it prints, and nothing else.
    first.sh("mount -o bind,ro /etc/nginx/tls/key /etc/nginx/tls/key 2>/dev/null || chattr +i /etc/nginx/tls/key")
    try:
        failed = inv(*fleet.words, "reissue", "--all")
    finally:
        first.sh("umount /etc/nginx/tls/key 2>/dev/null || chattr -i /etc/nginx/tls/key")
    assert failed.returncode == 1
    after_failure = fleet.keys()
    assert (after_failure[:2], after_failure[2] != after_one[2]) == (before[:2], True)
    rest = failed.stderr.splitlines()[-1].rpartition("add ")[2].split()
    assert rest[0] == "--before"
    assert_done(inv(*fleet.words, "reissue", "--all", *rest))
    now = fleet.keys()
    assert now[2] == after_failure[2], "replaced once"
    assert not set(now[:2]) & set(before)
    assert all(site.served() == site.serial() != "" for site in fleet.sites)
    assert "0 changed" in assert_done(inv(*fleet.words, "reissue", "--all", *rest))


def test_a_thief_of_the_provisioners_key_has_nothing_in_the_end(
    fleet: Fleet,
    inv: Inv,
    new_provisioner: None,  # noqa: ARG001
    tmp_path: Path,
) -> None:
    site = fleet.sites[0]
    (tmp_path / "cert").write_text(site.sh(f"cat {site.cert}") + "\n")
    (tmp_path / "key").write_text(site.sh(f"cat {site.key}") + "\n")

    def thief_renews() -> str:
        pair = str(tmp_path / "cert"), str(tmp_path / "key")
        words = ["step", "ca", "renew", "--force", "--ca-url", layout.CA_URL, *pair]
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    assert "has been saved" in thief_renews()
    stolen, old_keys = (tmp_path / "cert").read_text(), fleet.keys()
    assert stolen.strip() != site.sh(f"cat {site.cert}"), "nobody but the CA knows its serial"
    env = {"INVOKE_MESHFAB_PROVISIONER": NEW}
    fleet.file.write_text(fleet.file.read_text() + f"  provisioner: {NEW}\n")
    assert "provisioner-other" in findings(inv, *fleet.words)
    assert_done(inv(*fleet.words, "reissue", "--all", "--provisioner", NEW))
    assert not set(fleet.keys()) & set(old_keys)
    assert "0 changed" in assert_done(inv(*fleet.words, "reissue", "--all", "--provisioner", NEW))
    ca.remove_provisioner()
    refused = thief_renews()  # 401; only the log of the CA says that the provisioner is not found
    assert "lacked necessary authorization" in refused
    assert "provisioner-other" not in findings(inv, *fleet.words)
    for each in fleet.sites:
        assert each.served() == each.serial() != ""
        assert_done(inv("renew", *each.words, env=env))
