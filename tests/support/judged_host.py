"""The whole way of a host's answer through the checks, and what it costs in CPU time and memory."""

from __future__ import annotations

import time
import tracemalloc
from contextlib import contextmanager
from typing import TYPE_CHECKING

from meshfab.checks import cross_checks, evaluate
from meshfab.errors import MeshfabError
from meshfab.host import discovery
from meshfab.ssh.script import Answer
from tests.support.certificates import NOW, SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from meshfab.checks.report import CertificateReport
    from meshfab.config.service import Service

# Generous: an honest answer takes milliseconds, and the worst that is judged less than a second.
LIMIT_SECONDS = 2.0
# Memory beside the answer itself: what the grammar and the parsers of certificates take at most.
LIMIT_BYTES = 24 * 1024 * 1024


@contextmanager
def cheap() -> Iterator[None]:
    """The block costs less CPU time than any answer may."""
    before = time.process_time()
    yield
    assert time.process_time() - before < LIMIT_SECONDS


@contextmanager
def small(answer: bytes) -> Iterator[None]:
    """The block takes a small multiple of the answer's size: its text, its values, and what they are split into."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * len(answer) + LIMIT_BYTES


def fields(values: Mapping[str, bytes]) -> bytes:
    """Fields as `put` of library.sh prints them."""
    return b"".join(b"%b %d\n%b\n" % (key.encode(), len(value), value) for key, value in values.items())


def files(texts: Mapping[str, str], keys: Mapping[str, str]) -> dict[str, bytes]:
    """The fields of files by path, with the key of each path, as `put_texts` of facts.sh prints them."""
    lines = (f"{path}:{line}" for path, text in texts.items() for line in text.rstrip("\n").split("\n"))
    return {
        "keys": "".join(f"{key} {path}\n" for key, path in keys.items()).encode(),
        "texts": "\n".join(lines).encode(),
    }


def judge(out: bytes, declared: Sequence[Service] = ()) -> tuple[CertificateReport, ...] | str:
    """What check-certs makes of a host's answer, without a question to any TLS client: the reports, or the error."""
    try:
        found = discovery.parse(Answer("facts+discover", 0, out, ""), "h2", SETTINGS, declared)
        for service in found.services:
            cross_checks.expected_endpoint(found, service, SETTINGS)
        return evaluate.evaluate_host(found, {}, SETTINGS, (NOW, NOW))
    except MeshfabError as error:
        return str(error)
