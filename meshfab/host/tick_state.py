"""The state that a renewal tick publishes, for everybody on the host. Pure: text in, values out.

`/run/meshfab/state/<name>.json` (0644) is written by meshfab-tick at each of its ends, as a whole. The schema is
`meshfab/host/schemas/tick-state.schema.json`. The host may write anything into it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshfab.host import answer_fields

if TYPE_CHECKING:
    from meshfab.config.service import Service

FOLDER = "/run/meshfab/state"
SCHEMA = Path(__file__).resolve().parent / "schemas" / "tick-state.schema.json"
# The tick itself writes some 500 bytes, and at most 1,000 characters of a message, each at most doubled by JSON.
MAX_BYTES = 4096
# step@.timer starts a tick every 15 minutes, each delayed by up to 5 (systemd before 247: another delay each time).
TWO_TICKS = 40 * 60
_MAX_MESSAGE = 1000
# 20 bytes by RFC 5280, 4.1.2.2, and some more.
_SERIAL = re.compile("[0-9A-F]{1,128}")


@dataclass(frozen=True)
class TickState:
    """How the last tick of a service went. All times are UTC.

    Attributes:
        time: when the tick ended.
        is_ok: whether it went well.
        message: what it did, or why it failed: printable ASCII, one line of at most 1,000 characters, or empty.
        serial: the serial of the certificate on disk; None without one.
        not_before: start of its validity.
        not_after: end of its validity.
        next_due: from when on a tick renews it.
        key_created: when the first certificate of its key was issued.
        last_renewal: when nginx last accepted a renewed certificate.
        served_is_disk: whether nginx served this certificate; None if nobody could tell.
    """

    time: datetime
    is_ok: bool
    message: str = ""
    serial: int | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None
    next_due: datetime | None = None
    key_created: datetime | None = None
    last_renewal: datetime | None = None
    served_is_disk: bool | None = None


def file(service: Service) -> str:
    """The path of the state of a service."""
    return f"{FOLDER}/{service.name}.json"


def parse(text: str) -> TickState | None:
    """Parse a state file as a host answers it; None if it is not one.

    >>> parse('{"schema": 1, "time": 0, "result": "ok", "message": ""}').is_ok
    True
    """
    if len(text) > MAX_BYTES:
        return None
    try:
        fields = json.loads(text)
        if not isinstance(fields, dict) or fields.get("schema") != 1 or fields.get("result") not in ("ok", "failed"):
            return None
        ended = _time(fields, "time")
        message, serial, served = fields.get("message"), fields.get("serial"), fields.get("served_is_disk")
        if ended is None or not isinstance(message, str) or not (served is None or isinstance(served, bool)):
            return None
        return TickState(
            time=ended,
            is_ok=fields["result"] == "ok",
            message=message[:_MAX_MESSAGE],
            serial=None if serial is None else _serial(serial),
            served_is_disk=served,
            **{
                key: _time(fields, key)
                for key in ("not_before", "not_after", "next_due", "key_created", "last_renewal")
            },
        )
    # RecursionError: a thousand brackets fit into the bytes.
    except (ValueError, RecursionError):
        return None


def _serial(value: object) -> int:
    if not isinstance(value, str) or not _SERIAL.fullmatch(value):
        raise ValueError(value)
    return int(value, 16)


def _time(fields: dict[str, Any], key: str) -> datetime | None:
    value = fields.get(key)
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= answer_fields.MAX_EPOCH:
        raise ValueError(value)
    return datetime.fromtimestamp(value, timezone.utc)
