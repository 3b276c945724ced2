"""The kernel's inotify limit: raised when it is too low, and lowered by nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lab.machine import sysctl

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("before", "hosts", "after"),
    [(128, 3, 8192), (8192, 300, 9600), (8192, 3, 8192), (65536, 10, 65536)],
    ids=["small lab", "large lab", "high enough", "never lowered"],
)
def test_the_limit_is_raised_when_it_is_too_low(
    before: int, hosts: int, after: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    limit = tmp_path / "max_user_instances"
    limit.write_text(f"{before}\n")
    monkeypatch.setattr(sysctl, "_LIMIT", limit)
    assert sysctl.ensure_inotify_limit(hosts) == (before != after)
    assert int(limit.read_text()) == after
