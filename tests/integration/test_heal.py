"""Half-done and damaged states, each completed or healed with its reason, and nothing else touched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from lab import layout
from lab.machine.process import wait_until
from tests.integration.on_host import Site, assert_done, assert_refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.conftest import Inv, Mesh

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def sites() -> dict[str, Site]:
    """The services that are sound just now: each test takes one from here and puts it back healed."""
    return {}


@pytest.fixture
def site(request: pytest.FixtureRequest, sites: dict[str, Site], mesh: Mesh, inv: Inv) -> Iterator[Site]:
    """A service with all done; the next test gets the same one unless this one could not heal it."""
    host = str(getattr(request, "param", "h2"))
    site = sites.pop(host, None)
    if site is None:
        mesh.reset(host)
        site = Site(host)
        assert_done(inv("provision", *site.words))
    yield site
    if site.is_sound:
        sites[host] = site


def sh(command: str) -> Callable[[Site], None]:
    def damage(site: Site) -> None:
        words = {"cert": site.cert, "key": site.key, "timer": site.timer, "vhost": site.vhost, "name": site.name}
        site.sh(command.format(**words, fqdn=site.fqdn, secret=site.secret, user=site.nginx_user))

    return damage


def other_names(site: Site) -> None:
    site.mint(san="elsewhere.internal")
    site.sh("systemctl reload nginx")


def run_out(site: Site) -> None:
    site.mint("5s")
    site.sh("systemctl reload nginx")
    expired = f"openssl x509 -checkend 0 -noout -in {site.cert} >/dev/null && echo no || echo yes"
    wait_until(lambda: site.sh(expired) == "yes", "the certificate to expire", 60, 0.1)


def new_pair_beside(site: Site) -> None:
    site.sh("rm -rf /root/beside; mkdir -p /root/beside")
    site.mint(cert="/root/beside/cert", key="/root/beside/key")


def other_key(site: Site) -> None:
    new_pair_beside(site)
    site.sh(f"cat /root/beside/key >{site.key}")


def key_moved_only(site: Site) -> None:
    """A power cut between the two renames of a move."""
    other_key(site)
    site.sh(f"cp -p /root/beside/cert {site.cert.replace('/cert/', '/cert/.')}.new")


@dataclass(frozen=True)
class Case:
    """What is done to the host, and the steps that heal it, with a word of the first one's reason."""

    damage: Callable[[Site], None]
    verbs: tuple[str, ...]
    why: str
    is_minted: bool = False


CLEAN_VHOST = "rm -f {vhost} /etc/nginx/sites-enabled/{fqdn}.conf; systemctl reload nginx"
MINTED = ("mint", "reload")
CASES = {
    "units and no pair": Case(sh(f"{CLEAN_VHOST}; rm {{cert}} {{key}}"), ("mint", "vhost"), "no certificate", True),
    "vhost and no pair": Case(sh("rm {cert} {key}"), MINTED, "no certificate", True),
    "pair and no timer": Case(sh("systemctl -q disable --now {timer}"), ("timer",), "disabled"),
    "vhost missing": Case(sh(CLEAN_VHOST), ("vhost",), "answers to the name"),
    "key for all": Case(sh("chmod 0644 {key}"), ("rights",), "0644"),
    "key of another owner": Case(sh("chown {user} {key}"), ("rights",), "{user}:root"),
    "ACL missing": Case(sh("setfacl -b {key}; chmod 0640 {key}"), ("rights",), "effective right"),
    "ACL masked": Case(sh("setfacl -m m::--- {key}"), ("rights",), "{key}"),
    "wrong SAN": Case(other_names, MINTED, "lacks {fqdn}", True),
    "expired": Case(run_out, MINTED, "expired", True),
    "key of another pair": Case(other_key, MINTED, "is not this certificate's", True),
    "certificate cut": Case(sh("truncate -s 300 {cert}"), MINTED, "cut", True),
    "chain cut off": Case(sh("openssl x509 -in {cert} -out {cert}.x && mv {cert}.x {cert}"), MINTED, "chain", True),
    "reload lost": Case(lambda site: site.mint(), ("reload",), "another certificate"),
    "leftovers": Case(
        sh("touch /etc/nginx/tls/cert/.{fqdn}.pem.new /etc/nginx/tls/key/.{fqdn}.pem.old"), ("sweep",), "interrupted"
    ),
    "move interrupted": Case(key_moved_only, ("finish",), "only the new key"),
    "password left": Case(sh("echo x >{secret}"), ("sweep",), "{secret}"),
    "unit edited": Case(
        sh("echo '# mine' >>/etc/systemd/system/step@.timer; systemctl daemon-reload"),
        ("units",),
        "step@.timer differs",
    ),
    "settings of the tick gone": Case(sh("rm /etc/meshfab/{name}.env"), ("units",), "{name}.env is missing"),
    "tick not executable": Case(sh("chmod 0644 /usr/local/libexec/meshfab-tick"), ("units",), "meshfab-tick"),
    "units not read by systemd yet": Case(
        sh(
            "f=/etc/systemd/system/step@.timer; cp $f $f.x; echo '# mine' >>$f; systemctl daemon-reload;"
            " sleep 0.01; mv $f.x $f; touch $f"
        ),
        ("units",),
        "systemd",
    ),
}


# Where the layout of the host, or its nginx's user, makes a difference.
ON_DEBIAN = (
    "vhost and no pair",
    "vhost missing",
    "certificate cut",
    "key of another pair",
    "ACL missing",
    "reload lost",
)
ON_HOSTS = [("h2", name, ()) for name in CASES] + [("h1", name, pytest.mark.slow) for name in ON_DEBIAN]


@pytest.mark.parametrize(
    ("site", "case"),
    [
        pytest.param(host, CASES[name], id=f"{name}-{layout.flavour(host)}", marks=marks)
        for host, name, marks in ON_HOSTS
    ],
    indirect=["site"],
)
def test_what_is_half_done_is_completed_with_its_reason_and_nothing_else(site: Site, inv: Inv, case: Case) -> None:
    site.is_sound = False
    case.damage(site)
    serial = site.sh(f"openssl x509 -noout -serial -in {site.cert} 2>/dev/null", check=False)
    said = assert_done(inv("provision", *site.words))
    done = [line.split(maxsplit=1) for line in said.splitlines()]
    verbs = tuple(verb for verb, _ in done if verb not in ("served", "note", site.host))
    why = case.why.format(user=site.nginx_user, key=site.key, fqdn=site.fqdn, secret=site.secret, name=site.name)
    assert verbs[: len(case.verbs)] == case.verbs
    assert why in done[0][1]
    if not case.is_minted and case.verbs != ("finish",):
        assert site.serial() == serial
    assert_sound(site)
    assert "nothing changed" in assert_done(inv("provision", *site.words))


def assert_sound(site: Site) -> None:
    """What every finished run comes to."""
    site.is_sound = False
    assert site.served() == site.serial() != ""
    shown = site.sh(f"stat -c '%U:%G %a' {site.cert} {site.key}; getfacl -cpE {site.key}")
    assert shown.splitlines()[:2] == ["root:root 644", "root:root 640"]
    assert f"user:{site.nginx_user}:r--" in shown
    assert site.timer_state() == {"ActiveState": "active", "UnitFileState": "enabled", "NeedDaemonReload": "no"}
    assert site.leftovers() == ""
    assert site.sh("nginx -t 2>&1 | grep -c emerg", check=False) == "0"
    site.is_sound = True


def test_a_planted_link_in_the_passwords_place_is_not_followed(site: Site, inv: Inv) -> None:
    site.sh(f"echo precious >/root/precious; runuser -u ops -- ln -s /root/precious {site.secret}; rm {site.cert}")
    assert_done(inv("provision", *site.words))
    assert site.sh("cat /root/precious; stat -c %a /root/precious") == "precious\n644"
    assert_sound(site)


@pytest.mark.parametrize("is_minted", [True, False], ids=["with a mint", "without one"])
def test_a_planted_folder_in_the_passwords_place_is_named_with_the_remedy(
    site: Site, inv: Inv, is_minted: bool
) -> None:
    site.is_sound = False
    site.sh(f"runuser -u ops -- sh -c 'mkdir {site.secret}; touch {site.secret}/theirs'")
    site.sh(f"rm {site.cert}" if is_minted else ":")
    assert_refused(inv("provision", *site.words), site.secret, "folder", "rm -r")
    assert site.sh(f"ls {site.secret}") == "theirs"
    site.sh(f"rm -r {site.secret}")
    assert_done(inv("provision", *site.words))
    assert_sound(site)


def test_a_mint_that_cannot_be_finished_leaves_what_was_there(site: Site, inv: Inv) -> None:
    # The units cannot be written, which comes after the pair in the order of the flow.
    site.is_sound = False
    site.sh("mv /usr/local/libexec /usr/local/aside; touch /usr/local/libexec")
    before = site.sh(f"sha256sum {site.cert} {site.key}")
    try:
        assert_refused(inv("provision", *site.words, "--san", "more.internal"), "libexec")
        assert site.sh(f"sha256sum {site.cert} {site.key}") == before
        assert site.served() == site.serial()
    finally:
        site.sh("rm /usr/local/libexec; mv /usr/local/aside /usr/local/libexec")
    assert_done(inv("provision", *site.words))
    assert_sound(site)
