"""The examples in the docstrings work."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import meshfab

MODULES = [
    module.name
    for module in pkgutil.walk_packages(meshfab.__path__, "meshfab.")
    if not module.name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_work(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0, capsys.readouterr().out


@pytest.mark.parametrize("name", ["meshfab.errors", "meshfab.config.settings", "meshfab.config.validation"])
def test_modules_of_the_public_api_have_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).attempted
