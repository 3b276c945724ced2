"""The picture of the packages in CONTRIBUTING.md, made of the code: `python docs/package_map.py` writes it.

With `--check` it only compares, and a test runs that, so that the picture cannot go stale. The order is that of the
import contract in pyproject.toml.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "meshfab"
PAGE = ROOT / "CONTRIBUTING.md"
BEGIN, END = "<!-- package-map:begin -->", "<!-- package-map:end -->"


def packages() -> list[str]:
    """The packages of meshfab, highest layer first."""
    contract = re.search(
        r'id = "meshfab-layers".*?layers = \[(.*?)\]', (ROOT / "pyproject.toml").read_text(), re.DOTALL
    )
    layers = re.findall(r'"(\w+)"', contract[1]) if contract else []
    return [layer for layer in layers if (PACKAGE / layer).is_dir()]


def used_packages(package: str) -> list[str]:
    """The packages that a package imports, in the order of the layers."""
    used: set[str] = set()
    for file in (PACKAGE / package).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("meshfab"):
                names = [node.module or ""] if node.module != "meshfab" else [f"meshfab.{a.name}" for a in node.names]
                used.update(name.split(".")[1] for name in names)
    return [other for other in packages() if other in used - {package}]


def render() -> str:
    """The picture and a table of the modules of each package."""
    boxes = []
    for package in packages():
        head = f"{package:<14}{_summary(PACKAGE / package / '__init__.py')}"
        below = used_packages(package)
        boxes.append(head + (f"\n{'':<14}uses {', '.join(below)}" if below else f"\n{'':<14}uses no other package"))
    picture = "\n   │\n   ▼\n".join(boxes)
    rows = ["| package | module | what it knows |", "|---|---|---|"]
    for package in packages():
        for file in sorted((PACKAGE / package).glob("*.py")):
            if file.stem != "__init__":
                rows.append(f"| {package} | `{file.stem}` | {_summary(file)} |")
    return "\n".join(["```text", picture, "```", "", *rows])


def replaced(page: str) -> str:
    """The page with the picture of today's code."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{render()}\n\n{END}{after}"


def _summary(file: Path) -> str:
    """The first line of the module's docstring."""
    docstring = ast.get_docstring(ast.parse(file.read_text())) or ""
    return docstring.partition("\n")[0].replace("|", "\\|")


if __name__ == "__main__":
    old = PAGE.read_text()
    new = replaced(old)
    if "--check" in sys.argv:
        sys.exit(None if new == old else f"{PAGE.name} is stale -> run: python docs/package_map.py")
    PAGE.write_text(new)
