"""The benchmark's pure parts: who runs when, what the numbers come to, and what the page says of them."""

from __future__ import annotations

import ast
import json
import pkgutil
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from bench import contenders, inventory, plot, profile, report, results, schedule
from bench.command import PAGE, _chosen
from bench.stopwatch import Share, Timeline
from lab.errors import LabError

if TYPE_CHECKING:
    from pathlib import Path


def heat_of(series: str = "lan", hosts: int = 1, **samples: dict[str, list[float]]) -> results.Heat:
    return results.Heat(series, hosts, 0.0002, dict(samples))


def results_of(*heats: results.Heat, **more: dict[str, str]) -> results.Results:
    machine = {"cores": 2, "memory_gib": 24, "linux": "6.1", "python": "3.11.7", "day": "2026-11-23"}
    return results.Results(machine, {"meshfab": "1.0"}, more.get("missing", {}), list(heats))


def test_each_contender_starts_a_round_in_turn() -> None:
    keys = ["a", "b", "c"]
    assert [schedule.rotated(keys, turn)[0] for turn in range(4)] == ["a", "b", "c", "a"]
    assert all(sorted(schedule.rotated(keys, turn)) == keys for turn in range(4))
    assert schedule.rotated([], 3) == []


@pytest.mark.parametrize(
    ("key", "series", "hosts", "runs"),
    [
        ("meshfab", "lan", 40, 5),
        ("ansible", "lan", 40, 2),
        ("ansible", "40ms", 40, 0),
        ("ansible", "40ms", 1, 3),
        ("script", "40ms", 40, 1),
        ("script", "40ms", 1, 5),
    ],
)
def test_only_what_is_slow_sits_rounds_out(key: str, series: str, hosts: int, runs: int) -> None:
    heat = schedule.Heat(series, hosts, 5)
    taken = [schedule.order(["meshfab", "script", "ansible"], heat, number) for number in range(5)]
    assert sum(key in one for one in taken) == runs


def test_a_single_round_has_everybody_in_it() -> None:
    heat = schedule.Heat("lan", 40, 1)
    assert schedule.order(["meshfab", "ansible"], heat, 0) == ["meshfab", "ansible"]


def test_one_host_is_compared_twice_as_often_and_alone_when_asked() -> None:
    assert schedule.heats(["lan", "40ms"], 40, 3) == [
        schedule.Heat("lan", 1, 6),
        schedule.Heat("lan", 40, 3),
        schedule.Heat("40ms", 1, 6),
        schedule.Heat("40ms", 40, 3),
    ]
    assert schedule.heats(["lan"], 1, 2) == [schedule.Heat("lan", 1, 4)]


def test_a_slow_moment_does_not_move_the_median() -> None:
    assert results.summarise([1.0, 9.0, 1.2]) == results.Summary(1.2, 1.0, 9.0, 3)


def test_a_ratio_is_of_medians_in_units_of_the_floor() -> None:
    heat = heat_of(ssh={"true": [0.1, 0.2, 0.3]}, script={"first": [0.9, 1.1, 1.0]})
    assert heat.ratio("script", "first") == pytest.approx(5.0)
    assert heat.ratio("script", "check") is None
    assert heat.ratio("pyinfra", "first") is None
    assert heat_of(script={"first": [1.0]}).ratio("script", "first") is None


def test_the_runs_of_a_contender_that_failed_do_not_count() -> None:
    heat = heat_of(ssh={"true": [1.0]}, script={"first": [0.1]})
    heat.failures["script"] = "after its first run: h1: no certificate"
    assert heat.summary("script", "first") is None
    text = report.table(heat)
    assert "| the script | failed | | | after its first run: h1: no certificate |" in text
    assert "0.10" not in text


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    heat = heat_of("40ms", 40, ssh={"true": [2.5]})
    heat.add("meshfab", "first", 1.23456)
    written = results_of(heat, missing={"ansible": "no network"})
    written.write(tmp_path / "more" / "found.json")
    assert results.read(tmp_path / "more" / "found.json") == written
    assert heat.samples["meshfab"] == {"first": [1.235]}


def test_a_table_says_ratios_ranges_and_how_many_runs() -> None:
    heat = heat_of(
        "40ms",
        40,
        ssh={"true": [2.0]},
        meshfab={"first": [4.0, 6.0, 5.0], "second": [1.0], "check": [1.0]},
        ansible={"first": [167.0]},
    )
    text = report.table(heat)
    assert text.startswith("### 40 hosts behind 40 ms\n")
    assert "| **meshfab** | **2.50** | **0.50** | **0.50** | 5.00 (4.00 to 6.00), 3; 1.00 (1.00 to 1.00), 1;" in text
    assert "| Ansible | 84 |  |  | 167.00 (167.00 to 167.00), 1 |" in text
    assert "| pyinfra |" not in text


def test_without_a_floor_nothing_is_compared() -> None:
    assert "nothing can be compared" in report.table(heat_of(meshfab={"first": [1.0]}))


def test_targets_are_met_missed_or_not_measured() -> None:
    one = heat_of(ssh={"true": [1.0]}, meshfab={"first": [2.6], "second": [1.51]})
    many = heat_of(hosts=40, ssh={"true": [4.0]}, meshfab={"first": [8.0]}, script={"first": [40.0]})
    text = report.targets(results_of(one, many))
    assert "| One host, first run, ssh being 1 | 2.6 | 2.60 | met |" in text
    assert "| One host, second run, ssh being 1 | 1.5 | 1.51 | **missed** |" in text
    assert "| 40 hosts, first run, the script being 1 | 0.25 | 0.20 | met |" in text
    assert "| 40 hosts, check, ssh being 1 | 0.7 | not measured |  |" in text
    assert report.targets(results_of()) == ""


def test_a_rival_that_could_not_be_installed_is_missing() -> None:
    assert "Ansible is missing: no network." in report.tables(results_of(missing={"ansible": "no network"}))


def test_only_what_is_between_the_marks_is_written_anew() -> None:
    before = "# Page\n<!-- benchmark -->\nold \\1\n<!-- end of benchmark -->\nkept\n"
    after = report.filled(before, {"benchmark": "new \\1"})
    assert after == "# Page\n<!-- benchmark -->\n\nnew \\1\n<!-- end of benchmark -->\nkept\n"
    assert report.filled(after, {"benchmark": "new \\1"}) == after
    with pytest.raises(ValueError, match="0 places for 'profile'"):
        report.filled(before, {"profile": ""})


def test_the_page_has_a_place_for_each_part() -> None:
    text = PAGE.read_text()
    assert report.filled(report.filled(text, {"benchmark": "x"}), {"profile": "y"}) != text


def test_a_picture_has_colours_for_readers_in_the_dark() -> None:
    themed = plot.themed('<?xml version="1.0"?>\n<svg width="9">\n<path style="fill: #ffffff"/></svg>')
    assert themed.startswith('<?xml version="1.0"?>\n<svg width="9"><style>@media (prefers-color-scheme: dark)')
    assert '[style*="fill: #ffffff"]{fill:#0d1117 !important}' in themed
    with pytest.raises(ValueError, match="no <svg>"):
        plot.themed("<html>")


def test_parts_of_a_profile_are_medians_and_small_ones_are_the_rest() -> None:
    runs: list[profile.Parts] = [
        [(0.1, "import"), (0.001, "dust"), (0.02, "host"), (0.02, "host"), (0.0015, "more")],
        [(0.3, "import"), (0.001, "dust"), (0.02, "host"), (0.02, "host"), (0.0015, "more")],
        [(0.2, "import"), (0.001, "dust"), (0.02, "host"), (0.02, "host"), (0.0015, "more")],
    ]
    assert profile.summed(runs) == [(200.0, "import"), (40.0, "host"), (2.5, "parts below 2 ms")]


def test_every_stopwatch_has_its_place() -> None:
    for place_of, name, _ in (*profile._OF_A_RUN, *profile._OF_A_SWEEP):
        assert callable(getattr(pkgutil.resolve_name(place_of), name)), f"{place_of}.{name}"


class Work:
    def inner(self) -> None:
        end = time.thread_time() + 0.02
        while time.thread_time() < end:
            pass

    def outer(self) -> None:
        self.inner()


def test_processor_time_within_another_part_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Work, "inner", Work.inner)
    monkeypatch.setattr(Work, "outer", Work.outer)
    share = Share()
    share.around(Work, "inner", "inner")
    share.around(Work, "outer", "outer")
    Work().outer()
    assert share.seconds["inner"] >= 0.02
    assert share.seconds["outer"] < 0.01


def test_a_call_is_a_part_and_so_is_what_came_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Work, "inner", Work.inner)
    line = Timeline()
    line.around(Work, "inner", lambda *_: "work")
    Work().inner()
    assert [part for _, part in line.parts] == ["our own Python", "work"]
    assert line.parts[1][0] >= 0.02


def test_every_contender_is_told_of_the_same_sites(tmp_path: Path) -> None:
    where = inventory.Place(tmp_path, inventory.sites(3))
    where.write()
    assert where.pairs.read_text().split() == ["h1", "w1", "h2", "w2", "h3", "w3"]
    services = json.loads(where.settings.read_text())["meshfab"]["services"]
    told = json.loads(where.ansible.read_text())["all"]["hosts"]
    mesh = dict(ast.literal_eval(where.pyinfra.read_text().partition("= ")[2]))
    assert {name: one["host"] for name, one in services.items()} == {"w1": "h1", "w2": "h2", "w3": "h3"}
    assert told == mesh
    assert told["h2"] == {"service": "w2", "nginx_user": "nginx"}


@pytest.mark.parametrize("count", [1, 40])
def test_every_contender_runs_at_once_on_all_hosts(tmp_path: Path, count: int) -> None:
    where = inventory.Place(tmp_path, inventory.sites(count))
    tools = {"ansible": "/a", "pyinfra": "/p", "apply": "yes"}
    work = {one.key: one.commands(where, tools) for one in (contenders.FLOOR, *contenders.CONTENDERS)}
    assert Counter(len(jobs) for jobs in work.values()) == {3: 4, 2: 2, 1: 1}
    assert work["ansible"]["first"].argv[3:5] == ["--forks", str(count)]
    assert work["ssh"]["true"].argv[:2] == (["ssh", "h2"] if count == 1 else ["xargs", "-P16"])
    assert work["meshfab"]["first"].argv[3] == ("provision" if count == 1 else "apply")


def test_without_apply_there_is_no_cell_for_many_hosts(tmp_path: Path) -> None:
    own = next(one for one in contenders.CONTENDERS if one.key == "meshfab")
    assert own.commands(inventory.Place(tmp_path, inventory.sites(40)), {}) == {}


def test_an_unknown_contender_is_refused_by_name() -> None:
    assert _chosen(" b ,a", ["a", "b", "c"], "--only") == ["a", "b"]
    with pytest.raises(LabError, match=r"--only chef: known are a, b"):
        _chosen("chef,a", ["a", "b"], "--only")
