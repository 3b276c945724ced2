"""The programs of the lab: what is missing is built by one command, beside other work."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.machine import binaries, cache
from lab.machine.process import wait_until

# Stands for Go's command: notes each start, waits until somebody works beside it, and makes what it is asked for.
_GO = """#!/bin/sh
echo "$*" >>{folder}/starts
{then}
until [ -e {folder}/beside ] || [ "$n" = 6000 ]; do sleep 0.01; n=$((${{n:-0}} + 1)); done
for word; do
    [ "$last" != -o ] || out=$word
    last=$word
    case $word in */cmd/*) touch "$out/${{word##*/}}" ;; esac
done
"""


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that has neither program, with an empty cache; the folder of the file `starts`."""
    for program in ("sh", "sleep", "touch"):
        (tmp_path / program).symlink_to(str(shutil.which(program)))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("MESHFAB_LAB_CACHE", str(tmp_path / "cache"))
    write_go(tmp_path)
    return tmp_path


def write_go(folder: Path, then: str = "") -> None:
    (folder / "go").write_text(_GO.format(folder=folder, then=then))
    (folder / "go").chmod(0o755)


def ensure(folder: Path) -> binaries.Binaries:
    return binaries.ensure_binaries(lambda *_: None, meanwhile=(folder / "beside").touch)


def test_both_are_built_by_one_command_beside_other_work(go: Path) -> None:
    built = ensure(go)
    assert built.built
    assert built.step.is_file() and built.step_ca.is_file()
    assert built.step.parent == built.step_ca.parent != cache.folder()
    assert not ensure(go).built, "once"
    assert len((go / "starts").read_text().splitlines()) == 1


def test_a_program_that_is_there_is_not_built(go: Path) -> None:
    (go / "step").touch(0o755)
    assert ensure(go).step == go / "step"
    assert "step-ca" in (go / "starts").read_text()
    assert "cmd/step " not in (go / "starts").read_text() + " "


def test_a_build_that_fails_is_one_line_and_leaves_nothing(go: Path) -> None:
    write_go(go, "echo first; echo no such module >&2; exit 1")
    with pytest.raises(LabError, match=r"exit status 1: no such module$"):
        ensure(go)
    assert [path.suffix for path in cache.folder().iterdir()] == [".lock"]


def test_a_failure_beside_it_ends_the_build(go: Path) -> None:
    write_go(go, f"echo $$ >{go}/pid")

    def fail() -> None:
        wait_until((go / "pid").exists, "the build to begin", 60)
        raise LabError("no room")

    with pytest.raises(LabError, match="no room"):
        binaries.ensure_binaries(lambda *_: None, meanwhile=fail)
    assert not Path("/proc", (go / "pid").read_text().strip()).exists()
    assert [path.suffix for path in cache.folder().iterdir()] == [".lock"]
