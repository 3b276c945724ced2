"""Notices and pings: one for each change of state, never at the expense of a renewal."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import pytest

from lab import layout
from lab.machine.process import wait_until
from tests.integration.on_host import Site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.conftest import Inv, Mesh

pytestmark = pytest.mark.lab


class Receiver:
    """An HTTP server on the operator's address of the mesh that keeps what it was sent."""

    def __init__(self) -> None:
        self.received: list[tuple[str, str]] = []
        self.status = 200
        self.answers = Event()
        self.answers.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # the name is the library's
                self.answer("")

            def do_POST(self) -> None:
                self.answer(self.rfile.read(int(self.headers["Content-Length"])).decode())

            def answer(self, body: str) -> None:
                receiver.answers.wait(60)
                if receiver.status == 200:
                    receiver.received.append((self.path, body))
                self.send_response(receiver.status)
                self.end_headers()

            def log_message(self, *_words: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer((str(layout.OPERATOR_ADDRESS), 0), Handler)
        self.url = f"http://{layout.OPERATOR_ADDRESS}:{self.server.server_port}"
        Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def pings(self) -> list[str]:
        return [path for path, body in self.received if not body]

    @property
    def notices(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.received if body]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.answers.set()
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def site(mesh: Mesh) -> Iterator[Site]:
    mesh.reset("h2")
    yield Site("h2")
    mesh.reset("h2")


def provisioned(inv: Inv, site: Site, folder: Path, **settings: str) -> None:
    """Provision it with these settings, as an operator's own file has them."""
    file = folder / "mesh.yaml"
    file.write_text(json.dumps({"meshfab": settings}))
    done = inv("-f", str(file), "provision", *site.words)
    assert done.returncode == 0, done.stderr


def tick(mesh: Mesh, site: Site, *, fails: bool = False) -> bool:
    """A tick that renews, or that cannot; its result, when what follows it has ended too."""
    if fails:
        mesh.faults.ca_stop()
    try:
        site.sh(f"touch /run/meshfab/{site.name}.force")
        is_ok = site.sh(f"systemctl start step@{site.name} 2>/dev/null && echo ok || :") == "ok"
    finally:
        if fails:
            mesh.faults.ca_start()
    return is_ok


def settled(site: Site) -> None:
    """Wait until nothing is being told any more."""
    # A unit that is yet to be started is inactive, and has a job.
    pattern = f"'meshfab-*@{site.name}.service' --no-legend"
    running = f"systemctl list-jobs {pattern}; systemctl list-units --state=activating,active {pattern}"
    wait_until(lambda: not site.sh(running), "the notices to be sent", 120)


def test_one_notice_for_each_change_of_state_and_a_ping_for_each_tick(
    mesh: Mesh, inv: Inv, site: Site, receiver: Receiver, tmp_path: Path
) -> None:
    urls = {"notify": f"{receiver.url}/notice", "ping_url": f"{receiver.url}/ping/{{name}}"}
    provisioned(inv, site, tmp_path, **urls)
    assert site.sh(f"stat -c %a /etc/meshfab/{site.name}.env") == "600"
    units = " ".join(f"{unit}@{site.name}.service" for unit in ("step", "meshfab-notify", "meshfab-ping"))
    assert site.sh(f"systemd-analyze verify {units} 2>&1") == ""
    again = inv("-f", str(tmp_path / "mesh.yaml"), "provision", *site.words)
    assert "nothing to do" in again.stdout

    start, ended = f"/ping/{site.name}/start", f"/ping/{site.name}/"
    assert tick(mesh, site)
    settled(site)
    assert (receiver.pings, receiver.notices) == ([start, f"{ended}0"], [])
    for _ in range(3):
        assert not tick(mesh, site, fails=True)
        settled(site)
    assert receiver.pings[2:] == [start, f"{ended}1"] * 3
    [failed] = receiver.notices
    assert (failed["event"], failed["host"], failed["state"]["name"]) == ("failed", "h2", site.name)
    assert "cannot be reached" in failed["state"]["message"]
    assert tick(mesh, site)
    settled(site)
    assert [notice["event"] for notice in receiver.notices] == ["failed", "recovered"]
    # Anybody may see arguments and files; whoever knows the URL can use it.
    assert receiver.url not in site.sh("runuser -u nobody -- cat /etc/meshfab/*.env 2>/dev/null || :")

    # With no receiver set any more, nothing is told.
    provisioned(inv, site, tmp_path)
    told = len(receiver.received)
    assert tick(mesh, site) and not tick(mesh, site, fails=True)
    settled(site)
    assert len(receiver.received) == told
    done = inv("retire", *site.words, "--no-revoke", "--last")
    assert done.returncode == 0, done.stderr
    assert site.sh("find / -xdev -name 'meshfab-*' -not -path '/proc/*' -not -path '/run/log/*' 2>/dev/null || :") == ""


@pytest.mark.slow
def test_a_receiver_that_is_broken_changes_no_renewal_and_gets_its_notices_later(
    mesh: Mesh, inv: Inv, site: Site, receiver: Receiver, tmp_path: Path
) -> None:
    provisioned(inv, site, tmp_path, notify=receiver.url, ping_url=f"{receiver.url}/ping")
    receiver.status = 500
    assert not tick(mesh, site, fails=True)
    settled(site)
    assert "was not delivered" in site.sh(f"journalctl --sync; journalctl -o cat -u meshfab-notify@{site.name}")
    # One that hangs: the tick ends while its ping waits.
    receiver.answers.clear()
    assert tick(mesh, site), "the renewal's result is the same"
    assert site.serial() == site.served()
    receiver.answers.set()
    settled(site)
    assert receiver.notices == []
    receiver.status = 200
    assert tick(mesh, site)
    settled(site)
    assert [notice["event"] for notice in receiver.notices] == ["failed", "recovered"], "in their order"
    assert tick(mesh, site)
    settled(site)
    assert len(receiver.notices) == 2


def test_a_program_gets_the_notice_on_its_standard_input(mesh: Mesh, inv: Inv, site: Site, tmp_path: Path) -> None:
    page, got = "/usr/local/bin/page-me", "/var/tmp/got"
    site.write(page, f"#!/bin/sh\ncat >>{got}\n[ ! -e /run/broken ] || {{ echo paper jam >&2; exit 1; }}\n", "0755")
    provisioned(inv, site, tmp_path, notify=page)
    assert not tick(mesh, site, fails=True)
    settled(site)
    notice = json.loads(site.sh(f"cat {got}"))
    assert (notice["event"], notice["state"]["result"]) == ("failed", "failed")
    site.sh("touch /run/broken")
    assert tick(mesh, site)
    settled(site)
    assert "paper jam" in site.sh(f"journalctl --sync; journalctl -o cat -u meshfab-notify@{site.name}")
