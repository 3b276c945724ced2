"""A project's settings file: whose it must be, and what it may not set."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from invoke.config import Config

from meshfab.config.settings import Settings
from meshfab.errors import InputError

STRANGER = 4243
FINGERPRINT = "ab" * 32
POLICY = {
    "provisioner_password": "/elsewhere",
    "provisioner_key": "/elsewhere",
    "ssh_config": "/elsewhere",
    "host_keys": "accept-new",
    "root_fingerprint": FINGERPRINT,
}
FABRIC_POLICY = {
    "authentication": "{identities: [/elsewhere]}",
    "connect_kwargs": "{key_filename: /elsewhere}",
    "forward_agent": "true",
    "gateway": "touch /tmp/run-here",
    "load_ssh_configs": "false",
    "ssh_config_path": "/elsewhere",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "project").mkdir(mode=0o755)
    return tmp_path / "project"


def load(folder: Path, text: str = "meshfab: {domain: of.project}", prefix: str = "invoke") -> Settings:
    """The settings as a task gets them, after the project's file was written and read."""
    file = folder / f"{prefix}.yaml"
    if not file.is_symlink():
        file.write_text(f"{text}\n")
    return Settings.load(read(folder, prefix))


def read(folder: Path, prefix: str = "invoke") -> Config:
    from fabric import Config as FabricConfig

    config = (FabricConfig if prefix == "fabric" else Config)(project_location=folder)
    config.load_project()
    return config


def give_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a file somebody else's. Only root can; for another user, this process becomes somebody else."""
    if os.geteuid() == 0:
        os.chown(path, STRANGER, -1, follow_symlinks=False)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: STRANGER)


def refusal(folder: Path, text: str = "meshfab: {domain: of.project}", prefix: str = "invoke") -> str:
    with pytest.raises(InputError) as caught:
        load(folder, text, prefix)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("prefix", ["invoke", "fabric"])
def test_the_users_own_project_is_read(folder: Path, prefix: str) -> None:
    assert load(folder, prefix=prefix).domain == "of.project"


@pytest.mark.parametrize("name", [None, "invoke.yaml", "invoke.py"])
def test_a_project_without_settings_is_nothing_to_refuse(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    if name:
        (folder / name).write_text("")
    give_away(folder, monkeypatch)
    assert Settings.load(read(folder)) == Settings()


@pytest.mark.parametrize("given", ["project", "project/invoke.yaml"])
def test_a_folder_or_a_file_of_somebody_else_is_refused_with_the_line_that_allows_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    load(folder)
    give_away(folder.parent / given, monkeypatch)
    message = refusal(folder)
    assert f"{folder.parent / given} belongs to user {STRANGER}" in message or os.geteuid() != 0
    line = message.partition("write `")[2].partition("`")[0]
    assert line == f'meshfab: {{trusted_projects: ["{folder}"]}}'
    (Path.home() / ".invoke.yaml").write_text(f"{line}\n")
    assert load(folder).domain == "of.project"


def test_the_environment_can_trust_projects_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(folder)
    give_away(folder, monkeypatch)
    monkeypatch.setenv("MESHFAB_TRUSTED_PROJECTS", f"/elsewhere:{folder}/../project")
    assert load(folder).domain == "of.project"


def test_a_relative_path_or_a_parent_trusts_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MESHFAB_TRUSTED_PROJECTS", f".::{folder.parent}")
    load(folder)
    give_away(folder, monkeypatch)
    refusal(folder)


@pytest.mark.parametrize("stranger", ["link", "target", "folder of the target"])
def test_a_link_and_what_it_leads_to_must_be_the_users_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch, stranger: str
) -> None:
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir()
    target = elsewhere / "settings.yaml"
    target.write_text("meshfab: {domain: of.target}\n")
    link = folder / "invoke.yaml"
    link.symlink_to(target)
    assert load(folder).domain == "of.target"
    give_away({"link": link, "target": target, "folder of the target": elsewhere}[stranger], monkeypatch)
    refusal(folder)


@pytest.mark.parametrize(
    ("path", "mode", "is_read"),
    [
        ("project", 0o777, False),
        ("project", 0o1777, True),
        ("project", 0o700, True),
        ("project/invoke.yaml", 0o646, False),
        ("project/invoke.yaml", 0o644, True),
    ],
)
def test_what_everybody_can_write_is_refused_except_in_a_sticky_folder(
    folder: Path, path: str, mode: int, is_read: bool
) -> None:
    load(folder)
    (folder.parent / path).chmod(mode)
    if is_read:
        assert load(folder).domain == "of.project"
    else:
        assert f"can be written by others ({mode:04o})" in refusal(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to any group")
@pytest.mark.parametrize(("group", "is_read"), [(0, True), (STRANGER, False), (1, False)])
def test_a_group_may_write_only_if_it_is_the_users_private_one(folder: Path, group: int, is_read: bool) -> None:
    load(folder)
    os.chown(folder, -1, group)
    folder.chmod(0o775)
    if is_read:
        assert load(folder).domain == "of.project"
    else:
        assert "can be written by others (0775)" in refusal(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is called by sudo")
def test_root_under_sudo_reads_the_files_of_the_user_who_called_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(folder)
    give_away(folder, monkeypatch)
    monkeypatch.setenv("SUDO_UID", str(STRANGER))
    assert load(folder).domain == "of.project"
    monkeypatch.setenv("SUDO_UID", str(STRANGER + 1))
    refusal(folder)


@pytest.mark.parametrize("prefix", ["invoke", "fabric"])
@pytest.mark.parametrize("key", [*POLICY, "snippets", "provisioner_password_command"])
def test_a_project_may_not_set_what_is_trusted(folder: Path, prefix: str, key: str) -> None:
    message = refusal(folder, f"meshfab: {{{key}: {POLICY.get(key, folder)}}}", prefix)
    assert message.startswith(f"{folder}/{prefix}.yaml sets meshfab.{key}, which a project may not decide -> ")
    assert f"move it to ~/.{prefix}.yaml; or if you trust the project, write `meshfab: " in message


def test_a_project_sends_no_password_of_a_user_who_signs_here(folder: Path) -> None:
    assert "sets meshfab.signing: host, which" in refusal(folder, "meshfab: {signing: host}")
    assert load(folder, "meshfab: {signing: operator}").signing == "operator"


@pytest.mark.parametrize("key", FABRIC_POLICY)
def test_a_project_may_not_set_how_hosts_are_reached(folder: Path, key: str) -> None:
    assert f"sets {key}, which" in refusal(folder, f"{key}: {FABRIC_POLICY[key]}")


def test_a_project_may_not_clear_what_the_user_set(folder: Path) -> None:
    (Path.home() / ".invoke.yaml").write_text(f"meshfab: {{root_fingerprint: {FINGERPRINT}}}\n")
    assert load(folder).root_fingerprint == FINGERPRINT
    refusal(folder, "meshfab: {root_fingerprint: null}")


def test_a_trusted_project_may_set_all_of_it(folder: Path) -> None:
    trust = f"meshfab: {{trusted_projects: ['{folder}']}}"
    (Path.home() / ".invoke.yaml").write_text(f"{trust}\n")
    fabric = "\n".join(f"{key}: {value}" for key, value in FABRIC_POLICY.items())
    settings = load(folder, f"meshfab: {POLICY}\n{fabric}")
    assert {key: getattr(settings, key) for key in POLICY} == POLICY


def test_no_project_can_trust_itself(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    block = f"meshfab: {{ssh_config: /elsewhere, trusted_projects: ['{folder}']}}"
    assert "a project cannot trust itself" in refusal(folder, block)
    monkeypatch.setenv("MESHFAB_TRUSTED_PROJECTS", str(folder))
    refusal(folder, block)


def test_the_user_the_command_line_and_code_may_set_all_of_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "invoke.yaml").write_text("meshfab: {domain: of.project}\n")
    (Path.home() / ".invoke.yaml").write_text("meshfab: {ssh_config: /of.user}\n")
    given = folder.parent / "given.yaml"
    given.write_text("meshfab: {host_keys: accept-new}\n")
    monkeypatch.setenv("INVOKE_MESHFAB_PROVISIONER_PASSWORD", "/of.environment")
    config = read(folder)
    config.set_runtime_path(given)
    config.load_runtime()
    config.load_collection({"meshfab": {"root_fingerprint": FINGERPRINT}})
    settings = Settings.load(config)
    assert (settings.ssh_config, settings.host_keys) == ("/of.user", "accept-new")
    assert (settings.provisioner_password, settings.root_fingerprint) == ("/of.environment", FINGERPRINT)


def test_a_clone_for_a_connection_is_held_to_the_same_rules(folder: Path) -> None:
    from fabric import Config as FabricConfig

    (folder / "invoke.yaml").write_text("meshfab: {ssh_config: /elsewhere}\n")
    with pytest.raises(InputError, match="ssh_config, which a project may not decide"):
        Settings.load(read(folder).clone(into=FabricConfig))


def test_the_name_of_a_folder_adds_nothing_to_the_line_that_allows_it(tmp_path: Path) -> None:
    folder = tmp_path / 'a"], hosts: [evil] #'
    folder.mkdir()
    message = refusal(folder, "meshfab: {ssh_config: /elsewhere}")
    line = message.partition("write `")[2].partition("`")[0]
    assert yaml.safe_load(line) == {"meshfab": {"trusted_projects": [str(folder)]}}


def test_a_file_that_is_gone_since_it_was_read_is_refused(folder: Path) -> None:
    load(folder)
    config = read(folder)
    (folder / "invoke.yaml").unlink()
    with pytest.raises(InputError, match="cannot be examined"):
        Settings.load(config)
