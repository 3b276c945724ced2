"""A command that the quick run forks is the one that a shell starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.conftest import CHECKOUT
from tests.integration.warm_inv import WarmInv

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.lab
INV = str(Path(sys.executable).with_name("inv"))


@pytest.fixture(scope="module")
def warm() -> Iterator[WarmInv]:
    made = WarmInv(INV)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("args", "env"),
    [
        (["--list"], {}),
        (["doctor", "--host", "h1", "--quick"], {}),
        (["provision", "--name", "a b", "--host", "h2"], {}),
        (["check-certs", "--host", "h1"], {"INVOKE_MESHFAB_PARALLEL": "0"}),
        (["nonsense"], {}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_it_says_what_the_real_one_says(warm: WarmInv, args: list[str], env: dict[str, str]) -> None:
    whole = {**os.environ, **env}
    real = subprocess.run([INV, *args], env=whole, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    done = warm.run(args, env=whole, cwd=CHECKOUT, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (real.returncode, real.stdout, real.stderr)


def test_it_reads_what_is_in_its_folder_and_ends_at_its_limit(warm: WarmInv, tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(
        "import os, time\nfrom invoke import task\n"
        "@task\ndef here(c):\n    print(os.getcwd(), os.environ['WORD'])\n"
        "@task\ndef wait(c):\n    time.sleep(600)\n"
    )
    env = {**os.environ, "WORD": "mine"}
    assert warm.run(["here"], env=env, cwd=tmp_path, timeout=60).stdout == f"{tmp_path} mine\n"
    with pytest.raises(subprocess.TimeoutExpired):
        warm.run(["wait"], env=env, cwd=tmp_path, timeout=1)
