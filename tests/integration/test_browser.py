"""A real browser that trusts the mesh's root opens the name without a warning."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.browser import dump_page

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import Inv, Mesh

TOOLS = [name for name in ("chromium", "certutil") if shutil.which(name) is None]
pytestmark = pytest.mark.skipif(
    bool(TOOLS),
    reason=f"NO BROWSER TEST: {' and '.join(TOOLS)} not installed; apt-get install chromium libnss3-tools",
)


def opened(home: Path) -> str:
    """The page of the service, for a user with this home."""
    return dump_page("https://gongfoo.internal/", home)


def test_chromium_opens_the_name_without_a_warning(clean_host: str, mesh: Mesh, inv: Inv, tmp_path: Path) -> None:
    mesh.dns.point("gongfoo", clean_host)
    assert inv("provision", "--name", "gongfoo", "--host", clean_host).returncode == 0
    trusting, stranger = tmp_path / "trusting", tmp_path / "stranger"
    for home in (trusting, stranger):
        (home / ".pki/nssdb").mkdir(parents=True)
        database = ["certutil", "-d", f"sql:{home}/.pki/nssdb"]
        subprocess.run([*database, "-N", "--empty-password"], check=True)
    add = ["certutil", "-d", f"sql:{trusting}/.pki/nssdb", "-A", "-t", "C,,", "-n", "mesh", "-i", str(mesh.root)]
    subprocess.run(add, check=True)
    assert "gongfoo.internal is served by meshfab" in opened(trusting)
    # The same browser without the root stops before the page: what the first one showed was no lenience of ours.
    assert "is served by meshfab" not in opened(stranger)
    mesh.reset(clean_host)
