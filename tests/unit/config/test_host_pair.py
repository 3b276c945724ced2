"""Where hosts have a pair of their own."""

from __future__ import annotations

import pytest

from meshfab.config.host_pair import patterns
from meshfab.config.settings import Settings
from meshfab.errors import InputError


def test_the_default_is_that_of_the_runbook_and_off_means_none() -> None:
    assert patterns(None) == ("/etc/pki/tls/misc/{hostname}.pem", "/etc/pki/tls/private/{hostname}.pem")
    assert patterns("off") is patterns(False) is None


@pytest.mark.parametrize(
    "value",
    [
        "/etc/ssl/{hostname}.pem",
        True,
        {"cert": "/etc/ssl/{hostname}.pem"},
        {"cert": "/etc/ssl/host.pem", "key": "/etc/ssl/{hostname}.key"},
        {"cert": "ssl/{hostname}.pem", "key": "/etc/ssl/{hostname}.key"},
        {"cert": "/etc/ssl/{hostname}.pem", "key": "/etc/ssl/$(reboot){hostname}.key"},
        {"cert": "/etc/{hostname}/{hostname}.pem", "key": "/etc/ssl/{hostname}.key"},
        {"cert": "/etc/ssl/{hostname}.pem", "key": 7},
    ],
)
def test_what_is_no_pair_of_paths_is_refused(value: object) -> None:
    with pytest.raises(InputError, match=r"meshfab\.host_certificate"):
        Settings(host_certificate=value)  # type: ignore[arg-type]
