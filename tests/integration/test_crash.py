"""A representative part of the crash matrix (crash.py has all of it), and proof that the matrix can see."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration import crash, crash_move, crash_retirement

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.integration.conftest import Mesh

# Each fault where it hurts most, and in SLOW each of them somewhere else, too.
SAMPLE = [
    crash.Cell("kill -9", 3, "amid"),
    crash.Cell("SIGTERM", 4, "during"),
    crash.Cell("Ctrl-C", 3, "amid"),
    crash.Cell("Ctrl-C twice", 3, "amid"),
    crash.Cell("sshd killed", 3, "amid"),
    crash.Cell("host rebooted", 4, "during"),
    crash.Cell("pair's disk full", 4, "before"),
    crash.Cell("CA stopped", 3, "before"),
    crash.Cell("kill -9", 3, "after", "provision --signing operator"),
    crash.Cell("Ctrl-C", 3, "during", "provision --signing agent"),
    crash.Cell("kill -9", 2, "amid", "rekey"),
]
SLOW = [
    crash.Cell("kill -9", 4, "during"),
    crash.Cell("SIGTERM", 3, "amid"),
    crash.Cell("Ctrl-C twice", 4, "during"),
    crash.Cell("link cut", 3, "amid"),
    crash.Cell("sshd killed", 4, "during"),
    crash.Cell("host rebooted", 3, "amid"),
    crash.Cell("/tmp full", 3, "before"),
    crash.Cell("CA slow", 3, "before"),
    crash.Cell("Ctrl-C", 3, "during", "provision --signing operator"),
    crash.Cell("SIGTERM", 3, "during", "provision --signing operator"),
    crash.Cell("sshd killed", 3, "after", "provision --signing operator"),
    crash.Cell("host rebooted", 3, "amid", "provision --signing operator"),
    crash.Cell("CA stopped", 2, "after", "provision --signing operator"),
    crash.Cell("kill -9", 3, "after", "provision --signing agent"),
    crash.Cell("SIGTERM", 2, "amid", "rekey"),
    crash.Cell("link cut", 2, "amid", "rekey"),
    crash.Cell("host rebooted", 2, "during", "rekey"),
    crash.Cell("host rebooted", 2, "amid", "rekey"),
    crash.Cell("pair's disk full", 2, "before", "rekey"),
    crash.Cell("CA stopped", 2, "before", "rekey"),
    crash.Cell("CA stopped", 2, "amid", "rekey"),
]

ENDINGS = [
    crash_retirement.Cell("kill -9", "remove_vhost", "during"),
    crash_retirement.Cell("SIGTERM", "revoke_pair", "during"),
]
SLOW_ENDINGS = [
    crash_retirement.Cell("kill -9", "disable_timer", "after"),
    crash_retirement.Cell("kill -9", "mark_revoked", "after"),
    crash_retirement.Cell("sshd killed", "remove_service", "during"),
    crash_retirement.Cell("host rebooted", "remove_service", "amid"),
    crash_retirement.Cell("link cut", "remove_service", "before"),
    crash_retirement.Cell("CA stopped", "revoke_pair", "before"),
]

MOVES = [crash_move.Cell("kill -9", "mint", "amid")]
SLOW_MOVES = [
    crash_move.Cell("host rebooted", "remove_vhost", "during"),
    crash_move.Cell("SIGTERM", "revoke_pair", "before"),
    crash_move.Cell("link cut", "remove_service", "before"),
]


def cells(quick: Sequence[object], slow: Sequence[object]) -> pytest.MarkDecorator:
    """The cells of one test."""
    return pytest.mark.parametrize(
        "cell", [*quick, *(pytest.param(cell, marks=pytest.mark.slow) for cell in slow)], ids=str
    )


@pytest.fixture(scope="module", autouse=True)
def environments(mesh: Mesh, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, str]]]:
    """A service that is served, and the environment of each command."""
    mesh.reset(crash.HOST)
    mesh.dns.point(crash.NAME, crash.HOST)
    mesh.dns.point(crash_retirement.NAME, crash.HOST)
    with crash.prepared(tmp_path_factory.mktemp("crash")) as environments:
        yield environments
    mesh.reset(crash.HOST)


@cells(SAMPLE, SLOW)
def test_a_fault_costs_no_password_no_pair_and_no_service(
    cell: crash.Cell, environments: dict[str, dict[str, str]]
) -> None:
    result = crash.run_cell(cell, [*SAMPLE, *SLOW].index(cell), environments[cell.command])
    assert result.costs == []


@cells(ENDINGS, SLOW_ENDINGS)
def test_a_fault_amid_a_retirement_costs_nothing_and_one_more_run_completes_it(cell: crash_retirement.Cell) -> None:
    assert crash_retirement.run_cell(cell).costs == []


@cells(MOVES, SLOW_MOVES)
def test_a_fault_amid_a_move_costs_nothing_and_one_more_run_completes_it(cell: crash_move.Cell, mesh: Mesh) -> None:
    try:
        assert crash_move.run_cell(cell).costs == []
    finally:
        mesh.reset(crash_move.TARGET)


def test_the_matrix_sees_a_password_that_was_left(mesh: Mesh) -> None:
    mesh.hosts.run(crash.HOST, "touch /tmp/crash-provisioner")
    try:
        assert crash.leaks(True, "")
    finally:
        mesh.hosts.run(crash.HOST, "rm /tmp/crash-provisioner")


def test_the_matrix_sees_a_mixed_pair_and_an_outage(mesh: Mesh) -> None:
    key = f"/etc/nginx/tls/key/{crash.FQDN}.pem"
    before = crash.disk()
    mesh.hosts.run(
        crash.HOST, f"mv {key} {key}.kept; openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {key}"
    )
    try:
        assert crash.mixes(before, "cell.internal")
        assert crash.outages(before)
    finally:
        mesh.hosts.run(crash.HOST, f"mv {key}.kept {key}")


def test_the_matrix_sees_that_nothing_is_served(mesh: Mesh) -> None:
    mesh.hosts.run(crash.HOST, "systemctl stop nginx")
    try:
        assert crash.outages(crash.disk())
    finally:
        mesh.hosts.run(crash.HOST, "systemctl start nginx")
