"""The parts of the documents that are made of the code, as Markdown, so that the two cannot drift apart."""

from __future__ import annotations

import ast
import dataclasses
import html
import inspect
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import meshfab
import words
from meshfab.cli import prometheus
from meshfab.config.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_CODE = Path(meshfab.__file__).parent
_README = _CODE.parent / "README.md"
_STATUSES = ("ok", "warning", "critical", "unknown")
_ATTRIBUTE = re.compile(r"^    (\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)
_LINK = re.compile(r"\[([^\]]*)\]\(([^)]*)\)")


def everything() -> dict[str, str]:
    """Every name that a page can use, and what it stands for."""
    return {
        "settings": _settings(),
        "findings": _findings(),
        "checks": _checks(),
        "metrics": _metrics(),
        "promises": _promises(),
        "python": _python(),
        "tasks": "\n\n".join(_task(task) for task in meshfab.ns.tasks.values()),
    }


def _settings() -> str:
    said = {key: " ".join(text.split()) for key, text in _ATTRIBUTE.findall(inspect.getdoc(Settings) or "")}
    rows = []
    for field in dataclasses.fields(Settings):
        default = getattr(Settings(), field.name)
        shown = default if isinstance(default, str) else json.dumps(default)
        rows.append((f"`{field.name}`", "" if default in (None, (), {}) else f"`{shown}`", said[field.name]))
    return _table(("key", "default", "what it is"), rows)


def _findings() -> str:
    found = _codes(
        "checks/service_checks",
        "checks/cross_checks",
        "checks/evaluate",
        "checks/quick_evaluate",
        "checks/client_checks",
    )
    _matched(found.keys() ^ words.FINDINGS.keys())
    rows = [(f"`{code}`", _worst_last(found[code]), *words.FINDINGS[code]) for code in words.FINDINGS]
    return _table(("code", "status", "when", "remedy"), rows)


def _checks() -> str:
    # The way in and the programs are named by loops, which no reader of the source can follow.
    _matched(
        _codes(
            "checks/preconditions",
            "checks/ca_checks",
            "checks/provisioner_checks",
            "checks/resolver_checks",
            "fleet/doctor",
            "fleet/operator_check",
            "fleet/quick_doctor",
        ).keys()
        - words.CHECKS.keys()
    )
    return _table(("line", "what is checked"), [(f"`{code}`", what) for code, what in words.CHECKS.items()])


def _metrics() -> str:
    rows = [
        (f"`{name}`", about, ", ".join(f"`{one}`" for one in by)) for name, (about, by) in prometheus._ABOUT.items()
    ]
    return _table(("metric", "value", "labels"), rows)


def _promises() -> str:
    """The README's table, without its links to files that are no part of the site."""
    rows = [row for row in _README.read_text().splitlines() if row.startswith("| P")]
    return "\n".join(["| | promise | shown by |", "|---|---|---|", *(_LINK.sub(r"\1 (`\2`)", row) for row in rows)])


def _python() -> str:
    """The public names, which `meshfab.__all__` lists."""
    kinds = {name: _kind(getattr(meshfab, name)) for name in meshfab.__all__ if name != "ns"}
    order = sorted(kinds, key=lambda name: (("function", "class", "exception").index(kinds[name]), name))
    blocks = [f".. auto{kinds[name]}:: meshfab.{name}\n" for name in order]
    return "\n".join(["```{eval-rst}", *blocks, "```"])


def _kind(thing: Any) -> str:
    if not isinstance(thing, type):
        return "function"
    return "exception" if issubclass(thing, Exception) else "class"


def _task(task: Any) -> str:
    typed, rows = [f"inv {task.name}"], []
    for argument in task.get_arguments():
        is_flag, is_list = argument.kind is bool, argument.kind is list
        flag = f"--{'no-' * (is_flag and bool(argument.default))}{argument.name}"
        word = flag if is_flag else f"{flag} {argument.name.upper()}"
        is_needed = argument.kind is str and argument.default is None and argument.positional
        typed.append(word if is_needed else f"[{word}{' …' * is_list}]")
        # Markdown would take NAME.<domain> for a tag.
        rows.append((f"`{flag}`", html.escape(str(argument.help or "").removeprefix(f"{flag} "), quote=False)))
    parts = [
        f"## {task.name}",
        inspect.cleandoc(task.__doc__),
        f"```text\n{' '.join(typed)}\n```",
        _table(("option", ""), rows),
    ]
    return "\n\n".join(parts)


def _codes(*modules: str) -> dict[str, set[str]]:
    """The codes that the modules can say and how bad each can be, read from their source."""
    found: dict[str, set[str]] = {}
    for module in modules:
        for call in ast.walk(ast.parse((_CODE / f"{module}.py").read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Finding":
                code, status = call.args[:2]
                if isinstance(code, ast.Constant):
                    found.setdefault(str(code.value), set()).update(_statuses(status))
    return found


def _statuses(expression: ast.expr) -> set[str]:
    said = {node.value for node in ast.walk(expression) if isinstance(node, ast.Constant)} & set(_STATUSES)
    # One that is worked out by a function is a warning or critical.
    return {str(one) for one in said} or {"warning", "critical"}


def _worst_last(statuses: Iterable[str]) -> str:
    return ", ".join(sorted(statuses, key=_STATUSES.index))


def _matched(odd: Iterable[str]) -> None:
    if odd:
        raise ValueError(f"docs/words.py and the code have different codes: {', '.join(sorted(odd))}")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)
