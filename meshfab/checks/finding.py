"""A finding: one fault of a certificate or a host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from meshfab.errors import fault_line, one_line

Status = Literal["ok", "warning", "critical", "unknown"]


@dataclass(frozen=True)
class Finding:
    """One fault.

    Attributes:
        code: a stable name.
        status: how bad it is.
        message: what is wrong, one line; it may quote the host.
        remedy: what to do about it, usually a command; it quotes nothing of the host.
    """

    code: str
    status: Status
    message: str
    remedy: str = ""

    def __post_init__(self) -> None:
        """Make the message and the remedy safe to show."""
        object.__setattr__(self, "message", fault_line(self.message))
        object.__setattr__(self, "remedy", one_line(self.remedy, longest=None))

    def __str__(self) -> str:
        return f"{self.message} -> {self.remedy}" if self.remedy else self.message
