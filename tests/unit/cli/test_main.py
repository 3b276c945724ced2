"""The console script: the tasks without a tasks.py, and the settings that `inv` would read."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from meshfab.checks.report import Report
from meshfab.cli import main
from meshfab.fleet import check_certs
from meshfab.version import __version__
from tests.support.certificates import NOW

Meshfab = Callable[..., tuple[int, str, str]]


@pytest.fixture
def meshfab(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Meshfab:
    """`meshfab …` in this process, in an empty folder: exit status, stdout and stderr."""
    (tmp_path / "a" / "deep" / "down").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "deep" / "down")

    def run(*args: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["/usr/bin/meshfab", *args])
        status: object = 0
        try:
            main.main()
        except SystemExit as end:
            status = end.code
        said = capsys.readouterr()
        if isinstance(status, str):
            return 1, said.out, said.err + status + "\n"
        assert status is None or isinstance(status, int)
        return status or 0, said.out, said.err

    return run


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The hosts of the settings, as a check-certs that asks nobody has got them."""
    seen: list[tuple[str, ...]] = []

    def check(names: tuple[str, ...], **_options: object) -> Report:
        seen.append(names)
        return Report(NOW, ())

    monkeypatch.setattr(check_certs, "check_certs", check)
    return seen


def test_its_version_is_the_packages(meshfab: Meshfab) -> None:
    assert meshfab("--version") == (0, f"meshfab {__version__}\n", "")


def test_python_m_is_the_same_program() -> None:
    done = subprocess.run([sys.executable, "-m", "meshfab", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"meshfab {__version__}\n"


def test_it_lists_the_tasks_without_any_tasks_py(meshfab: Meshfab) -> None:
    status, out, _ = meshfab("--list")
    assert status == 0
    assert {"provision", "check-certs"} <= {line.split()[0] for line in out.splitlines() if line.strip()}


def test_the_completion_of_a_shell_is_for_this_command(meshfab: Meshfab) -> None:
    assert "complete -F _complete_meshfab -o default meshfab" in meshfab("--print-completion-script", "bash")[1]
    assert "provision" in meshfab("--complete", "--", "meshfab pro")[1].split()
    assert "--dry-run" in meshfab("--complete", "--", "meshfab provision --")[1].split()


@pytest.mark.parametrize("words", [("nonsense",), ("--list", "nonsense"), ("--help", "nonsense"), ("provision", "--x")])
def test_words_that_mean_nothing_are_1_and_one_line(meshfab: Meshfab, words: tuple[str, ...]) -> None:
    status, out, err = meshfab(*words)
    assert (status, out, len(err.splitlines())) == (1, "", 1)


@pytest.mark.parametrize("folder", [".", "..", "../.."])
def test_settings_are_read_from_the_nearest_invoke_yaml_upwards(
    meshfab: Meshfab, asked: list[tuple[str, ...]], folder: str
) -> None:
    Path("../../../invoke.yaml").write_text("meshfab: {hosts: [too-far]}\n")
    (Path(folder) / "invoke.yaml").write_text("meshfab: {hosts: [near]}\n")
    assert meshfab("check-certs", "--format", "json")[0] == 0
    assert asked == [("near",)]


def test_settings_are_read_from_the_users_file_and_from_f(meshfab: Meshfab, asked: list[tuple[str, ...]]) -> None:
    (Path.home() / ".invoke.yaml").write_text("meshfab: {hosts: [user]}\n")
    Path("mesh.yaml").write_text("meshfab: {hosts: [given]}\n")
    meshfab("check-certs", "--format", "json")
    meshfab("-f", "mesh.yaml", "check-certs", "--format", "json")
    assert asked == [("user",), ("given",)]


def test_a_file_of_settings_that_is_no_yaml_is_1_and_one_line(meshfab: Meshfab) -> None:
    Path("invoke.yaml").write_text("meshfab: {hosts: [h1}\n")
    status, _, err = meshfab("check-certs")
    assert (status, len(err.splitlines())) == (1, 1)
    assert "invoke.yaml" in err


def test_a_variable_that_is_no_number_is_1_and_one_line(meshfab: Meshfab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVOKE_MESHFAB_PARALLEL", "many")
    status, _, err = meshfab("check-certs")
    assert (status, len(err.splitlines())) == (1, 1)


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    command = f"{sys.executable} -m meshfab --list | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)  # noqa: S602
    assert (done.stdout, done.stderr) == ("Subcommands:\n", "")


def test_an_invoke_py_is_not_run_and_it_says_so(meshfab: Meshfab, asked: list[tuple[str, ...]]) -> None:
    code = "open('was-run', 'w').close()\nmeshfab = {'hosts': ['of-code']}\n"
    for folder in (".", ".."):
        (Path(folder) / "invoke.py").write_text(code)
    Path("../../invoke.yaml").write_text("meshfab: {hosts: [of-yaml]}\n")
    Path("../../../invoke.py").write_text(code)
    status, _, err = meshfab("check-certs", "--format", "json")
    assert (status, asked) == (0, [("of-yaml",)])
    assert not Path("was-run").exists()
    assert [line.split(" is not read")[0] for line in err.splitlines()] == [
        f"warning: {Path.cwd()}/invoke.py",
        f"warning: {Path.cwd().parent}/invoke.py",
    ]


def test_an_invoke_py_alone_is_not_run_either(meshfab: Meshfab, asked: list[tuple[str, ...]]) -> None:
    Path("invoke.py").write_text("open('was-run', 'w').close()\nmeshfab = {'hosts': ['of-code']}\n")
    meshfab("check-certs", "--host", "h1", "--format", "json")
    assert (asked, Path("was-run").exists()) == ([("h1",)], False)


def test_a_settings_file_names_no_module_to_import(
    meshfab: Meshfab, asked: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("of_the_folder.py").write_text("open('was-run', 'w').close()\n")
    monkeypatch.syspath_prepend(str(Path.cwd()))
    Path("invoke.yaml").write_text("tasks: {executor_class: of_the_folder.Executor}\nmeshfab: {hosts: [near]}\n")
    assert meshfab("check-certs", "--format", "json")[0] == 0
    assert (asked, Path("was-run").exists()) == ([("near",)], False)


@pytest.mark.parametrize(("task", "expected"), [(("provision", "--name", "tea"), 1), (("check-certs",), 3)])
def test_a_project_that_decides_about_trust_is_one_line_and_nobody_is_asked(
    meshfab: Meshfab, asked: list[tuple[str, ...]], task: tuple[str, ...], expected: int
) -> None:
    Path("invoke.yaml").write_text("meshfab: {ssh_config: mine, hosts: [h1]}\n")
    status, out, err = meshfab(*task)
    assert (status, out, len(err.splitlines()), asked) == (expected, "", 1, [])
    assert "sets meshfab.ssh_config, which a project may not decide" in err


def test_a_file_given_with_f_may_trust_the_project(meshfab: Meshfab, asked: list[tuple[str, ...]]) -> None:
    Path("invoke.yaml").write_text("meshfab: {host_keys: accept-new, hosts: [near]}\n")
    Path("given.yaml").write_text(f"meshfab: {{trusted_projects: ['{Path.cwd()}']}}\n")
    assert meshfab("-f", "given.yaml", "check-certs", "--format", "json")[0] == 0
    assert asked == [("near",)]
