"""The documents: every link in them leads somewhere, and what they call proved has a test of that name."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
MARKDOWN = MarkdownIt("commonmark").enable("table")


def links(page: Path) -> list[tuple[str, str]]:
    """The words and the target of each link and image that does not lead out of the repository."""
    found = []
    for block in MARKDOWN.parse(page.read_text()):
        inline = block.children or []
        for at, token in enumerate(inline):
            target = token.attrGet("href" if token.type == "link_open" else "src")
            if token.type in ("link_open", "image") and not re.match(r"[a-z]+:", str(target)):
                words = inline[at + 1].content if token.type == "link_open" else token.content
                found.append((words, unquote(str(target))))
    return found


def anchors(page: Path) -> set[str]:
    """The names that a forge gives to the headings of a page."""
    blocks = MARKDOWN.parse(page.read_text())
    titles = [inline.content.lower() for block, inline in pairwise(blocks) if block.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


def is_lost(page: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    there = (page.parent / path).resolve() if path else page
    if not there.exists() or not there.is_relative_to(ROOT):
        return True
    # A heading that is made of the code is Sphinx's to look for: ./dev docs.
    return bool(anchor) and anchor not in anchors(there) and "{{ " not in there.read_text()


def faults(page: Path) -> list[str]:
    return [target for _, target in links(page) if is_lost(page, target)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading_that_there_are(page: Path) -> None:
    assert faults(page) == []


def test_a_link_to_nothing_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "# A *fine* heading\n[a](#a-fine-heading) [b](#lost) [c](lost.md) [d](page.md#lost) ![e](/etc/hosts)\n"
    )
    assert faults(page) == ["#lost", "lost.md", "page.md#lost", "/etc/hosts"]


def test_every_promise_names_tests_that_there_are() -> None:
    readme = ROOT / "README.md"
    rows = [row for row in readme.read_text().splitlines() if row.startswith("| P")]
    assert [row.split()[1] for row in rows] == [f"P{number}" for number in range(1, 12)]
    shown = [(words, target) for words, target in links(readme) if target.startswith("tests/")]
    for words, target in shown:
        tree = ast.parse((ROOT / target).read_text())
        names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert f"test_{words.replace(' ', '_')}" in names, (words, target)
    for row in rows:
        assert "](tests/integration/" in row, row


def test_the_picture_of_the_packages_is_that_of_the_code() -> None:
    argv = [sys.executable, str(ROOT / "docs" / "package_map.py"), "--check"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    picture = (ROOT / "CONTRIBUTING.md").read_text()
    for package in (ROOT / "meshfab").glob("*/__init__.py"):
        assert re.search(rf"^{package.parent.name} ", picture, re.MULTILINE), package.parent.name


def test_the_tests_that_the_threat_model_names_exist() -> None:
    text = (ROOT / "docs" / "explanation" / "threat-model.md").read_text()
    named = set(re.findall(r"`((?:unit|integration)/[\w/]+\.py)`", text))
    assert len(named) > 20
    assert [name for name in sorted(named) if not (ROOT / "tests" / name).is_file()] == []
