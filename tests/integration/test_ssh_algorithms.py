"""Hosts whose sshd allows few algorithms: what both sides can do is used, and what is missing is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.on_host import Site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Inv, Mesh

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module", autouse=True)
def clean_afterwards(mesh: Mesh) -> Iterator[None]:
    yield
    mesh.reset("h2")


def allow(site: Site, option: str) -> None:
    site.write("/etc/ssh/sshd_config.d/algorithms.conf", option + "\n")
    site.sh("systemctl restart ssh")


def test_a_host_with_curve25519_by_its_standard_name_only(clean_host: str, inv: Inv) -> None:
    site = Site(clean_host)
    allow(site, "KexAlgorithms curve25519-sha256")
    done = inv("provision", *site.words)
    assert (done.returncode, done.stderr) == (0, "")
    assert site.served() == site.serial() != ""


@pytest.mark.parametrize(
    ("option", "allowed"),
    [
        ("KexAlgorithms sntrup761x25519-sha512@openssh.com", "KexAlgorithms curve25519-sha256"),
        ("Ciphers chacha20-poly1305@openssh.com", "Ciphers aes128-ctr"),
        ("MACs umac-128-etm@openssh.com", "MACs hmac-sha2-256"),
    ],
)
def test_what_is_missing_is_named_and_allowing_it_helps(clean_host: str, inv: Inv, option: str, allowed: str) -> None:
    site = Site(clean_host)
    # With an AEAD cipher no MAC is negotiated.
    allow(site, f"{option}\nCiphers aes128-ctr" if option.startswith("MACs") else option)
    done = inv("provision", *site.words)
    name, offered = option.split()
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert f"its {name} are {offered}, none of which is supported" in line
    _, _, remedy = line.partition(" -> ")
    assert allowed.split()[1] in remedy
    assert f"with {name} in its sshd_config" in remedy
    allow(site, f"{option},{allowed.split()[1]}")
    assert inv("provision", *site.words).returncode == 0
