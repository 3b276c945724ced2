"""What nginx's configuration says of a service."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meshfab.nginx import activation, config_dump, layout, server_blocks
from meshfab.nginx.layout import VhostPath
from meshfab.ssh.script import Answer
from tests.support.certificates import SERVICE, SETTINGS
from tests.support.fake_host import DEBIAN_CONF, NGINX_CONF, Host

MAIN = "/etc/nginx/nginx.conf"
PAIR = f"ssl_certificate {SERVICE.cert}; ssl_certificate_key {SERVICE.key};"


def servers(**files: str) -> list[server_blocks.Server]:
    """The servers for our name in files that are named by their place below /etc/nginx, with _ for /."""
    conf = {MAIN: NGINX_CONF, **{f"/etc/nginx/{name.replace('__', '/')}": text for name, text in files.items()}}
    return server_blocks.find(Host(conf=conf).state(), SERVICE)


def one(text: str, **more: str) -> server_blocks.Server:
    (found,) = servers(**{"conf.d__tea.conf": text, **more})
    return found


def test_a_server_is_found_by_file_and_line() -> None:
    found = one(f"# tea\n\nserver {{\n listen 443 ssl;\n server_name {SERVICE.fqdn};\n {PAIR}\n}}\n")
    assert (found.file, found.line) == ("/etc/nginx/conf.d/tea.conf", 3)
    assert (found.cert, found.key, found.ports) == (SERVICE.cert, SERVICE.key, (443,))


NOT_OURS = {
    "another name": f"server {{ listen 443 ssl; server_name tea.internal; {PAIR} }}",
    "a longer name": f"server {{ listen 443 ssl; server_name {SERVICE.fqdn}.example; {PAIR} }}",
    "a comment": f"# server {{ listen 443 ssl; server_name {SERVICE.fqdn}; }}\n",
    "plain http": f"server {{ listen 80; server_name {SERVICE.fqdn}; }}",
    "a map": f"map $host $x {{ {SERVICE.fqdn} 1; }}",
    "a redirect to it": f"server {{ listen 443 ssl; server_name x; return 301 https://{SERVICE.fqdn}; {PAIR} }}",
}


@pytest.mark.parametrize("text", NOT_OURS.values(), ids=NOT_OURS)
def test_what_does_not_answer_to_the_name_over_tls_is_no_server_of_it(text: str) -> None:
    assert servers(**{"conf.d__tea.conf": text}) == []


PORTS = {
    "443 ssl": (443,),
    "8443 ssl http2": (8443,),
    "[::]:8443 ssl": (8443,),
    "10.87.0.12:444 ssl": (444,),
    "[fd00::1]:445 ssl default_server": (445,),
    "10.87.0.12 ssl": (80,),
    "[::] ssl": (80,),
}


@pytest.mark.parametrize(("listen", "ports"), PORTS.items(), ids=PORTS)
def test_a_listens_port_is_read_as_nginx_reads_it(listen: str, ports: tuple[int, ...]) -> None:
    assert one(f"server {{ listen {listen}; server_name {SERVICE.fqdn}; {PAIR} }}").ports == ports


def test_several_listens_give_each_port_once() -> None:
    text = f"server {{ listen 443 ssl; listen [::]:443 ssl; listen 80; listen 444 ssl; server_name {SERVICE.fqdn}; }}"
    assert one(text).ports == (443, 444)


@pytest.mark.parametrize("name", [f"a.internal {SERVICE.fqdn}", f'"{SERVICE.fqdn}"', "GONGFOO.Internal"])
def test_a_name_is_found_among_others_in_quotes_and_in_capitals(name: str) -> None:
    # nginx compares names without regard to case.
    assert one(f"server {{ listen 443 ssl; server_name {name}; {PAIR} }}").cert == SERVICE.cert


INCLUDES = {
    "absolute": ("/etc/nginx/snippets/tea.conf", "snippets__tea.conf"),
    "relative": ("snippets/tea.conf", "snippets__tea.conf"),
    "pattern": ("snippets/te*.conf", "snippets__tea.conf"),
}


@pytest.mark.parametrize(("word", "file"), INCLUDES.values(), ids=INCLUDES)
def test_a_pair_that_is_included_is_found(word: str, file: str) -> None:
    text = f"server {{ listen 443 ssl; server_name {SERVICE.fqdn}; include {word}; }}"
    assert one(text, **{file: PAIR}).cert == SERVICE.cert


def test_a_name_that_is_included_is_found() -> None:
    text = f"server {{ listen 443 ssl; include snippets/name.conf; {PAIR} }}"
    assert one(text, **{"snippets__name.conf": f"server_name {SERVICE.fqdn};"}).cert == SERVICE.cert


def test_a_server_inside_http_of_the_main_file_is_found() -> None:
    main = f"events {{}}\nhttp {{\n  server {{ listen 443 ssl; server_name {SERVICE.fqdn}; {PAIR} }}\n}}\n"
    (found,) = server_blocks.find(Host(conf={MAIN: main}).state(), SERVICE)
    assert (found.file, found.line) == (MAIN, 3)


@pytest.mark.parametrize("text", ["server {", "}", 'server_name "', "\x00\x01 gongfoo.internal {", "lua { }} }"])
def test_a_file_that_cannot_be_read_hides_no_other(text: str) -> None:
    good = f"server {{ listen 443 ssl; server_name {SERVICE.fqdn}; {PAIR} }}"
    found = servers(**{"conf.d__a.conf": f"{text} # {SERVICE.fqdn}", "conf.d__b.conf": good})
    assert [one.file for one in found] == ["/etc/nginx/conf.d/b.conf"]


def test_a_sound_configuration_is_not_broken() -> None:
    assert config_dump.config_error(Host().state()) == ""


def test_nginxs_own_words_are_kept_and_the_line_that_matters_is_found() -> None:
    said = (
        "nginx: [warn] x\n2026/11/23 12:00:00 [emerg] 7#7: "
        'host not found in upstream "nope" in /e:9\nnginx: test failed'
    )
    words = config_dump.config_error(Host(refusal=said).state())
    assert "host not found" in words
    assert config_dump.error_line(words).startswith('host not found in upstream "nope" in /e:9')
    assert "test failed" not in config_dump.error_line(words)


@pytest.mark.parametrize("words", ["", "whatever", "nginx: command not found"])
def test_words_without_an_emergency_are_shown_as_they_are(words: str) -> None:
    assert config_dump.error_line(words) == words


def test_the_vhost_goes_where_the_host_has_its_vhosts() -> None:
    fedora, debian = Host().state(), Host(conf={MAIN: DEBIAN_CONF}, has_sites=True).state()
    assert layout.choose_vhost_path(fedora, SERVICE, SETTINGS) == VhostPath("/etc/nginx/conf.d/gongfoo.internal.conf")
    sites = "/etc/nginx/sites-{}/gongfoo.internal.conf"
    assert layout.choose_vhost_path(debian, SERVICE, SETTINGS) == VhostPath(
        sites.format("available"), sites.format("enabled")
    )
    # sites-available alone is a folder that nginx does not read.
    assert layout.choose_vhost_path(Host(has_sites=True).state(), SERVICE, SETTINGS).link == ""
    own = replace(SETTINGS, conf_dir="/srv/conf")
    assert layout.choose_vhost_path(debian, SERVICE, own) == VhostPath("/srv/conf/gongfoo.internal.conf")


def test_a_vhost_is_known_once_nginx_includes_it() -> None:
    host = Host()
    place = layout.choose_vhost_path(host.state(), SERVICE, SETTINGS)
    assert not layout.is_included(host.state(), place)
    assert layout.is_included(host.wired().state(), place)


def test_a_refusal_and_a_failed_reload_are_told_apart() -> None:
    refused = activation.explain(
        Answer("install_config", 3, b"", "nginx: [emerg] boom in /x:1\nnginx: test failed"), Host().state()
    )
    assert "boom in /x:1" in str(refused)
    failed = activation.explain(Answer("reload", 6, b"", "Job for nginx.service failed."), Host().state())
    assert "Job for nginx.service failed." in str(failed)
    for error in (refused, failed):
        assert str(error).startswith("h2: ")
        assert error.remedy
        assert "\n" not in str(error)
