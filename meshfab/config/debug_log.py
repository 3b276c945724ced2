"""Passwords in the debug log of Invoke and Fabric (`--debug`, INVOKE_DEBUG): masked before they are written.

Invoke logs each level of its configuration as a whole, `sudo.password` and `connect_kwargs.password` included. What it
logged before it imported the tasks cannot be masked: the files /etc/invoke.* and ~/.invoke.*, which `inv` reads first.
"""

from __future__ import annotations

import logging
import re

# An entry of a mapping, as `repr` prints it. None is no password, and helps in debugging.
_ENTRY = re.compile(
    r"""(?P<key>['"](?:password|passphrase)['"]: )(?:b?'(?:[^'\\]|\\.)*'|b?"(?:[^"\\]|\\.)*"|(?!None\b)[^\s,}\]]+)"""
)


class PasswordFilter(logging.Filter):
    """Masks the values of passwords in the text of log records."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record's text; every record passes."""
        record.msg, record.args = _ENTRY.sub(r"\g<key>'***'", record.getMessage()), None
        return True


def hide_passwords() -> None:
    """Mask passwords in what Invoke and Fabric log from now on. A second call changes nothing."""
    # Fabric logs through Invoke's logger too.
    logger = logging.getLogger("invoke")
    if not any(isinstance(each, PasswordFilter) for each in logger.filters):
        logger.addFilter(PasswordFilter())
