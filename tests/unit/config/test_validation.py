"""Which words may go on to a host."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshfab.config import validation
from meshfab.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

SHELL = set(" \t\n\r;&|<>()$`\\\"'*?[]#~!{}^")
NGINX = set(" \t\n\r;{}#$\"'\\")
ANY_TEXT = st.one_of(
    st.text(),
    # Near misses: what the rules let through, with one character that they must not.
    st.builds(str.__add__, st.from_regex(r"[a-z0-9./:@-]{1,20}", fullmatch=True), st.text(max_size=2)),
)

BAD_NAMES = {
    "empty": "",
    "dot": "gongfoo.internal",
    "capital": "Gongfoo",
    "slash": "a/b",
    "parent folder": "..",
    "space": "a b",
    "command substitution": "$(reboot)",
    "backquotes": "`reboot`",
    "leading dash": "-rf",
    "trailing dash": "a-",
    "64 characters": "a" * 64,
    "umlaut": "gö",
    "full-width letters": "\uff41\uff42\uff43",
    "arabic digits": "a\u0661",
    "trailing newline": "gongfoo\n",
    "semicolon": "a;b",
    "underscore": "a_b",
    "NUL": "a\0b",
    "percent": "a%i",
}
BAD_HOSTS = {
    "empty": "",
    "option": "-oProxyCommand=reboot",
    "option after a user": "ops@-oProxyCommand=reboot",
    "space": "h2 h3",
    "command substitution": "$(reboot)",
    "newline": "h2\n",
    "slash": "h2/etc",
    "semicolon": "h2;reboot",
    "port that is no number": "h2:ssh",
    "port out of range": "h2:99999",
    "empty user": "@h2",
    "non-ASCII": "hö",
}
BAD_URLS = {
    "empty": "",
    "no URL": "localhost",
    "no scheme": "127.0.0.1:8080",
    "no host": "http://",
    "path only": "http:///index",
    "other scheme": "ftp://h/x",
    "file": "file:///etc/shadow",
    "newline": "http://h:1/\nreturn 200",
    "trailing newline": "http://h:1\n",
    "space": "http://h:1/a b",
    "opening brace": "http://h:1/{",
    "closing brace": "http://h:1/}",
    "semicolon": "http://h:1/;",
    "variable": "http://$host/",
    "quote": 'http://h/"',
    "backslash": "http://h/\\",
    "comment": "http://h/#x",
    "user and password": "http://me:secret@h/",
    "port out of range": "http://h:99999/",
    "port that is no number": "http://h:x/",
    "capital scheme": "HTTP://h/",
    "non-ASCII": "http://hö/",
}
BAD_PATHS = {
    "empty": "",
    "relative": "etc/nginx",
    "parent folder": "/etc/../shadow",
    "this folder": "/etc/./nginx",
    "space": "/etc/a b",
    "trailing slash": "/etc/nginx/",
    "semicolon": "/etc/a;b",
    "newline": "/etc/a\n",
    "variable": "/etc/$HOME",
    "root": "/",
    "home": "~/x",
}


@pytest.mark.parametrize("word", BAD_NAMES.values(), ids=BAD_NAMES)
def test_a_name_that_is_no_dns_label_is_refused_in_one_line(word: str) -> None:
    with pytest.raises(InputError) as caught:
        validation.label(word)
    assert_is_one_harmless_line(str(caught.value))


@pytest.mark.parametrize("word", BAD_HOSTS.values(), ids=BAD_HOSTS)
def test_a_host_that_ssh_could_read_as_something_else_is_refused(word: str) -> None:
    with pytest.raises(InputError) as caught:
        validation.host(word)
    assert_is_one_harmless_line(str(caught.value))


@pytest.mark.parametrize("word", BAD_URLS.values(), ids=BAD_URLS)
def test_an_upstream_that_is_no_plain_url_is_refused(word: str) -> None:
    with pytest.raises(InputError) as caught:
        validation.url(word, "the upstream")
    assert_is_one_harmless_line(str(caught.value))


@pytest.mark.parametrize("word", BAD_PATHS.values(), ids=BAD_PATHS)
def test_a_path_that_is_not_plain_is_refused(word: str) -> None:
    with pytest.raises(InputError) as caught:
        validation.path(word, "meshfab.root")
    assert_is_one_harmless_line(str(caught.value))
    assert "meshfab.root" in str(caught.value)


@pytest.mark.parametrize("word", ["", "-lair", "a\nb", "a;b", "x" * 129, "ü"])
def test_a_provisioner_that_step_could_misread_is_refused(word: str) -> None:
    with pytest.raises(InputError):
        validation.provisioner(word)


@pytest.mark.parametrize("word", [None, 7, b"gongfoo", ["gongfoo"], True])
@pytest.mark.parametrize("check", [validation.label, validation.dns_name, validation.host, validation.provisioner])
def test_what_is_no_text_is_refused(check: Callable[[object], str], word: object) -> None:
    with pytest.raises(InputError, match=type(word).__name__):
        check(word)


@pytest.mark.parametrize("word", ["a", "0", "3d", "gongfoo", "web-1", "a--b", "xn--bcher-kva", "a" * 63])
def test_a_dns_label_is_accepted_as_it_is(word: str) -> None:
    assert validation.label(word) == word


@pytest.mark.parametrize(
    "word",
    ["h2", "ops@h2", "ops@h2:2222", "H2.example.org", "10.87.0.12", "[fd00::1]", "ops@[fd00::1]:22", "my_host"],
)
def test_a_host_as_ssh_people_write_it_is_accepted(word: str) -> None:
    assert validation.host(word) == word


@pytest.mark.parametrize(
    "word",
    [
        "http://127.0.0.1:8080",
        "https://app.internal",
        "http://[::1]:3000/base/",
        "http://h/a?b=c&d=%20",
        "http://h/~me",
    ],
)
def test_a_plain_url_is_accepted(word: str) -> None:
    assert validation.url(word, "the upstream") == word


@pytest.mark.parametrize("word", ["lair", "admin@example.org", "Team A", "_x"])
def test_a_provisioners_name_is_accepted(word: str) -> None:
    assert validation.provisioner(word) == word


def test_the_ca_is_asked_over_https_only() -> None:
    with pytest.raises(InputError, match="https"):
        validation.url("http://ca.internal", "meshfab.ca_url", schemes=("https",))


def test_a_dns_name_ends_at_253_characters() -> None:
    longest = ".".join(["a" * 63] * 3 + ["b" * 61])
    assert len(longest) == 253
    assert validation.dns_name(longest) == longest
    with pytest.raises(InputError):
        validation.dns_name(f"{longest}b")


def test_a_long_word_is_shown_short() -> None:
    with pytest.raises(InputError) as caught:
        validation.label("A" * 5000)
    assert len(str(caught.value)) < 300


@given(ANY_TEXT)
def test_no_accepted_word_holds_a_shell_metacharacter(word: str) -> None:
    # A word in brackets is an IPv6 address, which is quoted like every other word.
    for check, allowed in (
        (validation.label, ""),
        (validation.dns_name, ""),
        (validation.host, "[]"),
        (lambda text: validation.path(text, "path"), ""),
        (validation.provisioner, " "),
    ):
        try:
            accepted = check(word)
        except InputError:
            continue
        assert not set(accepted) & (SHELL - set(allowed))
        assert not accepted.startswith("-")
        assert accepted.isascii()
        assert accepted.isprintable()


@given(st.builds(str.__add__, st.sampled_from(["http://h", "https://h:1/", ""]), st.text()))
def test_no_accepted_url_holds_an_nginx_metacharacter(word: str) -> None:
    try:
        accepted = validation.url(word, "the upstream")
    except InputError as error:
        assert_is_one_harmless_line(str(error))
        return
    assert not set(accepted) & NGINX
    assert accepted.isascii()
    assert accepted.isprintable()


def assert_is_one_harmless_line(text: str) -> None:
    assert "\n" not in text
    assert text.isprintable()
    assert text.isascii()
    assert re.search("->", text) or "empty" in text
