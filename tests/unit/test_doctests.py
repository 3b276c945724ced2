"""The examples in the docstrings are true."""

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
def test_what_a_docstring_shows_is_what_happens(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0, capsys.readouterr().out


@pytest.mark.parametrize("name", ["meshfab.errors", "meshfab.config.settings", "meshfab.config.validation"])
def test_the_modules_that_people_meet_first_have_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).attempted
