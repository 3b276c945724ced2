"""A finding: one fault of a certificate or a host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "critical", "unknown"]


@dataclass(frozen=True)
class Finding:
    """One fault: a stable code, its status, the sentence for the operator, and the command that heals it."""

    code: str
    status: Status
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.message} -> {self.remedy}" if self.remedy else self.message
