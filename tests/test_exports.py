"""What `from meshfab import …` gives, no more and no less."""

from __future__ import annotations

import subprocess
import sys

import pytest

import meshfab


def test_the_public_names_are_these() -> None:
    assert sorted(meshfab.__all__) == [
        "MeshfabError",
        "Service",
        "Settings",
        "check_certs",
        "mint",
        "ns",
        "provision",
        "renew",
        "renew_enable",
        "wire_nginx",
    ]
    assert list(meshfab.__all__) == sorted(meshfab.__all__)


@pytest.mark.parametrize("name", meshfab.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(meshfab, name) is not None


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        meshfab.nonsense  # noqa: B018


def test_the_namespace_has_the_tasks_and_the_defaults_of_the_settings() -> None:
    assert {"provision", "mint", "renew-enable", "wire-nginx"} <= set(meshfab.ns.task_names)
    assert meshfab.ns.configuration()["meshfab"]["ca_url"] == "https://ca.internal"


@pytest.mark.parametrize("slow", ["fabric", "paramiko", "cryptography", "rich", "jinja2", "crossplane"])
def test_listing_the_tasks_imports_nothing_slow(slow: str) -> None:
    code = f"import sys, meshfab; sys.exit({slow!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
