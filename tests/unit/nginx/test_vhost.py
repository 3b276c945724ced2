"""The rendered vhost, and the header that identifies a managed file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import crossplane
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshfab.config.service import Service
from meshfab.errors import InputError
from meshfab.host import resources
from meshfab.nginx import vhost
from tests.support.certificates import SERVICE, SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OLD, NEW = (1, 22, 1), (1, 26, 0)
PROXIED = replace(SERVICE, upstream="http://127.0.0.1:8080")
MTLS = replace(SERVICE, upstream="https://app.internal:8443/base", mtls=True)
HTTPS = replace(MTLS, mtls=False)
MORE_NAMES = Service.of("gongfoo", SETTINGS, sans=["www.gongfoo.internal"])
UNVERIFIED = replace(HTTPS, upstream="https://10.87.0.13", verify_upstream=False, keep_host=True)
KINDS = {
    "plain": SERVICE,
    "proxied": PROXIED,
    "https": HTTPS,
    "unverified": UNVERIFIED,
    "mtls": MTLS,
    "more names": MORE_NAMES,
}


def directives(text: str, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, ...]]:
    """Every directive with its arguments, parsed with nginx's grammar."""
    path = tmp_path_factory.mktemp("vhost") / "vhost.conf"
    path.write_text(text)
    payload = crossplane.parse(str(path), single=True, check_ctx=False)
    assert payload["errors"] == []
    result = []

    def walk(block: list[dict[str, object]]) -> None:
        for directive in block:
            args = directive["args"]
            assert isinstance(args, list)
            result.append((str(directive["directive"]), *map(str, args)))
            inner = directive.get("block", [])
            assert isinstance(inner, list)
            walk(inner)

    walk(payload["config"][0]["parsed"])
    return result


@pytest.mark.parametrize("service", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("version", [OLD, NEW, ()], ids=["1.22", "1.26", "unknown"])
def test_every_vhost_is_valid_nginx_grammar_and_names_the_pair(
    service: Service, version: tuple[int, ...], tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = vhost.render(service, SETTINGS, version)
    parsed = directives(text, tmp_path_factory)
    assert ("ssl_certificate", service.cert) in parsed
    assert ("ssl_certificate_key", service.key) in parsed
    assert ("server_name", *service.names) in parsed
    assert text.endswith("}\n")
    assert "{{" not in text


@pytest.mark.parametrize(
    ("version", "is_directive"),
    [((1, 22, 1), False), ((1, 25, 0), False), ((1, 25, 1), True), ((1, 26, 0), True), ((), False)],
    ids=str,
)
def test_http2_has_the_syntax_of_the_nginx_version(
    version: tuple[int, ...], is_directive: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    parsed = directives(vhost.render(SERVICE, SETTINGS, version), tmp_path_factory)
    assert (("http2", "on") in parsed) is is_directive
    assert (("listen", "443", "ssl", "http2") in parsed) is not is_directive
    assert (("listen", "443", "ssl") in parsed) is is_directive


def test_without_an_upstream_the_answer_names_the_service(tmp_path_factory: pytest.TempPathFactory) -> None:
    parsed = directives(vhost.render(SERVICE, SETTINGS, OLD), tmp_path_factory)
    (answer,) = [line for line in parsed if line[:2] == ("return", "200")]
    assert SERVICE.fqdn in answer[2]
    assert not [line for line in parsed if line[0] == "proxy_pass"]


def test_an_upstream_gets_the_usual_proxy_headers(tmp_path_factory: pytest.TempPathFactory) -> None:
    parsed = directives(vhost.render(PROXIED, SETTINGS, OLD), tmp_path_factory)
    assert ("proxy_pass", "http://127.0.0.1:8080") in parsed
    headers = {line[1] for line in parsed if line[0] == "proxy_set_header"}
    assert headers >= {"Host", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Upgrade", "Connection"}
    assert not [line for line in parsed if line[0].startswith("proxy_ssl")]


def test_nothing_that_a_client_sends_in_the_name_of_a_proxy_reaches_the_upstream(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    parsed = directives(vhost.render(PROXIED, SETTINGS, OLD), tmp_path_factory)
    headers = {line[1]: line[2] for line in parsed if line[0] == "proxy_set_header"}
    assert headers["X-Forwarded-For"] == headers["X-Real-IP"] == "$remote_addr"
    assert not [value for value in headers.values() if value.startswith(("$http_", "$proxy_add_"))]
    removed = {name for name, value in headers.items() if value == ""}
    assert removed >= {"Forwarded", "X-Forwarded-Prefix", "X-Original-URL", "X-Rewrite-URL", "Proxy", "Client-Cert"}


def test_only_a_websocket_is_an_upgrade(tmp_path_factory: pytest.TempPathFactory) -> None:
    parsed = directives(vhost.render(PROXIED, SETTINGS, OLD), tmp_path_factory)
    upgrade = parsed.index(("map", "$http_upgrade", "$meshfab_gongfoo_upgrade"))
    assert parsed[upgrade + 1 : upgrade + 3] == [("default", ""), ("~*^websocket$", "websocket")]
    connection = parsed.index(("map", "$http_upgrade", "$meshfab_gongfoo_connection"))
    assert parsed[connection + 1 : connection + 3] == [("default", "close"), ("~*^websocket$", "upgrade")]
    assert ("proxy_set_header", "Upgrade", "$meshfab_gongfoo_upgrade") in parsed
    assert ("proxy_set_header", "Connection", "$meshfab_gongfoo_connection") in parsed


def test_requests_for_other_names_are_misdirected(tmp_path_factory: pytest.TempPathFactory) -> None:
    parsed = directives(vhost.render(MORE_NAMES, SETTINGS, OLD), tmp_path_factory)
    names = parsed.index(("map", "$host", "$meshfab_gongfoo_is_foreign"))
    assert parsed[names + 1 : names + 4] == [
        ("default", "1"),
        (r"~^gongfoo\.internal$", "0"),
        (r"~^www\.gongfoo\.internal$", "0"),
    ]
    condition = parsed.index(("if", "$meshfab_gongfoo_is_foreign"))
    assert parsed[condition + 1] == ("return", "421")


def test_hsts_is_a_setting(tmp_path_factory: pytest.TempPathFactory) -> None:
    assert "Strict-Transport-Security" not in vhost.render(SERVICE, SETTINGS, OLD)
    parsed = directives(vhost.render(SERVICE, replace(SETTINGS, hsts_max_age=300), OLD), tmp_path_factory)
    assert ("add_header", "Strict-Transport-Security", "max-age=300", "always") in parsed


UPSTREAM_HOSTS = {
    "http": (PROXIED, "$host"),
    "https": (HTTPS, "$proxy_host"),
    "https with mTLS": (MTLS, "$proxy_host"),
    "https, kept": (replace(HTTPS, keep_host=True), "$host"),
}


@pytest.mark.parametrize(("service", "host"), UPSTREAM_HOSTS.values(), ids=UPSTREAM_HOSTS)
def test_an_https_upstream_gets_its_own_name_as_host(
    service: Service, host: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    parsed = directives(vhost.render(service, SETTINGS, OLD), tmp_path_factory)
    assert ("proxy_set_header", "Host", host) in parsed
    assert ("proxy_set_header", "X-Forwarded-Host", "$host") in parsed


def test_an_https_upstream_is_verified_unless_told_otherwise(tmp_path_factory: pytest.TempPathFactory) -> None:
    parsed = directives(vhost.render(HTTPS, SETTINGS, OLD), tmp_path_factory)
    assert ("proxy_ssl_verify", "on") in parsed
    assert ("proxy_ssl_trusted_certificate", SETTINGS.root) in parsed
    assert ("proxy_ssl_name", "app.internal") in parsed
    assert ("proxy_ssl_server_name", "on") in parsed
    assert not [line for line in parsed if line[0] == "proxy_ssl_certificate"]
    parsed = directives(vhost.render(replace(HTTPS, verify_upstream=False), SETTINGS, OLD), tmp_path_factory)
    assert ("proxy_ssl_verify", "off") in parsed
    assert ("proxy_ssl_server_name", "on") in parsed
    assert not [line for line in parsed if line[0] == "proxy_ssl_trusted_certificate"]


def test_the_mtls_snippet_verifies_too_and_follows_the_option() -> None:
    text = vhost.render(MTLS, SETTINGS, OLD, (), "mtls")
    assert "proxy_ssl_verify              on;" in text
    unverified = replace(MTLS, verify_upstream=False)
    assert "proxy_ssl_verify              off;" in vhost.render(unverified, SETTINGS, OLD, (), "mtls")


def test_variables_are_short_enough_for_nginxs_hash_and_unique(tmp_path_factory: pytest.TempPathFactory) -> None:
    variables = []
    for name in ("x" * 63, "x" * 62 + "y", "x" * 27, "x" * 28):
        service = Service.of(name, SETTINGS, upstream="http://127.0.0.1:1")
        parsed = directives(vhost.render(service, SETTINGS, OLD), tmp_path_factory)
        variables += [line[2].removeprefix("$") for line in parsed if line[0] == "map"]
    assert len(set(variables)) == len(variables) == 12
    assert max(map(len, variables)) <= 46


def test_with_mtls_the_vhost_sends_the_pair_and_verifies_the_upstream(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    parsed = directives(vhost.render(MTLS, SETTINGS, OLD), tmp_path_factory)
    assert ("proxy_ssl_certificate", MTLS.cert) in parsed
    assert ("proxy_ssl_certificate_key", MTLS.key) in parsed
    assert ("proxy_ssl_trusted_certificate", SETTINGS.root) in parsed
    assert ("proxy_ssl_verify", "on") in parsed
    assert ("proxy_ssl_name", "app.internal") in parsed


def test_two_services_on_a_host_do_not_share_a_variable(tmp_path_factory: pytest.TempPathFactory) -> None:
    maps = []
    for name in ("web-1", "web1", "3d"):
        service = Service.of(name, SETTINGS, upstream="http://127.0.0.1:1")
        parsed = directives(vhost.render(service, SETTINGS, OLD), tmp_path_factory)
        maps += [line[2] for line in parsed if line[0] == "map"]
    assert len(set(maps)) == len(maps) == 9


@pytest.mark.parametrize("service", KINDS.values(), ids=KINDS)
def test_the_header_keeps_the_requested_options(service: Service) -> None:
    header = vhost.read_header(vhost.render(service, SETTINGS, OLD))
    assert header is not None
    assert header.is_untouched
    assert header.requested["upstream"] == service.upstream
    assert header.requested["mtls"] == service.mtls
    assert header.requested == vhost.requested(service)
    assert header.input_digest == vhost.input_digest(service, SETTINGS, OLD)


def test_the_header_of_an_earlier_version_has_the_defaults_of_newer_options() -> None:
    text = vhost.render(MTLS, SETTINGS, OLD).replace(', "verify_upstream": true, "keep_host": false', "", 1)
    assert "verify_upstream" not in text.partition("\n")[0]
    header = vhost.read_header(text)
    assert header is not None
    assert header.requested == vhost.requested(MTLS)


def test_missing_newlines_at_the_end_are_not_an_edit() -> None:
    header = vhost.read_header(vhost.render(SERVICE, SETTINGS, OLD).rstrip("\n"))
    assert header is not None
    assert header.is_untouched


EDITS: dict[str, Callable[[str], str]] = {
    "a line more": lambda text: f"{text}# mine\n",
    "a word": lambda text: text.replace("location /", "location /api"),
    "a blank": lambda text: text.replace("    listen", "     listen", 1),
    "an empty file below the header": lambda text: text.partition("\n")[0] + "\n",
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_an_edit_is_detected(edit: Callable[[str], str]) -> None:
    header = vhost.read_header(edit(vhost.render(SERVICE, SETTINGS, OLD)))
    assert header is not None
    assert not header.is_untouched


def test_a_file_without_the_header_on_its_first_line_is_unmanaged() -> None:
    text = vhost.render(SERVICE, SETTINGS, OLD)
    assert vhost.read_header("") is None
    assert vhost.read_header(text.partition("\n")[2]) is None
    assert vhost.read_header(f"# before\n{text}") is None
    assert vhost.read_header(text.replace('{"', "{'", 1)) is None


@given(st.text())
def test_read_header_accepts_any_text(text: str) -> None:
    assert vhost.read_header(text) is None
    header = vhost.read_header(f"# Written by meshfab; x {{{text}}} wants={'0' * 16} text={'0' * 16}\n{text}")
    assert header is None or not header.is_untouched


def test_a_header_that_is_nested_without_end_is_no_header() -> None:
    text = vhost.render(SERVICE, SETTINGS, OLD).replace('"names": [', '"names": [' + "[" * 2000, 1)
    assert vhost.read_header(text.replace("],", "]" * 2001 + ",", 1)) is None


CHANGES = {
    "upstream": (PROXIED, SETTINGS, OLD),
    "names": (MORE_NAMES, SETTINGS, OLD),
    "version": (SERVICE, SETTINGS, NEW),
    "hsts": (SERVICE, replace(SETTINGS, hsts_max_age=1), OLD),
    "paths": (replace(SERVICE, cert="/srv/x.pem"), SETTINGS, OLD),
}


@pytest.mark.parametrize(("service", "settings", "version"), CHANGES.values(), ids=CHANGES)
def test_every_input_of_the_text_changes_the_input_digest(
    service: Service, settings: object, version: tuple[int, ...]
) -> None:
    assert vhost.input_digest(service, settings, version) != vhost.input_digest(SERVICE, SETTINGS, OLD)  # type: ignore[arg-type]


def test_a_newer_nginx_with_the_same_syntax_keeps_the_input_digest() -> None:
    assert vhost.input_digest(SERVICE, SETTINGS, (1, 22, 1)) == vhost.input_digest(SERVICE, SETTINGS, (1, 24, 0))


def test_the_shipped_templates_are_found() -> None:
    names = {path.name for path in resources.folder("nginx-snippets").iterdir()}
    assert names == {"tls.conf.j2", "vhost.conf.j2", "proxy.conf.j2", "mtls.conf.j2", "upstream_tls.conf.j2"}


def test_an_undefined_variable_in_a_template_is_an_error(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jinja2 import UndefinedError

    operator_folder = tmp_path_factory.mktemp("snippets")
    for path in resources.folder("nginx-snippets").iterdir():
        (operator_folder / path.name).write_text(path.read_text())
    (operator_folder / "tls.conf.j2").write_text("ssl_certificate {{ certt }};\n")
    monkeypatch.setattr(resources, "folder", lambda _name: operator_folder)
    with pytest.raises(UndefinedError, match="certt"):
        vhost.render(SERVICE, SETTINGS, OLD)


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ names.__class__.__base__.__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.system('true') }}",
    ],
)
def test_a_template_runs_no_code_and_its_error_is_one_line(tmp_path: Path, template: str) -> None:
    (tmp_path / "tls.conf.j2").write_text(f"{template}\n")
    with pytest.raises(InputError, match=r"the template vhost\.conf\.j2 cannot be rendered") as caught:
        vhost.render(SERVICE, replace(SETTINGS, snippets=str(tmp_path)), OLD)
    assert "\n" not in str(caught.value)
