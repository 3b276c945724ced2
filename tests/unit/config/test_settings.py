"""What the operator may set, and what a service is."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from invoke.config import Config

from meshfab.config.service import Service
from meshfab.config.settings import Settings
from meshfab.errors import InputError
from tests.support.certificates import SETTINGS

BAD_VALUES: dict[str, object] = {
    "ca_url": "http://ca.internal",
    "root": "root.pem",
    "provisioner": "-lair",
    "provisioner_password": 7,
    "domain": "Internal.",
    "cert_dir": "/etc/nginx/a b",
    "key_dir": "/etc/../etc",
    "nginx_user": "nginx;",
    "conf_dir": "conf.d",
    "hosts": "h1",
    "services": ["gongfoo"],
    "parallel": 0,
    "ssh_config": 7,
    "host_keys": "no",
}


def test_without_a_configuration_the_defaults_hold() -> None:
    assert Settings.load({}) == Settings()
    assert Settings.load({"meshfab": None}) == Settings()


def test_a_sparse_configuration_keeps_the_other_defaults() -> None:
    got = Settings.load({"meshfab": {"ca_url": "https://ca.example"}})
    assert got == dataclasses.replace(Settings(), ca_url="https://ca.example")


def test_invokes_own_configuration_is_read_lists_and_mappings_too() -> None:
    services = {"tea": {"host": "h1", "sans": ["www.tea.internal"]}}
    got = Settings.load(Config(overrides={"meshfab": {"hosts": ["h1", "h2"], "services": services}}))
    assert got.hosts == ("h1", "h2")
    assert got.services == services
    assert type(got.services["tea"]) is dict


@pytest.mark.parametrize("block", [{}, {"meshfab": {"domain": "mesh.example"}}], ids=["none", "a parent's"])
def test_the_environment_sets_what_no_collection_has_a_value_for(
    monkeypatch: pytest.MonkeyPatch, block: dict[str, Any]
) -> None:
    # pyinvoke/invoke#782: a parent collection that sets a key drops our defaults, and Invoke then reads no variable.
    monkeypatch.setenv("INVOKE_MESHFAB_CA_URL", "https://other.example")
    monkeypatch.setenv("INVOKE_MESHFAB_PARALLEL", "3")
    monkeypatch.setenv("INVOKE_MESHFAB_CA_MTLS", "0")
    monkeypatch.setenv("FABRIC_MESHFAB_ROOT", "/fabric.pem")
    settings = Settings.load(Config(overrides=block))
    assert (settings.ca_url, settings.parallel, settings.ca_mtls) == ("https://other.example", 3, False)
    assert settings.root == Settings().root
    assert Settings.load(block).ca_url == Settings().ca_url


def test_fabrics_environment_is_its_own_but_for_a_configuration_that_came_from_invoke(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from fabric import Config as FabricConfig

    monkeypatch.setenv("INVOKE_MESHFAB_DOMAIN", "invoke.example")
    monkeypatch.setenv("FABRIC_MESHFAB_DOMAIN", "fabric.example")
    assert Settings.load(FabricConfig(lazy=True)).domain == "fabric.example"
    assert Settings.load(Config().clone(into=FabricConfig)).domain == "invoke.example"


def test_what_a_file_or_a_caller_sets_outranks_the_environment_that_invoke_would_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("INVOKE_MESHFAB_DOMAIN", "env.example")
    assert Settings.load(Config(overrides={"meshfab": {"domain": "file.example"}})).domain == "file.example"


def test_a_variable_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVOKE_MESHFAB_PARALLEL", "many")
    with pytest.raises(InputError, match="parallel is 'many' in the environment"):
        Settings.load(Config())


def test_an_unknown_key_is_named_with_the_one_that_was_meant() -> None:
    with pytest.raises(InputError) as caught:
        Settings.load({"meshfab": {"provisoner": "lair"}})
    assert "meshfab.provisoner" in str(caught.value)
    assert "meshfab.provisioner?" in str(caught.value)


def test_an_unknown_key_like_no_other_is_named_with_the_known_ones() -> None:
    with pytest.raises(InputError) as caught:
        Settings.load({"meshfab": {"zzz": 1}})
    assert "meshfab.zzz" in str(caught.value)
    assert "ca_url" in str(caught.value)


def test_a_block_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(InputError, match="meshfab"):
        Settings.load({"meshfab": "https://ca.internal"})


@pytest.mark.parametrize(("key", "value"), BAD_VALUES.items(), ids=BAD_VALUES)
def test_a_value_that_cannot_be_used_is_refused_with_its_key(key: str, value: object) -> None:
    with pytest.raises(InputError) as caught:
        Settings.load({"meshfab": {key: value}})
    assert f"meshfab.{key}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", sorted({field.name for field in dataclasses.fields(Settings)} - {"parallel"}))
def test_a_value_of_another_type_is_an_input_error_and_no_crash(key: str) -> None:
    with pytest.raises(InputError):
        Settings.load({"meshfab": {key: 3.5}})


@pytest.mark.parametrize("user", ["nginx", "www-data", "_nginx", "http"])
def test_the_users_that_nginx_runs_as_are_accepted(user: str) -> None:
    assert Settings(nginx_user=user).nginx_user == user


@pytest.mark.parametrize("value", [True, 1.5, "4", -1], ids=str)
def test_parallel_is_a_whole_number_from_one(value: Any) -> None:
    with pytest.raises(InputError, match="parallel"):
        Settings(parallel=value)


def test_settings_cannot_be_changed_later() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        SETTINGS.domain = "example"  # type: ignore[misc]


def test_the_password_file_is_found_in_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert str(Settings().password_file) == "/home/me/.step/secrets/provisioner"


def test_a_service_has_the_conventions_paths_and_units() -> None:
    service = Service.of("web-1", SETTINGS)
    assert service.fqdn == "web-1.internal"
    assert service.names == ("web-1.internal",)
    assert service.cert == "/etc/nginx/tls/cert/web-1.internal.pem"
    assert service.key == "/etc/nginx/tls/key/web-1.internal.pem"
    assert service.timer == "step@web-1.timer"
    assert service.env_file == "/etc/meshfab/web-1.env"
    assert service.secret == "/tmp/web-1-provisioner"


def test_a_service_follows_the_settings() -> None:
    service = Service.of("tea", Settings(domain="mesh.example", cert_dir="/srv/c", key_dir="/srv/k"))
    assert (service.cert, service.key) == ("/srv/c/tea.mesh.example.pem", "/srv/k/tea.mesh.example.pem")


def test_more_names_come_sorted_once_and_without_the_first() -> None:
    service = Service.of("tea", SETTINGS, sans=["z.internal", "a.internal", "z.internal", "tea.internal"])
    assert service.names == ("tea.internal", "a.internal", "z.internal")


def test_asking_for_no_more_names_is_not_the_same_as_not_asking() -> None:
    assert Service.of("tea", SETTINGS).sans is None
    assert Service.of("tea", SETTINGS, sans=[]).sans == ()


@pytest.mark.parametrize("san", ["", "A.internal", "a b", "-a.internal", "a..b", "a.internal.", "$(x).internal"])
def test_a_san_that_is_no_dns_name_is_refused(san: str) -> None:
    with pytest.raises(InputError, match="SAN"):
        Service.of("tea", SETTINGS, sans=[san])


@pytest.mark.parametrize("upstream", [None, "http://127.0.0.1:8080"])
def test_mtls_without_an_upstream_that_speaks_tls_is_refused(upstream: str | None) -> None:
    with pytest.raises(InputError, match="mtls"):
        Service.of("tea", SETTINGS, upstream=upstream, mtls=True)


def test_a_name_that_makes_the_fqdn_too_long_is_refused() -> None:
    long = Settings(domain=".".join(["d" * 63] * 3))
    with pytest.raises(InputError):
        Service.of("n" * 63, long)
