"""The only exception that the lab raises on purpose."""

from __future__ import annotations


class LabError(Exception):
    """What is wrong, where, and what to do next, in one line."""
