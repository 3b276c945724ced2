"""The lock of services: what is sent to take it, and what its answers mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from meshfab.errors import LockedError, MeshfabError, NotReadyError
from meshfab.provisioning import service_lock
from meshfab.ssh.script import Answer, ExitStatus, Request
from tests.support.fake_host import RecordingShell
from tests.support.multi_service_host import service_named

if TYPE_CHECKING:
    from collections.abc import Callable

SERVICES = [service_named(name) for name in ("tea", "milk")]
THEN = Request("check_transfer")


def answers(status: int, out: bytes = b"", err: str = "") -> Callable[[Request], Answer]:
    return lambda request: Answer(request.script, status, out, err)


def take(shell: Any, **options: Any) -> tuple[bool, Answer]:
    return service_lock.take(shell, SERVICES, THEN, **options)


def test_locks_are_taken_in_one_order_with_what_must_not_outlast_them() -> None:
    shell = RecordingShell()
    waited, answer = take(shell, since="2026-11-26T12:00:00+00:00")
    assert (waited, answer.script) == (False, "check_transfer")
    lock, then = shell.sent
    assert (lock.script, lock.persistent, then) == ("lock", True, THEN)
    assert lock.args[1:] == (
        "2026-11-26T12:00:00+00:00", "30", "300",
        "milk", "/tmp/milk-provisioner", "/run/meshfab/milk.stage",
        "tea", "/tmp/tea-provisioner", "/run/meshfab/tea.stage",
    )  # fmt: skip


def test_a_lock_that_was_waited_for_is_told_from_one_that_was_free() -> None:
    assert take(RecordingShell({"lock": answers(0, b"waited\n")}))[0]


@pytest.mark.parametrize(
    ("status", "error_class", "message"),
    [
        (
            ExitStatus.BUSY,
            LockedError,
            "h2: tea.internal or milk.internal is being worked on by ann@desk since noon -> ",
        ),
        (1, NotReadyError, "h2: no lock could be taken: ann@desk since noon -> is /run writable there?"),
    ],
    ids=["busy", "impossible"],
)
def test_a_lock_that_is_not_taken_is_an_error_and_nothing_else_runs(
    status: int, error_class: type[MeshfabError], message: str
) -> None:
    shell = RecordingShell({"lock": answers(status, err="ann@desk since noon")})
    with pytest.raises(error_class) as caught:
        take(shell)
    assert str(caught.value).startswith(message)
    assert shell.scripts == ["lock"]
