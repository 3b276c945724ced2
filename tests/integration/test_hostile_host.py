"""A host that answers what no honest host does is reported in one line, and the other hosts of the sweep are fine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.on_host import Site, assert_done

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Inv, Mesh

pytestmark = pytest.mark.lab

# Replaces nginx by a program that prints 7 MiB of rubbish.
RUBBISH = r"""
cat >/usr/local/sbin/nginx <<'END'
#!/bin/sh
printf '# configuration file /etc/nginx/nginx.conf:\n'
head -c 7340032 /dev/zero | tr '\0' ';'
END
chmod 755 /usr/local/sbin/nginx
"""
# Files that look like the certificates of 400 services.
CLAIMS = """
mkdir -p /etc/nginx/tls/cert
cd /etc/nginx/tls/cert
for number in $(seq 400); do echo hello >n$number.internal.pem; done
"""
HEAL = "rm -f /usr/local/sbin/nginx /etc/nginx/tls/cert/n*.internal.pem"


@pytest.fixture
def sites(mesh: Mesh, inv: Inv) -> Iterator[tuple[Site, Site]]:
    """An honest host with a service, and another host."""
    mesh.reset("h2", "h3")
    honest, other = Site("h3"), Site("h2")
    assert_done(inv("provision", *honest.words))
    yield honest, other
    other.sh(HEAL)


@pytest.mark.parametrize(
    ("lie", "words"),
    [(RUBBISH, "nginx.conf has 7340"), (CLAIMS, "more than 200 services that are not declared")],
    ids=["an nginx that prints rubbish", "services without end"],
)
def test_a_host_that_lies_is_reported_in_one_line_and_another_is_fine(
    sites: tuple[Site, Site], inv: Inv, lie: str, words: str
) -> None:
    honest, other = sites
    other.sh(lie)
    done = inv("check-certs", "--host", honest.host, "--host", other.host, timeout=100)
    # Unknown, as monitoring plugins have it: the other host lacks nothing.
    assert done.returncode == 3, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if words in line]
    assert other.host in line
    assert honest.name in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert len(done.stdout.splitlines()) < 20
