"""Ctrl-C, SIGTERM and SIGHUP in the middle of a mint: the password is gone at once."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.machine.process import wait_until
from tests.integration.conftest import CHECKOUT, Inv, Mesh
from tests.integration.on_host import Site, assert_done

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.lab


@pytest.fixture
def minting(clean_host: str, mesh: Mesh) -> Iterator[tuple[Site, subprocess.Popen[str]]]:
    """A run that waits for a CA that says nothing, with the password on the host."""
    site = Site(clean_host)
    mesh.ca.pause()
    try:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("inv")), "provision", *site.words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=CHECKOUT,
        )
        try:
            stepping = f"test -e {site.secret} && pgrep -x step >/dev/null && echo yes || :"
            wait_until(lambda: site.sh(stepping) == "yes", "the mint to begin", 60, 0.02)
            yield site, process
        finally:
            process.kill()
            process.communicate()
    finally:
        mesh.ca.resume()


@pytest.mark.parametrize(
    "signals",
    [(signal.SIGINT,), (signal.SIGTERM,), (signal.SIGHUP,), (signal.SIGINT, signal.SIGINT)],
    ids=["Ctrl-C", "SIGTERM", "SIGHUP", "Ctrl-C twice"],
)
def test_the_password_is_gone_at_once_and_the_run_says_so_in_one_line(
    minting: tuple[Site, subprocess.Popen[str]], inv: Inv, mesh: Mesh, signals: tuple[signal.Signals, ...]
) -> None:
    site, process = minting
    assert site.sh(f"stat -c '%U:%G %a' {site.secret}") == "root:root 600"
    assert site.sh("systemctl list-units --plain --no-legend 'meshfab-reap-*.timer'") != ""
    for number in signals:
        process.send_signal(number)
    # The CA still says nothing, and a mint of which nobody is rid ends after 60 s.
    out, err = process.communicate(timeout=45)
    assert site.leftovers() == ""
    assert site.sh("pgrep -x step", check=False) == ""
    assert process.returncode == 1
    assert len(err.splitlines()) == 1
    assert "Traceback" not in out + err
    assert site.sh(f"ls {site.cert} {site.key} 2>/dev/null", check=False) == ""
    mesh.ca.resume()
    assert_done(inv("provision", *site.words))
    assert site.served() == site.serial()


def test_the_password_is_in_no_argument_or_environment_of_the_host(
    minting: tuple[Site, subprocess.Popen[str]], mesh: Mesh
) -> None:
    site, _ = minting
    password = mesh.lab.password.read_text().strip()
    script = (
        "read -r p; n=0; for f in /proc/[0-9]*/environ /proc/[0-9]*/cmdline; do"
        ' case $(tr "\\0" "\\n" <"$f" 2>/dev/null) in *"$p"*) n=$((n+1));; esac; done; echo $n'
    )
    assert site.sh(script, stdin=f"{password}\n") == "0"
