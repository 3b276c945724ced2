"""A release on a copy of this checkout: what it refuses, what it builds, and that it goes nowhere."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
VERSION = "9.8.7"

Inv = Callable[..., subprocess.CompletedProcess[str]]


def git(folder: Path, *words: str) -> str:
    own = ["-c", "user.name=a", "-c", "user.email=a@example", "-c", "commit.gpgsign=false", "-c", "tag.gpgsign=false"]
    return subprocess.run(["git", *own, *words], cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This checkout as it is now, as the one commit of a repository of its own."""
    folder = tmp_path_factory.mktemp("original")
    for name in git(CHECKOUT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0"):
        if name and (CHECKOUT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(CHECKOUT / name, folder / name)
    source, log = folder / "meshfab" / "version.py", folder / "CHANGELOG.md"
    version = next(row for row in source.read_text().splitlines() if row.startswith("__version__"))
    source.write_text(source.read_text().replace(version, f'__version__ = "{VERSION}"'))
    notes = f"## [{VERSION}] - 2026-12-01\n\n### Added\n\n- It.\n"
    log.write_text(log.read_text().replace("## [Unreleased]\n", f"## [Unreleased]\n\n{notes}", 1))
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "--all")
    git(folder, "commit", "-q", "-m", "A version")
    return folder


@pytest.fixture
def copy(original: Path, tmp_path: Path) -> Path:
    git(tmp_path, "clone", "-q", str(original), "copy")
    return tmp_path / "copy"


@pytest.fixture
def inv(copy: Path, monkeypatch: pytest.MonkeyPatch) -> Inv:
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "a")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "a@example")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        argv = [str(Path(sys.executable).with_name("inv")), "release", *words]
        return subprocess.run(argv, cwd=copy, capture_output=True, text=True, check=False)

    return run


def test_a_version_is_built_checked_and_tagged_here_and_nowhere_else(copy: Path, original: Path, inv: Inv) -> None:
    done = inv(VERSION)
    assert (done.returncode, done.stderr) == (0, "")
    built = sorted(path.name for path in (copy / "dist").iterdir())
    assert built == [f"meshfab-{VERSION}-py3-none-any.whl", f"meshfab-{VERSION}.tar.gz"]
    assert git(copy, "cat-file", "-t", f"v{VERSION}") == "tag\n"
    assert "### Added" in git(copy, "tag", "--list", "--format=%(contents)", f"v{VERSION}")
    assert git(original, "tag") == ""
    again = inv(VERSION)
    assert (again.returncode, len(again.stderr.splitlines())) == (1, 1)
    assert "tagged already" in again.stderr


def test_a_dry_run_leaves_nothing(copy: Path, inv: Inv) -> None:
    done = inv(VERSION, "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    assert "not tagged" in done.stdout
    assert git(copy, "tag") == ""
    assert git(copy, "status", "--porcelain", "--ignored", "--", "dist") == ""


def test_what_is_no_version_is_refused(inv: Inv) -> None:
    for word in ("next", "v9.8.7", "9.8"):
        assert "is no version" in inv(word).stderr


def test_another_version_than_the_packages_is_refused(inv: Inv) -> None:
    assert "set __version__ to 9.8.8" in inv("9.8.8").stderr


def test_a_tree_that_is_not_clean_is_refused(copy: Path, inv: Inv) -> None:
    (copy / "new").touch()
    assert "not clean" in inv(VERSION).stderr


def test_a_version_that_the_changelog_says_nothing_about_is_refused(copy: Path, inv: Inv) -> None:
    log = copy / "CHANGELOG.md"
    log.write_text(log.read_text().replace(f"[{VERSION}]", "[0.0.1]"))
    git(copy, "commit", "-q", "-a", "-m", "Forgotten")
    assert "CHANGELOG.md has nothing about" in inv(VERSION).stderr


def test_a_file_that_the_wheel_lacks_is_no_release(copy: Path, inv: Inv) -> None:
    project = copy / "pyproject.toml"
    project.write_text(project.read_text().replace('"nginx-snippets" = "meshfab/nginx-snippets"', ""))
    git(copy, "commit", "-q", "-a", "-m", "Lost")
    done = inv(VERSION)
    assert done.returncode == 1
    assert "meshfab/nginx-snippets/vhost.conf.j2" in done.stderr
    assert git(copy, "tag") == ""


def test_hooks_before_a_commit_are_this_checkouts_own_linters_and_fetch_nothing() -> None:
    (local,) = yaml.safe_load((CHECKOUT / ".pre-commit-config.yaml").read_text())["repos"]
    assert local["repo"] == "local"
    assert {hook["language"] for hook in local["hooks"]} == {"system"}
    programs = {hook["entry"].split()[0] for hook in local["hooks"]}
    assert programs == {f".venv/bin/{name}" for name in ("ruff", "lint-imports", "mypy", "shellcheck")}
    tool = Path(sys.executable).with_name("pre-commit")
    subprocess.run([tool, "validate-config", str(CHECKOUT / ".pre-commit-config.yaml")], check=True)
