"""Errors: one line each, whatever is in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshfab import errors
from meshfab.errors import MeshfabError, one_line

BUILTINS = {
    errors.InputError: ValueError,
    errors.ConnectError: ConnectionError,
    errors.HostKeyError: errors.ConnectError,
    errors.LostError: errors.ConnectError,
    errors.SudoAsksError: errors.NotReadyError,
}
ALL = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, MeshfabError)]


def test_an_error_says_where_what_and_what_to_do() -> None:
    error = MeshfabError("it is broken", host="h2", remedy="mend it")
    assert str(error) == "h2: it is broken -> mend it"
    assert (error.what, error.host, error.remedy) == ("it is broken", "h2", "mend it")
    assert str(MeshfabError("it is broken")) == "it is broken"


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_error_is_in_the_tree_and_drawn_there(kind: type[MeshfabError]) -> None:
    assert issubclass(kind, MeshfabError)
    assert kind.__name__ in (errors.__doc__ or "")
    assert kind.__doc__


@pytest.mark.parametrize(("kind", "base"), BUILTINS.items(), ids=lambda kind: kind.__name__)
def test_an_error_is_also_what_others_catch(kind: type[MeshfabError], base: type[Exception]) -> None:
    assert issubclass(kind, base)


@given(st.text(), st.text())
def test_any_words_make_one_printable_line(what: str, remedy: str) -> None:
    text = str(MeshfabError(what, host="h2", remedy=remedy))
    assert len(text.splitlines()) == 1
    assert "\x1b" not in text
    assert not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in text)


@pytest.mark.parametrize("letter", ["\u202e", "\u2066", "\u200f"], ids=ascii)
def test_a_line_cannot_be_turned_around(letter: str) -> None:
    # Trojan source, on a terminal.
    assert letter not in one_line(f"a{letter}b")
