"""Whatever value validation accepts, nginx gets one server with exactly the directives meant, and no other."""

from __future__ import annotations

import json
import tempfile
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import crossplane
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshfab.config import validation
from meshfab.config.service import Service
from meshfab.config.settings import Settings
from meshfab.errors import InputError, NginxError
from meshfab.host import resources
from meshfab.nginx import listeners, previous_options, vhost
from tests.support.certificates import SERVICE, SETTINGS, authority
from tests.support.fake_host import Host

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshfab.host.facts import HostState

Tree = list[dict[str, Any]]
STATE = replace(Host().state(), addresses=("10.87.0.12", "fd00::12"))

# What ends a word, a directive or a line for nginx, or begins a variable, a comment or a quotation.
MARKS = [*";{}$\"'\\# \n\r\t\0\x0b", "\u2028", "${a}", "%;", "; }"]
# What some kinds of values may have and others must not.
PIECES = [*"a9-./:@%[]()?&=+*~!,_", "..", "::", "%25", "%eth0", "٣", "é", "ß", "all", "http://", "x" * 63, "1" * 6]
LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
HOSTS = LABELS | st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map(lambda address: f"[{address}]")
URLS = st.builds(
    "{}{}{}".format, st.sampled_from(["http://", "https://"]), HOSTS, st.sampled_from(["", ":84", "/a/b/c"])
)
ADDRESSES = st.ip_addresses().map(str) | st.just("10.87.0.0/16")
PATHS = st.lists(LABELS, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))
MANY = settings(max_examples=20, deadline=None)
SERVICE_AS_ASKED = Service.of("gongfoo", SETTINGS)


def spoilt(values: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    """A value as it should be, with one piece that may be allowed, and with each mark that never is, at some place."""

    def variants(value: str, at: int, piece: str) -> list[str]:
        begin, end = value[: at % (len(value) + 1)], value[at % (len(value) + 1) :]
        return [value, begin + piece + end, *(begin + mark + end for mark in MARKS)]

    return st.builds(variants, values, st.integers(0, 60), st.sampled_from(PIECES) | st.text(max_size=2))


def parsed(text: str) -> Tree:
    with tempfile.NamedTemporaryFile("w", suffix=".conf", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        payload = crossplane.parse(file.name, single=True, check_ctx=False, check_args=False, comments=False)
    assert payload["status"] == "ok", payload["errors"]
    tree: Tree = payload["config"][0]["parsed"]
    return tree


def flat(tree: Tree) -> list[tuple[str, list[str]]]:
    """The directives in their order, those of blocks after their block."""
    rows = []
    for directive in tree:
        rows.append((directive["directive"], directive["args"]))
        rows += flat(directive.get("block", []))
    return rows


def plain(service: Service) -> Service:
    """A service with the same kinds of options and values that nobody could take for anything else."""
    upstream, mtls = service.upstream, service.mtls
    if upstream:
        is_address = validation.is_address(urlsplit(upstream).hostname or "")
        upstream = f"{upstream.partition('://')[0]}://{'10.0.0.1' if is_address else 'plain.internal'}"
    sans = tuple(f"plain{number}.internal" for number, _ in enumerate(service.sans or ()))
    return Service.of("plain", SETTINGS, sans=sans, upstream=upstream, mtls=mtls)


def assert_as_meant(
    service: Service, mesh: Settings, listens: tuple[str, ...], part: Literal["vhost", "tls", "mtls"] = "vhost"
) -> None:
    """Compare with the same file for a plain service: the values are different, and nothing else is."""
    text = vhost.render(service, mesh, (1, 26, 0), listens, part)
    header = vhost.read_header(text)
    assert header is not None
    assert header.is_untouched
    assert header.requested == json.loads(json.dumps(vhost.requested(service)))
    simple = plain(service)
    simple_listens = tuple(f"192.0.2.{number}:443" for number, _ in enumerate(listens))
    rows = flat(parsed(text))
    simple_rows = flat(parsed(vhost.render(simple, SETTINGS, (1, 26, 0), simple_listens, part)))
    values = _values(service, mesh)
    simple_values = _values(simple, SETTINGS)
    # In a map, a name is where the name of a directive would be.
    assert [name for name, _ in rows] == [_with_values(name, simple_values, values) for name, _ in simple_rows]
    for (name, args), (_, simple_args) in zip(rows, simple_rows, strict=True):
        expected = [_with_values(arg, simple_values, values) for arg in simple_args]
        if name == "server_name":
            expected = list(service.names)
        if name == "listen":
            expected = [args[0], "ssl"]
        assert args == expected, name
    if part == "vhost":
        assert [name for name, _ in rows].count("server") == 1
        assert [args[0] for name, args in rows if name == "listen"] == list(listens)
        assert [args for name, args in rows if name == "proxy_pass"] == [[service.upstream]] * bool(service.upstream)


def _values(service: Service, mesh: Settings) -> list[str]:
    upstream = service.upstream or ""
    prefix = vhost._values(service, mesh, (), ())["prefix"]
    variables = [f"${prefix}_{suffix}" for suffix in ("is_foreign", "upgrade", "connection")]
    patterns = ["~^" + name.replace(".", r"\.") + "$" for name in service.names]
    paths = [service.cert, service.key, mesh.root]
    return [*paths, upstream, urlsplit(upstream).hostname or "", *variables, service.fqdn, *patterns]


def _with_values(arg: str, simple_values: list[str], values: list[str]) -> str:
    for simple, value in zip(simple_values, values, strict=True):
        if simple and (arg == simple or (simple.endswith(".internal") and arg.startswith(f"{simple} "))):
            return arg.replace(simple, value, 1)
    return arg


OPTIONS: dict[str, tuple[st.SearchStrategy[str], Callable[[str], Service]]] = {
    "name": (LABELS, lambda value: Service.of(value, SETTINGS)),
    "SAN": (NAMES, lambda value: Service.of("wiki", SETTINGS, sans=["docs.internal", value])),
    "upstream": (URLS, lambda value: Service.of("wiki", SETTINGS, upstream=value)),
    "upstream with mtls": (URLS, lambda value: Service.of("wiki", SETTINGS, upstream=value, mtls=True)),
    "listen": (ADDRESSES, lambda value: Service.of("wiki", SETTINGS, listen=[value])),
}


@pytest.mark.parametrize("option", OPTIONS)
@given(st.data())
@MANY
def test_a_vhost_of_any_accepted_option_is_one_server_as_meant(option: str, data: st.DataObject) -> None:
    values, make = OPTIONS[option]
    for value in data.draw(spoilt(values)):
        with suppress(InputError, NginxError):
            service = make(value)
            assert_as_meant(service, SETTINGS, listeners.listens(STATE, service, SETTINGS))
            assert_as_meant(service, SETTINGS, (), "mtls" if service.mtls else "tls")


SETTING = {"domain": NAMES, "cert_dir": PATHS, "key_dir": PATHS, "root": PATHS, "listen": ADDRESSES}


@pytest.mark.parametrize("setting", SETTING)
@given(st.data())
@MANY
def test_a_vhost_of_any_accepted_setting_is_one_server_as_meant(setting: str, data: st.DataObject) -> None:
    for value in data.draw(spoilt(SETTING[setting])):
        with suppress(InputError, NginxError):
            mesh = Settings.load({"meshfab": {setting: value}})
            service = Service.of("wiki", mesh, upstream="https://a.internal", mtls=True)
            assert_as_meant(service, mesh, listeners.listens(STATE, service, mesh))


def with_header(requested: object) -> str:
    """A vhost whose header asks for these options, with the digest of its text."""
    text = "server { }\n"
    digest = resources.digest(text)[:16]
    return f"# Written by meshfab; a file. {json.dumps(requested)} wants={'0' * 16} text={digest}\n{text}"


def merged(requested: object) -> tuple[Service, HostState]:
    """The service as a run finds it that gives no options, on a host with this header."""
    host = Host()
    host.vhosts = {host.vhost_path: with_header(requested)}
    state = host.state()
    return previous_options.merge_previous_options(state, SERVICE_AS_ASKED), state


OTHERS = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.dictionaries(st.text(max_size=1), st.none())
)


@given(spoilt(URLS), spoilt(ADDRESSES), OTHERS, st.sampled_from(["upstream", "listen", "mtls"]))
@settings(MANY, max_examples=12)
def test_a_vhost_of_any_header_on_the_host_is_one_server_as_meant(
    urls: list[str], addresses: list[str], other: object, odd: str
) -> None:
    header = {"upstream": urls[0], "listen": addresses[:1], "mtls": urls[0].startswith("https")}
    asked = [{**header, "upstream": url} for url in urls] + [{**header, "listen": [address]} for address in addresses]
    for requested in [*asked, {**header, odd: other}, {**header, odd: [other]}]:
        with suppress(NginxError):
            service, state = merged(requested)
            assert isinstance(service.mtls, bool)
            assert_as_meant(service, SETTINGS, listeners.listens(state, service, SETTINGS))


@given(spoilt(NAMES), st.integers(0, 10))
@settings(MANY, max_examples=15)
def test_a_vhost_of_any_certificate_on_the_host_is_one_server_as_meant(names: list[str], start: int) -> None:
    for name in filter(str.isascii, names[start : start + 3]):
        pair: Any = authority().pair(SERVICE.fqdn, name)
        state = replace(Host(), pair=pair, cert=pair.pem, public=pair.public).state()
        service = previous_options.merge_previous_options(state, SERVICE_AS_ASKED)
        assert_as_meant(service, SETTINGS, ("443",))


@pytest.mark.parametrize(
    ("requested", "words"),
    [
        ({"upstream": "http://127.0.0.1:80", "mtls": True}, "https"),
        ({"upstream": "https://127.0.0.1", "mtls": True}, "name"),
        ({"upstream": ["http://a"]}, "text"),
        ({"upstream": "http://a;return"}, "URL"),
        ({"listen": [{"a": 1}]}, "text"),
        ({"listen": ["10.0.0.1;"]}, "does not appear"),
    ],
)
def test_a_header_that_asks_for_what_nobody_may_is_refused_in_one_line(requested: dict[str, Any], words: str) -> None:
    with pytest.raises(NginxError, match=words) as caught:
        merged(requested)
    assert "in the vhost on the host" in str(caught.value)


def test_mtls_of_a_header_is_yes_or_no() -> None:
    assert merged({"upstream": "http://127.0.0.1", "mtls": "no"})[0].mtls is False


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:0", "http://[::1", "http://[1.2.3.4]", "http://[::g]", "http://[:::]"]
)
def test_an_upstream_is_somewhere(url: str) -> None:
    with pytest.raises(InputError):
        validation.url(url, "the upstream")
