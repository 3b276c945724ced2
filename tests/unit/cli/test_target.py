"""Whom a task works on: --host, or the connection of `fab -H`, and never a guess between the two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fabric import Config, Connection
from invoke.context import Context

from meshfab.cli import target
from meshfab.config.settings import Settings
from meshfab.errors import HostKeyError, InputError
from tests.unit.ssh.test_connection import KEY, OTHER_KEY, add_known_host, present

if TYPE_CHECKING:
    from pathlib import Path


def fabs(words: str, **more: Any) -> Connection:
    """What `fab -H words` hands a task."""
    return Connection(words, config=Config(), **more)


def test_a_task_without_a_connection_makes_one_to_the_host(ssh: Path) -> None:
    add_known_host(ssh, "h2", KEY)
    c = target.connection(Context(), "ops@h2", Settings())
    assert (c.original_host, c.user) == ("h2", "ops")
    present(c, KEY)


def test_a_task_without_a_connection_needs_a_host() -> None:
    with pytest.raises(InputError, match="--host HOST"):
        target.connection(Context(), "", Settings())


@pytest.mark.parametrize("host", ["", "h2", "ops@h2", "h2:2222", "ops@h2:2222"])
def test_a_connection_of_fabs_is_used_and_made_strict(ssh: Path, host: str) -> None:
    add_known_host(ssh, "[h2]:2222", KEY)
    given = fabs("ops@h2:2222")
    assert target.connection(given, host, Settings()) is given
    with pytest.raises(HostKeyError):
        present(given, OTHER_KEY)


def test_a_connection_of_fabs_may_put_a_new_key_on_record_where_the_settings_say_so(ssh: Path) -> None:
    (ssh / "known_hosts").touch()
    present(target.connection(fabs("h2"), "", Settings(host_keys="accept-new")), KEY)
    assert KEY.get_base64() in (ssh / "known_hosts").read_text()


@pytest.mark.parametrize("host", ["h1", "root@h2", "h2:22"])
def test_two_hosts_that_differ_are_refused(ssh: Path, host: str) -> None:
    with pytest.raises(InputError, match="-H is h2 and --host is"):
        target.connection(fabs("ops@h2:2222"), host, Settings())
    assert ssh


@pytest.mark.parametrize("words", ["h2", "ops@h2", "h2:2222", "ops@h2:2222", "alias", "other@alias"])
def test_a_task_of_the_fleet_asks_the_host_of_fabs_connection_by_the_words_that_were_typed(
    ssh: Path, words: str
) -> None:
    (ssh / "config").write_text("Host alias\n HostName h2\n User ops\n Port 2222\n")
    assert target.hosts(fabs(words), []) == [words]


def test_a_task_of_the_fleet_takes_its_hosts_from_the_command_line_and_not_from_two_places(ssh: Path) -> None:
    assert target.hosts(Context(), ["h1", "h2"]) == ["h1", "h2"]
    assert target.hosts(fabs("fd00::12"), []) == ["[fd00::12]"]
    with pytest.raises(InputError, match="both"):
        target.hosts(fabs("h2"), ["h2"])
    assert ssh
