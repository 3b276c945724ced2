"""What goes out as a version: checked, built and tagged here; pushed and uploaded by a person.

The version stands in one place, `meshfab/version.py`, where the build reads it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent
# Beside the package in a checkout and inside it in a wheel, as in pyproject.toml.
_DATA = ("unit-files", "nginx-snippets")


class ReleaseError(Exception):
    """Why this is no version yet, and what to do about it."""


def release(version: str, *, dry_run: bool = False) -> None:
    """Check that this commit is the version, build it into dist/, look at what was built, and tag it.

    A dry run does all that but the tag, and leaves no file.

    Raises:
        ReleaseError: something is amiss; no tag was made.
    """
    notes = _ready(version)
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder)
        # The wheel is made from the sdist, so the sdist is whole.
        _python("build", "--no-isolation", "--outdir", folder, str(ROOT))
        wheel, sdist = built / f"meshfab-{version}-py3-none-any.whl", built / f"meshfab-{version}.tar.gz"
        _check_contents(wheel)
        _python("twine", "check", "--strict", str(wheel), str(sdist))
        print(f"built    {wheel.name}, {sdist.name}: whole, and fit for an index")
        if dry_run:
            print(f"dry run  v{version} is not tagged, and nothing is left in dist/")
            return
        (ROOT / "dist").mkdir(exist_ok=True)
        for file in (wheel, sdist):
            shutil.copy(file, ROOT / "dist")
    _git("tag", "--annotate", f"v{version}", "--cleanup=verbatim", "--message", f"meshfab {version}\n\n{notes}")
    print(
        f"tagged   v{version}; to publish: git push origin v{version} && .venv/bin/twine upload dist/meshfab-{version}*"
    )


def _ready(version: str) -> str:
    """The version's notes, if the commit is fit for it."""
    if not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", version):
        raise ReleaseError(f"{version!r} is no version -> write it like 1.2.3 or 1.2.3rc1")
    if changes := _git("status", "--porcelain"):
        raise ReleaseError(f"the tree is not clean ({len(changes.splitlines())} files) -> commit or drop the changes")
    source = (ROOT / "meshfab" / "version.py").read_text()
    if f'\n__version__ = "{version}"\n' not in source:
        raise ReleaseError(f"meshfab/version.py has another version -> set __version__ to {version} there")
    if _git("tag", "--list", f"v{version}"):
        raise ReleaseError(f"v{version} is tagged already -> take the next version")
    return _notes(version)


def _notes(version: str) -> str:
    heading = rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$"
    found = re.search(rf"{heading}\n(.*?)(?=^## \[|\Z)", (ROOT / "CHANGELOG.md").read_text(), re.DOTALL | re.MULTILINE)
    if not found or not found[1].strip():
        todo = f"write '## [{version}] - YYYY-MM-DD' and what changed"
        raise ReleaseError(f"CHANGELOG.md has nothing about {version} -> {todo}")
    return found[1].strip()


def _check_contents(wheel: Path) -> None:
    """Hold the wheel against what git has: the package, its data, and nothing else."""
    files = _git("ls-files", "meshfab", *_DATA).splitlines()
    wanted = {name if name.startswith("meshfab/") else f"meshfab/{name}" for name in files}
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    if found != wanted:
        words = f"lacks {sorted(wanted - found)}, has {sorted(found - wanted)}"
        raise ReleaseError(f"the wheel {words} -> see [tool.hatch.build] in pyproject.toml")


def _git(*words: str) -> str:
    return _done(["git", "-C", str(ROOT), *words])


def _python(*words: str) -> str:
    return _done([sys.executable, "-m", *words])


def _done(argv: list[str]) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ReleaseError(f"{' '.join(argv[:4])} … failed -> {(done.stderr or done.stdout).strip()}")
    return done.stdout.strip()
