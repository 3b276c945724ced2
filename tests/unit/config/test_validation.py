"""The rules for values that are sent to a host."""

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
    # Nearly valid values: allowed characters, and up to two characters of any kind.
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
    "port that is not a number": "h2:ssh",
    "port out of range": "h2:99999",
    "empty user": "@h2",
    "non-ASCII": "hö",
}
BAD_URLS = {
    "empty": "",
    "not a URL": "localhost",
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
    "port that is not a number": "http://h:x/",
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


@pytest.mark.parametrize("value", BAD_NAMES.values(), ids=BAD_NAMES)
def test_a_name_that_is_not_a_dns_label_is_refused_in_one_line(value: str) -> None:
    with pytest.raises(InputError) as caught:
        validation.label(value)
    assert_is_one_harmless_line(str(caught.value))


@pytest.mark.parametrize("value", BAD_HOSTS.values(), ids=BAD_HOSTS)
def test_a_host_that_ssh_could_misread_is_refused(value: str) -> None:
    with pytest.raises(InputError) as caught:
        validation.host(value)
    assert_is_one_harmless_line(str(caught.value))


@pytest.mark.parametrize("value", BAD_URLS.values(), ids=BAD_URLS)
def test_an_upstream_that_is_not_a_plain_url_is_refused(value: str) -> None:
    with pytest.raises(InputError) as caught:
        validation.url(value, "the upstream")
    assert_is_one_harmless_line(str(caught.value))


@pytest.mark.parametrize("value", BAD_PATHS.values(), ids=BAD_PATHS)
def test_a_path_that_is_not_plain_is_refused(value: str) -> None:
    with pytest.raises(InputError) as caught:
        validation.path(value, "meshfab.root")
    assert_is_one_harmless_line(str(caught.value))
    assert "meshfab.root" in str(caught.value)


@pytest.mark.parametrize("value", ["", "-lair", "a\nb", "a;b", "x" * 129, "ü"])
def test_a_provisioner_that_step_could_misread_is_refused(value: str) -> None:
    with pytest.raises(InputError):
        validation.provisioner(value)


@pytest.mark.parametrize("value", [None, 7, b"gongfoo", ["gongfoo"], True])
@pytest.mark.parametrize("check", [validation.label, validation.dns_name, validation.host, validation.provisioner])
def test_a_value_that_is_not_text_is_refused(check: Callable[[object], str], value: object) -> None:
    with pytest.raises(InputError, match=type(value).__name__):
        check(value)


@pytest.mark.parametrize("value", ["a", "0", "3d", "gongfoo", "web-1", "a--b", "xn--bcher-kva", "a" * 63])
def test_a_dns_label_is_accepted_unchanged(value: str) -> None:
    assert validation.label(value) == value


@pytest.mark.parametrize(
    "value",
    ["h2", "ops@h2", "ops@h2:2222", "H2.example.org", "10.87.0.12", "[fd00::1]", "ops@[fd00::1]:22", "my_host"],
)
def test_the_usual_forms_of_a_host_are_accepted(value: str) -> None:
    assert validation.host(value) == value


def test_an_ipv6_address_without_brackets_is_told_to_have_them() -> None:
    with pytest.raises(InputError, match="is not a host name") as caught:
        validation.host("fd00::1")
    assert "an IPv6 address in brackets" in caught.value.remedy


@pytest.mark.parametrize(
    "value",
    [
        "http://127.0.0.1:8080",
        "https://app.internal",
        "http://[::1]:3000/base/",
        "http://h/a?b=c&d=%20",
        "http://h/~me",
    ],
)
def test_a_plain_url_is_accepted(value: str) -> None:
    assert validation.url(value, "the upstream") == value


@pytest.mark.parametrize("value", ["lair", "admin@example.org", "Team A", "_x"])
def test_a_provisioners_name_is_accepted(value: str) -> None:
    assert validation.provisioner(value) == value


def test_the_ca_url_must_be_https() -> None:
    with pytest.raises(InputError, match="https"):
        validation.url("http://ca.internal", "meshfab.ca_url", schemes=("https",))


def test_a_dns_name_has_at_most_253_characters() -> None:
    longest = ".".join(["a" * 63] * 3 + ["b" * 61])
    assert len(longest) == 253
    assert validation.dns_name(longest) == longest
    with pytest.raises(InputError):
        validation.dns_name(f"{longest}b")


def test_a_long_value_is_shortened_in_the_message() -> None:
    with pytest.raises(InputError) as caught:
        validation.label("A" * 5000)
    assert len(str(caught.value)) < 300


@given(ANY_TEXT)
def test_no_accepted_value_has_a_shell_metacharacter(value: str) -> None:
    # A host in brackets is an IPv6 address. It is quoted for the shell like every other value.
    for check, allowed in (
        (validation.label, ""),
        (validation.dns_name, ""),
        (validation.host, "[]"),
        (lambda text: validation.path(text, "path"), ""),
        (validation.provisioner, " "),
    ):
        try:
            accepted = check(value)
        except InputError:
            continue
        assert not set(accepted) & (SHELL - set(allowed))
        assert not accepted.startswith("-")
        assert accepted.isascii()
        assert accepted.isprintable()


@given(st.builds(str.__add__, st.sampled_from(["http://h", "https://h:1/", ""]), st.text()))
def test_no_accepted_url_has_an_nginx_metacharacter(value: str) -> None:
    try:
        accepted = validation.url(value, "the upstream")
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
