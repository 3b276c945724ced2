"""The settings that a tick gets, and where a retired service can have left something."""

from __future__ import annotations

import pytest

from meshfab.config.service import Service
from meshfab.config.settings import Settings
from meshfab.errors import InputError
from meshfab.host import renewal_units, service_files


def files(settings: Settings) -> dict[str, str]:
    service = Service.of("tea", settings)
    return {file.path: file.text for file in renewal_units.wanted(service, settings)}


def test_a_tick_finds_the_folder_for_metrics_by_itself_unless_one_is_set() -> None:
    env = "/etc/meshfab/tea.env"
    assert "TEXTFILE_DIR" not in files(Settings())[env]
    assert "MESHFAB_TEXTFILE_DIR=off" in files(Settings(textfile_dir=False))[env]  # type: ignore[arg-type]
    assert "MESHFAB_TEXTFILE_DIR=/srv/metrics" in files(Settings(textfile_dir="/srv/metrics"))[env]


def test_a_folder_for_metrics_that_is_closed_to_the_unit_gets_a_drop_in() -> None:
    drop_in = "/etc/systemd/system/step@tea.service.d/meshfab.conf"
    assert "ReadWritePaths=/etc/metrics\n" in files(Settings(textfile_dir="/etc/metrics"))[drop_in]
    for textfile_dir in (None, "off", "/var/metrics"):
        assert drop_in not in files(Settings(textfile_dir=textfile_dir))


@pytest.mark.parametrize("value", ["metrics", "/srv/my metrics", "/srv/../etc", 7, True])
def test_a_folder_that_is_no_plain_path_is_refused(value: object) -> None:
    with pytest.raises(InputError, match=r"meshfab\.textfile_dir"):
        Settings(textfile_dir=value)  # type: ignore[arg-type]


def test_the_metrics_of_a_retired_service_are_looked_for_wherever_they_can_be() -> None:
    for settings, count in ((Settings(), 2), (Settings(textfile_dir="off"), 2), (Settings(textfile_dir="/srv/m"), 3)):
        found = [path for path in service_files.others(Service.of("tea", settings), settings) if path.endswith(".prom")]
        assert len(found) == count == len(set(found))
