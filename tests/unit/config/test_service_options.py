"""Settings of the renewal, for all services and for one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from meshfab.config.service import Service
from meshfab.config.settings import Settings
from meshfab.errors import InputError
from meshfab.host import renewal_units

if TYPE_CHECKING:
    from meshfab.host.target_file import File

ENV, DROP_IN = "/etc/meshfab/tea.env", "/etc/systemd/system/step@tea.service.d/meshfab.conf"


def files(**settings: Any) -> dict[str, File]:
    made = Settings(**settings)
    return {file.path: file for file in renewal_units.wanted(Service.of("tea", made), made)}


def test_without_a_receiver_nothing_is_installed_for_it() -> None:
    found = files()
    assert not found.keys() & renewal_units.NOTICE_UNITS.keys()
    assert (found[ENV].mode, DROP_IN in found) == ("0644", False)


def test_a_receiver_is_in_a_file_of_root_alone_and_started_by_a_drop_in() -> None:
    found = files(notify="https://hooks.internal/secret", ping_url="https://hc.internal/key/{name}")
    assert found.keys() >= renewal_units.NOTICE_UNITS.keys()
    assert found[ENV].mode == "0600"
    assert "MESHFAB_NOTIFY=https://hooks.internal/secret\n" in found[ENV].text
    assert "MESHFAB_PING_URL=https://hc.internal/key/tea\n" in found[ENV].text
    assert found[DROP_IN].text.splitlines()[1:] == [
        "[Unit]",
        "Wants=meshfab-ping@tea.service",
        "OnSuccess=meshfab-notify@tea.service",
        "OnFailure=meshfab-notify@tea.service",
    ]
    assert "secret" not in renewal_units.masked(found[ENV].text) and "hooks.internal" in renewal_units.masked(
        found[ENV].text
    )


def test_a_service_may_have_its_own_or_none() -> None:
    services = {"tea": {"host": "h2", "notify": "/usr/local/bin/page", "ping_url": False}}
    found = files(notify="https://hooks.internal/x", ping_url="https://hc.internal/y", services=services)
    assert "MESHFAB_NOTIFY=/usr/local/bin/page\n" in found[ENV].text
    assert "PING_URL" not in found[ENV].text and "Wants" not in found[DROP_IN].text


@pytest.mark.parametrize(
    "settings",
    [
        {"notify": "page-me"},
        {"notify": "mailto://me"},
        {"notify": "/bin/sh -c reboot"},
        {"notify": 'https://x.internal/"\nurl = "file:///etc/shadow'},
        {"notify": ["/bin/page"]},
        {"ping_url": "/usr/bin/ping"},
        {"ping_url": "file:///etc/shadow"},
        {"ping_url": "https://hc.internal/{name}/{host}"},
        {"ping_url": 7},
    ],
)
def test_what_is_no_receiver_is_refused_before_any_connection(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=rf"meshfab\.{next(iter(settings))}"):
        Settings(**settings)
