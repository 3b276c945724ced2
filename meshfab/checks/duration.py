"""A time span in words, for every message and table. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import timedelta


def duration(span: timedelta) -> str:
    """A time span in its largest unit, rounded down.

    >>> from datetime import timedelta
    >>> duration(timedelta(hours=23, minutes=59))
    '23 h'
    """
    minutes = int(span.total_seconds() // 60)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 72 * 60 else f"{minutes // 1440} d"
