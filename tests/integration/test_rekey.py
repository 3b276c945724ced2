"""`inv rekey`: a new key without a password, proved; no copy of an earlier pair renews after it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lab import layout
from meshfab.checks.finding import Finding
from meshfab.host import certificate, history
from tests.integration.conditions import heal
from tests.integration.service_on_host import ServiceOnHost

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Inv, Mesh

HOST, NAME = "h1", "rekeyed"
SERVICE = ("--name", NAME, "--host", HOST)


class Rekeyed(ServiceOnHost):
    """The service of this file."""

    host, name = HOST, NAME


SERVED = Rekeyed()
CA = f"--ca-url {layout.CA_URL} --root {layout.ROOT_ON_HOST}"


@pytest.fixture(scope="module", autouse=True)
def provisioned(mesh: Mesh, inv: Inv) -> Iterator[None]:
    mesh.reset(HOST)
    mesh.dns.point(NAME, HOST)
    done = inv("provision", *SERVICE)
    assert done.returncode == 0, done.stderr
    yield
    mesh.reset(HOST)
    SERVED.sh("rm -rf /run/thief")


def leaf() -> certificate.Leaf:
    return certificate.read_leaf(SERVED.sh(f"cat {SERVED.cert}"))


def served() -> str:
    ask = f"openssl s_client -connect 127.0.0.1:443 -servername {SERVED.fqdn} </dev/null 2>/dev/null"
    return SERVED.sh(f"{ask} | openssl x509 -noout -serial").partition("=")[2].strip()


def pair() -> tuple[str, str]:
    """The pair on disk, and the serial that clients get."""
    return SERVED.sh(f"sha256sum {SERVED.cert} {SERVED.key}"), served()


def keep_copy(number: int) -> None:
    SERVED.sh(f"mkdir -p /run/thief; cp {SERVED.cert} /run/thief/cert{number}; cp {SERVED.key} /run/thief/key{number}")


def renews(number: int) -> bool:
    renew = f"step ca renew --force {CA} --out /run/thief/new /run/thief/cert{number} /run/thief/key{number}"
    output = SERVED.sh(f"{renew} 2>&1 || :")
    assert ("saved in" in output) != ("authorization" in output), output
    return "saved in" in output


def reported(inv: Inv) -> dict[str, Any]:
    """The service, as `check-certs` reports it."""
    report = json.loads(inv("check-certs", "--host", HOST, "--format", "json").stdout)
    (own,) = [one for one in report["hosts"][0]["certificates"] if one["name"] == NAME]
    return dict(own)


def recorded(inv: Inv) -> list[dict[str, Any]]:
    history_now = reported(inv)["history"]
    assert history_now["unreadable"] == 0
    return list(history_now["generations"])


def findings(inv: Inv) -> list[Finding]:
    return [Finding(**finding) for finding in reported(inv)["findings"]]


def test_a_provision_records_its_certificate_and_a_second_one_changes_nothing(inv: Inv) -> None:
    assert SERVED.sh(f"cat /var/lib/meshfab/{NAME}.history") == history.line(leaf()) + "\n"
    assert "nothing changed" in inv("provision", *SERVICE).stdout
    (generation,) = recorded(inv)
    assert (generation["serial"], generation["provisioner"], generation["revoked"]) == (
        str(leaf().serial),
        "lair",
        False,
    )


def test_a_pair_that_nobody_recorded_is_recorded_once(inv: Inv) -> None:
    SERVED.sh(f"rm /var/lib/meshfab/{NAME}.history")
    assert "record" in inv("provision", *SERVICE).stdout
    assert SERVED.sh(f"cat /var/lib/meshfab/{NAME}.history") == history.line(leaf()) + "\n"
    assert "nothing changed" in inv("provision", *SERVICE).stdout


def test_a_dry_run_of_a_rekey_changes_nothing(inv: Inv) -> None:
    before = pair()
    done = inv("rekey", *SERVICE, "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"a new key; then the CA revokes serial {leaf().serial}" in done.stdout
    assert pair() == before


def test_after_a_rekey_no_copy_of_an_earlier_pair_renews_and_a_second_one_works(inv: Inv) -> None:
    keep_copy(1)
    assert inv("renew", *SERVICE).returncode == 0
    for number in (2, 3):
        keep_copy(number)
        old = leaf()
        done = inv("rekey", *SERVICE)
        assert (done.returncode, done.stderr) == (0, "")
        assert f"new key: serial {old.serial} -> {leaf().serial}" in done.stdout
        assert "is the leaf on disk" in done.stdout
        assert "note" not in done.stdout
        assert leaf().public != old.public
        assert int(served(), 16) == leaf().serial
        assert not any(renews(copy) for copy in range(1, number + 1))
        assert [one["revoked"] for one in recorded(inv)] == [True] * number + [False]
    assert "nothing changed" in inv("provision", *SERVICE).stdout
    assert inv("renew", *SERVICE).returncode == 0


def test_a_failure_keeps_the_old_pair_and_is_one_line(mesh: Mesh, inv: Inv) -> None:
    before = pair()
    mesh.ca.stop()
    try:
        done = inv("rekey", *SERVICE)
    finally:
        mesh.ca.start()
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "the re-key failed: not re-keyed: the CA at" in done.stderr
    assert pair() == before
    SERVED.write("/etc/nginx/conf.d/broken.conf", "nonsense;\n")
    try:
        done = inv("rekey", *SERVICE)
    finally:
        SERVED.sh("rm /etc/nginx/conf.d/broken.conf")
    assert "nginx's configuration is broken" in done.stderr
    assert pair() == before


def test_two_operators_at_once_leave_one_key_that_is_served(inv: Inv) -> None:
    keep_copy(1)
    argv = [str(Path(sys.executable).with_name("inv")), "rekey", *SERVICE]
    root = Path(__file__).resolve().parents[2]
    operators = [
        subprocess.Popen(
            argv, cwd=root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for _ in range(2)
    ]
    outputs = [operator.communicate(timeout=120)[0] for operator in operators]
    assert [operator.returncode for operator in operators] == [0, 0], outputs
    assert int(served(), 16) == leaf().serial
    assert not renews(1)
    *earlier, last = recorded(inv)
    assert all(one["revoked"] for one in earlier)
    assert (last["serial"], last["revoked"]) == (str(leaf().serial), False)


def test_a_rekey_needs_mtls(inv: Inv) -> None:
    done = inv("rekey", *SERVICE, env={"INVOKE_MESHFAB_CA_MTLS": "0"})
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "the CA re-keys over mTLS only" in done.stderr


def test_the_age_reaches_the_host_and_what_did_not_happen_is_found_and_healed(
    inv: Inv, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The history says how old the key is; a unit that did not replace it leaves a finding."""
    monkeypatch.setenv("INVOKE_MESHFAB_REKEY_AFTER", "30d")
    assert "env differs" in inv("provision", *SERVICE).stdout
    assert "MESHFAB_REKEY_AFTER=2592000" in SERVED.sh(f"cat /etc/meshfab/{NAME}.env")
    words = SERVED.sh(f"tail -n 1 /var/lib/meshfab/{NAME}.history").split()
    words[:3] = ["0A", str(int(words[1]) - 40 * 86400), str(int(words[1]) - 39 * 86400)]
    SERVED.sh(f"sed -i '1i {' '.join(words)}' /var/lib/meshfab/{NAME}.history")
    (finding,) = findings(inv)
    assert (finding.code, finding.status) == ("key-old", "warning")
    assert finding.message == "its key is 40 d old, and rekey_after is 30 d"
    old = leaf()
    heal(finding)
    assert leaf().public != old.public
    assert findings(inv) == []
    monkeypatch.delenv("INVOKE_MESHFAB_REKEY_AFTER")
    assert inv("provision", *SERVICE).returncode == 0
    assert "REKEY_AFTER" not in SERVED.sh(f"cat /etc/meshfab/{NAME}.env")
