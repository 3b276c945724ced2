"""The settings, from a configuration and from the environment, and services."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from invoke.config import Config

from meshfab.config import service_options
from meshfab.config.service import Service
from meshfab.config.settings import Settings
from meshfab.errors import InputError
from meshfab.host import renewal_units
from tests.support.certificates import SETTINGS

BAD_VALUES: dict[str, object] = {
    "ca_url": "http://ca.internal",
    "root": "root.pem",
    "provisioner": "-lair",
    "provisioner_password": 7,
    "provisioner_password_command": "pass show mesh",
    "provisioner_key": 7,
    "ask_password": "yes",
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
    "root_fingerprint": "ab" * 31,
    "trusted_projects": ["here"],
}


def test_the_defaults_are_used_without_a_configuration() -> None:
    assert Settings.load({}) == Settings()
    assert Settings.load({"meshfab": None}) == Settings()


def test_a_sparse_configuration_keeps_the_other_defaults() -> None:
    settings = Settings.load({"meshfab": {"ca_url": "https://ca.example"}})
    assert settings == dataclasses.replace(Settings(), ca_url="https://ca.example")


def test_lists_and_mappings_of_invokes_configuration_are_read() -> None:
    services = {"tea": {"host": "h1", "sans": ["www.tea.internal"]}}
    settings = Settings.load(Config(overrides={"meshfab": {"hosts": ["h1", "h2"], "services": services}}))
    assert settings.hosts == ("h1", "h2")
    assert settings.services == services
    assert type(settings.services["tea"]) is dict


@pytest.mark.parametrize("block", [{}, {"meshfab": {"domain": "mesh.example"}}], ids=["none", "a parent's"])
def test_the_environment_sets_keys_that_no_collection_sets(
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


def test_fabric_reads_its_own_variables_except_in_a_clone_of_invokes_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from fabric import Config as FabricConfig

    monkeypatch.setenv("INVOKE_MESHFAB_DOMAIN", "invoke.example")
    monkeypatch.setenv("FABRIC_MESHFAB_DOMAIN", "fabric.example")
    assert Settings.load(FabricConfig(lazy=True)).domain == "fabric.example"
    assert Settings.load(Config().clone(into=FabricConfig)).domain == "invoke.example"


def test_a_configuration_file_overrides_a_variable_that_invoke_does_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("INVOKE_MESHFAB_DOMAIN", "env.example")
    assert Settings.load(Config(overrides={"meshfab": {"domain": "file.example"}})).domain == "file.example"


def test_a_variable_that_is_not_a_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVOKE_MESHFAB_PARALLEL", "many")
    with pytest.raises(InputError, match="parallel is 'many' in the environment"):
        Settings.load(Config())


def test_an_unknown_key_is_named_with_a_similar_one() -> None:
    with pytest.raises(InputError) as caught:
        Settings.load({"meshfab": {"provisoner": "lair"}})
    assert "meshfab.provisoner" in str(caught.value)
    assert "meshfab.provisioner?" in str(caught.value)


def test_an_unknown_key_without_a_similar_one_is_named_with_the_known_keys() -> None:
    with pytest.raises(InputError) as caught:
        Settings.load({"meshfab": {"zzz": 1}})
    assert "meshfab.zzz" in str(caught.value)
    assert "ca_url" in str(caught.value)


def test_a_block_that_is_not_a_mapping_is_refused() -> None:
    with pytest.raises(InputError, match="meshfab"):
        Settings.load({"meshfab": "https://ca.internal"})


@pytest.mark.parametrize(("key", "value"), BAD_VALUES.items(), ids=BAD_VALUES)
def test_an_invalid_value_is_refused_with_its_key(key: str, value: object) -> None:
    with pytest.raises(InputError) as caught:
        Settings.load({"meshfab": {key: value}})
    assert f"meshfab.{key}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", sorted({field.name for field in dataclasses.fields(Settings)} - {"parallel"}))
def test_a_value_of_the_wrong_type_is_an_input_error(key: str) -> None:
    with pytest.raises(InputError):
        Settings.load({"meshfab": {key: 3.5}})


@pytest.mark.parametrize("user", ["nginx", "www-data", "_nginx", "http"])
def test_common_users_of_nginx_are_accepted(user: str) -> None:
    assert Settings(nginx_user=user).nginx_user == user


@pytest.mark.parametrize("value", [True, 1.5, "4", -1], ids=str)
def test_parallel_is_a_positive_whole_number(value: Any) -> None:
    with pytest.raises(InputError, match="parallel"):
        Settings(parallel=value)


@pytest.mark.parametrize("value", ["AB" * 32, ":".join(["ab"] * 32), "ab" * 32])
def test_a_fingerprint_is_kept_in_lower_case_without_colons(value: str) -> None:
    assert Settings(root_fingerprint=value).root_fingerprint == "ab" * 32


@pytest.mark.parametrize("value", ["", "g" * 64, "ab" * 33, "ab" * 20, "ab" * 32 + "\n", "\u0661" * 64, 7], ids=ascii)
def test_what_is_not_a_sha_256_is_refused(value: Any) -> None:
    with pytest.raises(InputError, match="root_fingerprint"):
        Settings(root_fingerprint=value)


class TestRootFingerprintOfStep:
    """The fingerprint that `step ca bootstrap` recorded."""

    @pytest.fixture
    def defaults(self) -> Path:
        file = Path.home() / ".step" / "config" / "defaults.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps({"ca-url": Settings().ca_url, "fingerprint": "AB" * 32}))
        return file

    def test_it_is_taken_unless_a_setting_gives_one(self, defaults: Path) -> None:
        assert defaults.exists()
        assert Settings.load(Config()).root_fingerprint == "ab" * 32
        assert Settings.load(Config(overrides={"meshfab": {"root_fingerprint": None}})).root_fingerprint == "ab" * 32
        assert (
            Settings.load(Config(overrides={"meshfab": {"root_fingerprint": "cd" * 32}})).root_fingerprint == "cd" * 32
        )

    def test_it_is_that_of_the_settings_ca_only(self, defaults: Path) -> None:
        assert defaults.exists()
        other = Config(overrides={"meshfab": {"ca_url": "https://ca.example"}})
        assert Settings.load(other).root_fingerprint is None

    def test_a_plain_mapping_reads_no_file(self, defaults: Path) -> None:
        assert defaults.exists()
        assert Settings.load({}).root_fingerprint is None

    def test_a_folder_of_step_elsewhere_is_read(
        self, defaults: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        defaults.parents[1].rename(tmp_path / "elsewhere")
        assert Settings.load(Config()).root_fingerprint is None
        monkeypatch.setenv("STEPPATH", str(tmp_path / "elsewhere"))
        assert Settings.load(Config()).root_fingerprint == "ab" * 32

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"fingerprint": "zz"}', "\udcff", "["], ids=ascii)
    def test_a_file_that_has_none_changes_nothing(self, defaults: Path, text: str) -> None:
        defaults.write_bytes(text.encode("utf-8", "surrogateescape"))
        assert Settings.load(Config()).root_fingerprint is None

    def test_a_value_that_is_no_fingerprint_is_refused_with_the_file(self, defaults: Path) -> None:
        defaults.write_text(json.dumps({"ca-url": Settings().ca_url, "fingerprint": 7}))
        with pytest.raises(InputError, match=str(defaults)):
            Settings.load(Config())


def test_settings_are_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        SETTINGS.domain = "example"  # type: ignore[misc]


def test_the_default_password_file_is_in_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert str(Settings().password_file) == "/home/me/.step/secrets/provisioner"


def test_a_service_has_the_paths_and_units_of_the_conventions() -> None:
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


def test_sans_are_sorted_without_duplicates_and_without_the_fqdn() -> None:
    service = Service.of("tea", SETTINGS, sans=["z.internal", "a.internal", "z.internal", "tea.internal"])
    assert service.names == ("tea.internal", "a.internal", "z.internal")


def test_no_sans_and_sans_that_are_not_given_differ() -> None:
    assert Service.of("tea", SETTINGS).sans is None
    assert Service.of("tea", SETTINGS, sans=[]).sans == ()


@pytest.mark.parametrize("san", ["", "A.internal", "a b", "-a.internal", "a..b", "a.internal.", "$(x).internal"])
def test_a_san_that_is_not_a_dns_name_is_refused(san: str) -> None:
    with pytest.raises(InputError, match="SAN"):
        Service.of("tea", SETTINGS, sans=[san])


@pytest.mark.parametrize("upstream", [None, "http://127.0.0.1:8080"])
def test_an_option_of_an_https_upstream_without_one_is_refused(upstream: str | None) -> None:
    with pytest.raises(InputError, match="mtls needs an https upstream"):
        Service.of("tea", SETTINGS, upstream=upstream, mtls=True)
    with pytest.raises(InputError, match="no-verify-upstream needs an https upstream"):
        Service.of("tea", SETTINGS, upstream=upstream, verify_upstream=False)
    with pytest.raises(InputError, match="keep-host needs an https upstream"):
        Service.of("tea", SETTINGS, upstream=upstream, keep_host=True)


@pytest.mark.parametrize("upstream", ["https://10.87.0.13", "https://[fd00::13]:8443/base"])
@pytest.mark.parametrize("mtls", [False, True])
def test_an_address_cannot_be_verified_and_the_remedy_says_what_can(upstream: str, mtls: bool) -> None:
    with pytest.raises(InputError, match="by its name") as caught:
        Service.of("tea", SETTINGS, upstream=upstream, mtls=mtls)
    assert "--upstream https://NAME:PORT, or add --no-verify-upstream" in caught.value.remedy
    assert Service.of("tea", SETTINGS, upstream=upstream, mtls=mtls, verify_upstream=False).upstream == upstream
    assert Service.of("tea", SETTINGS, upstream="http://10.87.0.13").verify_upstream


@pytest.mark.parametrize("seconds", [-1, 63072001, "300", 1.5, True, None])
def test_an_hsts_max_age_that_no_browser_should_get_is_refused(seconds: Any) -> None:
    with pytest.raises(InputError, match=r"meshfab\.hsts_max_age"):
        Settings(hsts_max_age=seconds)
    assert Settings().hsts_max_age == 0
    assert Settings(hsts_max_age=63072000).hsts_max_age == 63072000


def test_a_name_that_makes_the_fqdn_too_long_is_refused() -> None:
    long = Settings(domain=".".join(["d" * 63] * 3))
    with pytest.raises(InputError):
        Service.of("n" * 63, long)


@pytest.mark.parametrize(
    ("everywhere", "own", "seconds"),
    [
        (None, {}, None),
        ("30d", {}, 2592000),
        ("30d", {"rekey_after": "12h"}, 43200),
        ("4w", {"rekey_after": "never"}, None),
    ],
)
def test_a_service_may_have_its_own_age_for_its_key(
    everywhere: str | None, own: dict[str, str], seconds: int | None
) -> None:
    settings = Settings(rekey_after=everywhere, services={"web": {"host": "h1", **own}})
    service = Service.of("web", settings)
    assert service.rekey_seconds == seconds
    env = next(file.text for file in renewal_units.wanted(service, settings) if file.path == service.env_file)
    assert (f"MESHFAB_REKEY_AFTER={seconds}" in env) == (seconds is not None)


@pytest.mark.parametrize("value", ["30", "0d", "d", "1.5d", "30d\n", "30 d", 30, "", "99999d"])
def test_an_age_that_cannot_be_used_is_refused(value: Any) -> None:
    with pytest.raises(InputError, match="rekey_after"):
        Settings(rekey_after=value)


def test_a_key_cannot_be_replaced_without_mtls() -> None:
    with pytest.raises(InputError, match="needs mTLS"):
        Settings(rekey_after="30d", ca_mtls=False)
    assert service_options.rekey_seconds(Settings(rekey_after="never", ca_mtls=False), "web") is None
