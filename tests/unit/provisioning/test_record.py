"""The step record: which certificates the history gets."""

from __future__ import annotations

import pytest

from meshfab.host import certificate, history
from meshfab.provisioning import record
from meshfab.provisioning.plan import Plan, Step
from tests.support.certificates import SERVICE, authority, good_pair
from tests.support.fake_host import Host

STAGED = authority().pair(SERVICE.fqdn)
MINTED = certificate.read_leaf(authority().pair(SERVICE.fqdn).pem)


@pytest.mark.parametrize(
    ("verb", "pem"),
    [("mint", ""), ("finish", STAGED.pem), ("record", good_pair().pem)],
)
def test_the_certificate_that_is_in_place_afterwards_is_recorded(verb: str, pem: str) -> None:
    plan = Plan(SERVICE, (Step(verb, "a reason"),))  # type: ignore[arg-type]
    minted = {SERVICE.name: MINTED} if verb == "mint" else {}
    (request,) = record.requests(Host(staged=STAGED.pem).state(), [plan], minted)
    line = history.line(certificate.read_leaf(pem) if pem else MINTED)
    assert request.args == (SERVICE.name, line, SERVICE.cert)


def test_a_plan_that_changes_no_pair_records_nothing() -> None:
    assert record.requests(Host().state(), [Plan(SERVICE, (Step("reload", "a reason"),))], {}) == []
