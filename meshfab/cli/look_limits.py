"""What each look of check-certs cannot know. It is said once, and is no finding."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from meshfab.checks.report import Look

NOT_CHECKED: Mapping[Look, Sequence[str]] = {
    "full": (),
    "quick": (
        "keys",
        "owners and modes",
        "the chain to the root",
        "timers and units",
        "undeclared services without a tick",
        "passwords left in /tmp",
        "the hosts' own certificates",
        "clocks",
    ),
    "outside": (
        "everything on the hosts: files, keys, timers, whether a newer certificate is on disk",
        "which host answers",
        "undeclared services",
        "the hosts' own certificates",
    ),
}


def sentence(look: Look) -> str:
    """One line for people; empty for a full look."""
    items = NOT_CHECKED[look]
    return f"Not checked by this {look} look: {'; '.join(items)}." if items else ""
