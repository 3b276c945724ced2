"""What `from meshfab import …` gives, no more and no less."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import meshfab
from meshfab import errors
from meshfab.checks import report

if TYPE_CHECKING:
    from collections.abc import Callable

PUBLIC = ["meshfab", "meshfab.errors"]
MODULES = {module.name for module in pkgutil.iter_modules(meshfab.__path__)}
NAMES = [(module, name) for module in PUBLIC for name in importlib.import_module(module).__all__]


def test_the_public_names_are_these() -> None:
    assert meshfab.__all__ == [
        "HostOutcome",
        "MeshfabError",
        "Move",
        "Outcome",
        "Publication",
        "Readiness",
        "Report",
        "Retirement",
        "Revocation",
        "Service",
        "Settings",
        "apply",
        "check_certs",
        "connect",
        "doctor",
        "mint",
        "move",
        "ns",
        "provision",
        "provisioner_password",
        "publish_dns",
        "reissue",
        "rekey",
        "renew",
        "renew_enable",
        "retire",
        "revoke",
        "wire_nginx",
    ]


def test_the_package_has_no_name_by_accident() -> None:
    code = "import meshfab; print(*(name for name in vars(meshfab) if not name.startswith('_')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) - MODULES <= set(meshfab.__all__)
    assert sorted(dir(meshfab)) == sorted([*meshfab.__all__, "__version__"])


def test_no_submodule_takes_the_place_of_a_public_name() -> None:
    assert not MODULES & set(meshfab.__all__)


@pytest.mark.parametrize(("module", "name"), NAMES, ids=".".join)
def test_every_public_name_is_there_with_its_words(module: str, name: str) -> None:
    thing = getattr(importlib.import_module(module), name)
    assert name == "ns" or inspect.getdoc(thing)


def test_the_file_that_mypy_holds_against_the_wheel_uses_every_public_name() -> None:
    tree = ast.parse((Path(__file__).parents[1] / "support" / "public_api_typing.py").read_text())
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert {name for _, name in NAMES} <= used


def test_every_kind_of_error_is_public_and_in_the_tree_that_is_drawn() -> None:
    kinds = {name for name, thing in vars(errors).items() if isinstance(thing, type)}
    assert sorted(kinds) == errors.__all__
    assert all(issubclass(getattr(errors, name), meshfab.MeshfabError) for name in kinds)
    assert kinds == set(re.findall(r"\w+Error(?= |$)", str(errors.__doc__).partition("Each is")[0], re.MULTILINE)) - {
        "ValueError",
        "ConnectionError",
    }


def test_every_public_parameter_and_attribute_is_explained() -> None:
    functions: list[Callable[..., object]] = [meshfab.provision, meshfab.check_certs, meshfab.renew, meshfab.apply]
    functions += [meshfab.Service.of, meshfab.connect, meshfab.doctor, meshfab.provisioner_password]
    functions += [meshfab.retire, meshfab.revoke]
    for function in functions:
        for name in inspect.signature(function).parameters:
            assert f"\n    {name}: " in str(inspect.getdoc(function)), f"{function!r}({name})"
    for kind in (
        meshfab.Settings,
        meshfab.Service,
        meshfab.Outcome,
        meshfab.HostOutcome,
        meshfab.Readiness,
        meshfab.Report,
        meshfab.Retirement,
        meshfab.Revocation,
        report.HostReport,
    ):
        for field in dataclasses.fields(kind):
            assert f"\n    {field.name}: " in str(inspect.getdoc(kind)), f"{kind.__name__}.{field.name}"


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
