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
from meshfab.errors import InputError, NginxError
from meshfab.host import resources
from meshfab.nginx import listeners, previous_options, vhost
from tests.support.certificates import SERVICE, SETTINGS, authority
from tests.support.fake_host import Host

if TYPE_CHECKING:
    from meshfab.config.settings import Settings

Tree = list[dict[str, Any]]

# Pieces that have a meaning for nginx, the shell, URLs, addresses or names, and letters.
PIECES = [
    *"ab9-./:@%[](){};$\"'\\#?&=+*~!,_ \n\r\t\0",
    "..",
    "::",
    "%25",
    "$host",
    "${",
    "\x0b",
    "\u2028",
    "٣",
    "é",
    "ß",
]
PIECES += ["http://", "https://", "127.0.0.1", "[::1]", "fe80::1", "%eth0", "10.87.0.0/16", "443", "65536"]
PIECES += ["internal", "wiki.internal", "x" * 63, "/etc", ".internal"]


def almost(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """The values, mostly with one piece too much at some place, and any text."""
    spoilt = st.builds(
        lambda value, at, piece: value[: at % (len(value) + 1)] + piece + value[at % (len(value) + 1) :],
        values,
        st.integers(0, 60),
        st.sampled_from(PIECES) | st.text(max_size=1),
    )
    return spoilt | spoilt | values | st.text(max_size=5)


LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
LABEL = almost(LABELS)
NAME = almost(st.lists(LABELS, min_size=1, max_size=4).map(".".join))
HOSTS = LABELS | st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map(lambda address: f"[{address}]")
URL = almost(
    st.builds("{}{}{}".format, st.sampled_from(["http://", "https://"]), HOSTS, st.sampled_from(["", ":84", "/a"]))
)
ADDRESS = almost(st.ip_addresses().map(str) | st.just("10.87.0.0/16"))
PATH = almost(st.lists(LABELS, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts)))
MANY = settings(max_examples=120, deadline=None)


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
    assert [name for name, _ in rows] == [name for name, _ in simple_rows]
    values = _values(service, mesh)
    simple_values = _values(simple, SETTINGS)
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
    variable = f"$meshfab_{service.name.replace('-', '_')}_connection"
    return [service.cert, service.key, mesh.root, upstream, urlsplit(upstream).hostname or "", variable, service.fqdn]


def _with_values(arg: str, simple_values: list[str], values: list[str]) -> str:
    for simple, value in zip(simple_values, values, strict=True):
        if simple and (arg == simple or (simple.endswith(".internal") and arg.startswith(f"{simple} "))):
            return arg.replace(simple, value, 1)
    return arg


@given(
    st.builds(
        dict,
        name=LABEL,
        sans=st.none() | st.lists(NAME, max_size=3),
        upstream=st.none() | URL,
        mtls=st.booleans(),
        listen=st.none() | st.lists(ADDRESS, max_size=3),
    ),
    st.builds(dict, domain=NAME, cert_dir=PATH, key_dir=PATH, root=PATH, listen=st.lists(ADDRESS, max_size=2)),
)
@MANY
def test_a_vhost_of_any_accepted_value_is_one_server_as_meant(options: dict[str, Any], block: dict[str, Any]) -> None:
    mesh = SETTINGS
    for key, value in block.items():
        with suppress(InputError):
            mesh = replace(mesh, **{key: value})
    service = Service.of("wiki", mesh)
    for key, value in options.items():
        with suppress(InputError):
            kept = {"sans": service.sans, "upstream": service.upstream, "mtls": service.mtls, "listen": service.listen}
            service = Service.of(**{"name": service.name, **kept, key: value}, settings=mesh)
    state = replace(Host().state(), addresses=("10.87.0.12", "fd00::12"))
    with suppress(NginxError):
        assert_as_meant(service, mesh, listeners.listens(state, service, mesh))
        assert_as_meant(service, mesh, (), "tls")
        if service.mtls:
            assert_as_meant(service, mesh, (), "mtls")


JSON = st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.lists(NAME, max_size=2)


def with_header(requested: dict[str, Any]) -> str:
    """A vhost whose header asks for these options, with the digest of its text."""
    text = "server { }\n"
    digest = resources.digest(text)[:16]
    return f"# Written by meshfab; a file. {json.dumps(requested)} wants={'0' * 16} text={digest}\n{text}"


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "upstream": URL | JSON,
            "mtls": st.booleans() | JSON,
            "listen": st.lists(ADDRESS | JSON, max_size=3) | JSON,
            "names": st.lists(NAME, max_size=3) | JSON,
        },
    )
)
@MANY
def test_a_vhost_of_any_header_on_the_host_is_one_server_as_meant(requested: dict[str, Any]) -> None:
    host = Host()
    host.vhosts = {host.vhost_path: with_header(requested)}
    with suppress(NginxError):
        service = previous_options.merge_previous_options(host.state(), SERVICE)
        assert isinstance(service.mtls, bool)
        assert_as_meant(service, SETTINGS, listeners.listens(host.state(), service, SETTINGS))


@given(st.lists(NAME.filter(str.isascii), max_size=4))
@settings(MANY, max_examples=40)
def test_a_vhost_of_any_certificate_on_the_host_is_one_server_as_meant(names: list[str]) -> None:
    pair: Any = authority().pair(SERVICE.fqdn, *names)
    state = replace(Host(), pair=pair, cert=pair.pem, public=pair.public).state()
    service = previous_options.merge_previous_options(state, SERVICE_AS_ASKED)
    assert_as_meant(service, SETTINGS, ("443",))


SERVICE_AS_ASKED = Service.of("gongfoo", SETTINGS)


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
    host = Host()
    host.vhosts = {host.vhost_path: with_header(requested)}
    with pytest.raises(NginxError, match=words) as caught:
        previous_options.merge_previous_options(host.state(), SERVICE)
    assert "in the vhost on the host" in str(caught.value)


def test_mtls_of_a_header_is_yes_or_no() -> None:
    host = Host()
    host.vhosts = {host.vhost_path: with_header({"upstream": "http://127.0.0.1", "mtls": "no"})}
    assert previous_options.merge_previous_options(host.state(), SERVICE).mtls is False


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:0", "http://[::1", "http://[1.2.3.4]", "http://[::g]", "http://[:::]"]
)
def test_an_upstream_is_somewhere(url: str) -> None:
    with pytest.raises(InputError):
        validation.url(url, "the upstream")
