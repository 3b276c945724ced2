"""`--dry-run`: the plan and a diff of each file, and nothing written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.on_host import Site, assert_done, assert_refused

if TYPE_CHECKING:
    from tests.integration.conftest import Inv

pytestmark = pytest.mark.lab

WRITTEN = "find / -xdev -newer /run/mark \\( -type f -o -type l \\) -not -path '/var/log/*'"


BOTH = pytest.mark.parametrize("clean_host", ["h1", "h2"], indirect=True, ids=["debian", "fedora"])


@pytest.fixture
def site(clean_host: str) -> Site:
    return Site(clean_host)


def rehearsed(site: Site, inv: Inv, *more: str) -> list[str]:
    """What a dry run says, having proved that it left the host alone."""
    before, workers = site.look(), site.workers()
    site.sh("touch /run/mark")
    said = assert_done(inv("provision", *site.words, "--dry-run", *more))
    assert site.look() == before
    assert site.workers() == workers
    assert site.sh(WRITTEN) == ""
    assert site.leftovers() == ""
    assert said.splitlines()[-1].endswith("nothing was written")
    return said.splitlines()


@BOTH
def test_on_a_fresh_host_it_shows_every_step_and_every_file(site: Site, inv: Inv) -> None:
    commands = site.commands()
    # A plan needs no password.
    lines = rehearsed(site, inv, "--upstream", "http://127.0.0.1:8080")
    assert [line.split()[0] for line in lines if "would be done" in line] == ["mint", "units", "timer", "vhost"]
    files = [line.split()[1] for line in lines if line.startswith("+++ ")]
    assert files == [
        "/etc/systemd/system/step@.service",
        "/etc/systemd/system/step@.timer",
        "/usr/local/libexec/meshfab-tick",
        "/usr/local/libexec/meshfab-history",
        f"/etc/meshfab/{site.name}.env",
        site.vhost,
    ]
    assert "+        proxy_pass http://127.0.0.1:8080;" in lines
    assert not [line for line in lines if line.startswith("-") and not line.startswith("---")]
    assert "4 steps to do" in lines[-1]
    assert site.commands() == commands + 1


@pytest.mark.parametrize("signing", ["host", "operator"])
def test_what_it_shows_is_what_is_then_done(site: Site, inv: Inv, signing: str) -> None:
    lines = rehearsed(site, inv)
    shown = [line.split()[0] for line in lines if "would be done" in line]
    said = assert_done(inv("provision", *site.words, "--signing", signing))
    assert [line.split()[0] for line in said.splitlines()][: len(shown)] == shown
    vhost = [line[1:] for line in lines[lines.index(f"+++ {site.vhost}") + 2 : -1]]
    assert site.sh(f"cat {site.vhost}").splitlines() == vhost
    lines = rehearsed(site, inv)
    assert "nothing to do" in lines[-1]
    assert "+++" not in "".join(lines)


@BOTH
def test_on_a_drifted_host_it_shows_what_differs_and_no_more(site: Site, inv: Inv) -> None:
    assert_done(inv("provision", *site.words))
    site.sh(
        f"sed -i 's/^Persistent=true/Persistent=false/' /etc/systemd/system/step@.timer; systemctl daemon-reload;"
        f" chmod 0644 {site.key}; systemctl -q disable --now {site.timer}"
    )
    lines = rehearsed(site, inv, "--upstream", "http://127.0.0.1:8080")
    assert [line.split()[0] for line in lines if "would be done" in line] == ["rights", "units", "timer", "vhost"]
    assert "-Persistent=false" in lines
    assert "+Persistent=true" in lines
    assert [line.split()[1] for line in lines if line.startswith("--- ")] == [
        "/etc/systemd/system/step@.timer",
        site.vhost,
    ]


@pytest.mark.parametrize("task", ["mint", "renew-enable", "wire-nginx"])
def test_each_step_alone_can_be_rehearsed(site: Site, inv: Inv, task: str) -> None:
    before = site.look()
    said = assert_done(inv(task, *site.words, "--dry-run"))
    assert "1 step to do" in said or "2 steps to do" in said
    assert site.look() == before


def test_it_tells_of_a_password_and_files_that_were_left(site: Site, inv: Inv) -> None:
    assert_done(inv("provision", *site.words))
    site.sh(f"touch {site.secret}")
    before = site.look()
    said = assert_done(inv("provision", *site.words, "--dry-run"))
    assert site.secret in said
    assert site.look() == before


def test_a_host_that_is_not_ready_fails_the_rehearsal_too(site: Site, inv: Inv) -> None:
    site.sh("rm /etc/pki/ca-trust/source/anchors/root-internal.pem")
    assert_refused(inv("provision", *site.words, "--dry-run"), site.host, "root")
