"""The probe's answer, whatever bytes it holds."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshfab.config.service import Service
from meshfab.errors import ConnectError
from meshfab.host import answer_fields, facts
from meshfab.host.facts import Stat, Unit
from meshfab.ssh.script import Answer
from tests.support.certificates import NOW, SERVICE, SETTINGS, good_pair
from tests.support.fake_host import DEBIAN_CONF, Host, encoded, unit


def parse(out: bytes, err: str = "") -> facts.HostState:
    return facts.parse(Answer("facts+probe", 0, out, err), "h2", SETTINGS, [SERVICE])


def test_an_answer_comes_out_as_it_was_found() -> None:
    state = Host(staged="new", secret=True).with_vhost().state()
    assert state.host == "h2"
    assert state.now == NOW
    assert state.addresses == ("10.87.0.12",)
    assert state.step == "/usr/bin/step"
    assert state.nginx_version == (1, 22, 1)
    assert state.nginx_user == "nginx"
    assert not state.has_sites
    assert state.stats[SERVICE.key] == Stat("regular file", "root:root", 0o640)
    assert state.unit(SERVICE.timer) == Unit("loaded", "enabled", "active", "success", False)
    have = state.services["gongfoo"]
    assert (have.cert or "").strip() == good_pair().pem.strip()
    assert have.secret == "/tmp/gongfoo-provisioner"
    assert have.staged == "new"
    assert have.has_leftovers
    assert list(have.vhosts) == ["/etc/nginx/conf.d/gongfoo.internal.conf"]


@pytest.mark.parametrize("name", ["a", "3d", "1password", "0", "web-1", "a" * 63])
def test_a_service_of_any_accepted_name_is_read_back(name: str) -> None:
    host = Host(service=Service.of(name, SETTINGS)).with_vhost()
    state = host.state()
    have = state.services[name]
    assert (have.cert or "").strip() == good_pair(f"{name}.internal").pem.strip()
    assert have.vhosts
    assert state.stats
    assert state.units


def test_what_is_not_there_is_none_and_not_empty() -> None:
    have = Host(cert=None, public=None).state().services["gongfoo"]
    assert (have.cert, have.public, have.staged, have.secret) == (None, None, None, None)
    assert not have.has_leftovers


def test_a_unit_that_systemd_does_not_know_has_the_defaults() -> None:
    assert Host().state().unit("nothing.service") == Unit()


def test_a_manager_with_stale_units_is_seen() -> None:
    host = Host(units={SERVICE.timer: unit(SERVICE.timer, stale="yes")})
    assert host.state().unit(SERVICE.timer).needs_reload


@pytest.mark.parametrize(
    ("conf", "user"),
    [
        ({"/etc/nginx/nginx.conf": DEBIAN_CONF}, "www-data"),
        ({"/etc/nginx/nginx.conf": "# user nobody;\nuser  web web;\n"}, "web"),
        ({"/etc/nginx/nginx.conf": "events {}\n"}, "nginx"),
    ],
    ids=["debian", "with a group", "not said"],
)
def test_nginxs_user_is_read_from_its_configuration(conf: dict[str, str], user: str) -> None:
    assert Host(conf=conf).state().nginx_user == user


def test_the_settings_word_on_nginxs_user_counts_more() -> None:
    settings = replace(SETTINGS, nginx_user="web")
    state = facts.parse(Host().answer(), "h2", settings, [SERVICE])
    assert state.nginx_user == "web"


def test_step_may_be_called_step_cli() -> None:
    assert Host(tools={"step-cli": "/usr/bin/step-cli"}).state().step == "/usr/bin/step-cli"
    assert Host(tools={"nginx": "/usr/sbin/nginx"}).state().step is None


def test_the_probe_is_told_every_path_that_is_asked_about() -> None:
    request = facts.request(SETTINGS, [SERVICE])
    assert request.script == "facts+probe"
    assert {SETTINGS.root, SERVICE.cert, SERVICE.key, SERVICE.secret, SERVICE.env_file} <= set(
        " ".join(request.args).split()
    )
    assert request.data is None


@pytest.mark.parametrize(
    "out",
    [b"", b"bash: sh: command not found\n", b"now 3\nabc\n", b"now 99999999\n", b"now 20\n99999999999999999999\n"],
    ids=["nothing", "a shell's word", "no time", "a length that is not there", "a time out of range"],
)
def test_an_answer_that_is_no_probes_is_a_connect_error(out: bytes) -> None:
    with pytest.raises(ConnectError) as caught:
        parse(out, "sh: something\nwent wrong")
    assert str(caught.value).startswith("h2: ")
    assert "\n" not in str(caught.value)


@given(st.binary())
def test_arbitrary_bytes_are_a_state_or_a_connect_error(out: bytes) -> None:
    try:
        parse(out)
    except ConnectError:
        return


_KEYS = ["now", "addresses", "tools", "root", "nginx.conf", "digests", "stats", "units", "gongfoo/cert", "gongfoo/acl"]


@given(st.dictionaries(st.sampled_from(_KEYS), st.text(max_size=60)), st.binary(max_size=20))
def test_arbitrary_fields_are_a_state_or_a_connect_error(fields: dict[str, str], tail: bytes) -> None:
    said = {"now": "1", **fields}
    try:
        parse(encoded(said) + tail)
    except ConnectError:
        assert not said["now"].strip().isascii() or not said["now"].strip().isdigit() or int(said["now"]) > 10**9


_VALUES = st.text(st.characters(exclude_categories=["Cs"])).map(lambda text: text.rstrip("\n"))


@given(st.dictionaries(st.from_regex(r"[a-z][A-Za-z0-9./:@_+-]{0,20}", fullmatch=True), _VALUES))
def test_every_value_arrives_unchanged(fields: dict[str, str]) -> None:
    assert answer_fields.parse_fields(encoded(fields), "h2") == fields


def test_what_follows_a_broken_record_is_dropped() -> None:
    assert answer_fields.parse_fields(b"a 1\nx\nb 2\nx\nc 1\ny\n", "h2") == {"a": "x"}


def test_histories_are_those_of_the_services_whatever_the_host_adds() -> None:
    host = Host()
    good = host.fields()["histories"]
    fields = host.fields() | {"histories": f"{good}\ngongfoo garbage\nother {good.partition(' ')[2]}\n\nx"}
    have = parse(encoded(fields)).services["gongfoo"].history
    assert [generation.serial for generation in have.generations] == [good_pair().certificate.serial_number]
    assert have.unreadable == 1
