"""Errors: one line each, with any text in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshfab import errors
from meshfab.errors import MeshfabError, one_line

BASES = {
    errors.InputError: ValueError,
    errors.ConnectError: ConnectionError,
    errors.HostKeyError: errors.ConnectError,
    errors.LostError: errors.ConnectError,
    errors.SudoAsksError: errors.NotReadyError,
}
ALL = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, MeshfabError)]


def test_the_message_has_host_problem_and_remedy() -> None:
    error = MeshfabError("it is broken", host="h2", remedy="mend it")
    assert str(error) == "h2: it is broken -> mend it"
    assert (error.what, error.host, error.remedy) == ("it is broken", "h2", "mend it")
    assert str(MeshfabError("it is broken")) == "it is broken"


@pytest.mark.parametrize("error", ALL, ids=lambda error: error.__name__)
def test_every_error_is_in_the_tree_of_the_docstring(error: type[MeshfabError]) -> None:
    assert issubclass(error, MeshfabError)
    assert error.__name__ in (errors.__doc__ or "")
    assert error.__doc__


@pytest.mark.parametrize(("error", "base"), BASES.items(), ids=lambda error: error.__name__)
def test_an_error_has_a_second_base_class(error: type[MeshfabError], base: type[Exception]) -> None:
    assert issubclass(error, base)


@given(st.text(), st.text())
def test_any_text_becomes_one_printable_line(what: str, remedy: str) -> None:
    text = str(MeshfabError(what, host="h2", remedy=remedy))
    assert len(text.splitlines()) == 1
    assert "\x1b" not in text
    assert not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in text)


@pytest.mark.parametrize("letter", ["\u202e", "\u2066", "\u200f"], ids=ascii)
def test_the_direction_of_text_cannot_be_changed(letter: str) -> None:
    # The "Trojan Source" attack (CVE-2021-42574), here on a terminal.
    assert letter not in one_line(f"a{letter}b")
