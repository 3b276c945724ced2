"""Write what a measurement prints into docs/performance.md, with its date and versions."""

from __future__ import annotations

import io
import sys
from pathlib import Path

from bench import report, system_info

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"


class Tee(io.StringIO):
    """Keeps what is printed, and prints it."""

    def write(self, text: str) -> int:
        """Print the text, and keep it."""
        sys.__stdout__.write(text)  # type: ignore[union-attr]  # this is a command
        return super().write(text)


def record(part: str, output: str) -> None:
    """Write the output of a measurement into its part of the page, with its date and versions."""
    machine, versions = system_info.describe(), system_info.versions()
    names = ", ".join(f"{name} {version}" for name, version in versions.items())
    head = f"{machine['day']}, {machine['cores']} cores, Linux {machine['linux']}, Python {machine['python']}, {names}."
    body = output if output.startswith("|") else f"```text\n{output}```\n"
    PAGE.write_text(report.filled(PAGE.read_text(), {part: f"{head}\n\n{body}"}))
