"""The pure parts of the benchmark: the schedule, the statistics, the report and the stopwatches."""

from __future__ import annotations

import ast
import json
import pkgutil
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from bench import contenders, looks_table, plot, profile, report, results, schedule
from bench.command import PAGE, _parse_list
from bench.inventory import Inventory, inventory_of, sites
from bench.stopwatch import BETWEEN_CALLS, CpuTimes, Timeline
from lab.errors import LabError

if TYPE_CHECKING:
    from pathlib import Path


MACHINE = {"cores": 2, "memory_gib": 24, "linux": "6.1", "python": "3.11.7", "day": "2026-11-23"}


_KEYS = ("ssh", "meshfab", "operator", "tight")
_BY_KEY = {contender.key: contender for contender in (contenders.SSH, *contenders.CONTENDERS) if contender.key in _KEYS}


def scenario_of(
    series: str = "lan", hosts: int = 1, services: int = 1, version: str = "1.0", **samples: dict[str, list[float]]
) -> results.ScenarioResult:
    versions = {"meshfab": version}
    return results.ScenarioResult(series, hosts, services, MACHINE, versions, 0.0002, dict(samples))


def results_of(*scenarios: results.ScenarioResult, missing: dict[str, str] | None = None) -> results.Results:
    return results.Results(missing or {}, list(scenarios))


def cell_of(*parts: results.ScenarioResult) -> results.Cell:
    return results.Cell(parts)


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
def test_only_slow_contenders_skip_rounds(key: str, series: str, hosts: int, runs: int) -> None:
    scenario = schedule.Scenario(series, hosts, 5)
    rounds = [schedule.order(["meshfab", "script", "ansible"], scenario, number) for number in range(5)]
    assert sum(key in contenders_of_round for contenders_of_round in rounds) == runs


def test_all_contenders_run_in_a_single_round() -> None:
    scenario = schedule.Scenario("lan", 40, 1)
    assert schedule.order(["meshfab", "ansible"], scenario, 0) == ["meshfab", "ansible"]


def test_a_series_has_more_and_more_services_on_one_host() -> None:
    assert schedule.scenarios(["services"], 40, 3) == [
        schedule.Scenario("services", 1, 3, services) for services in (1, 10, 100)
    ]
    scenario = schedule.Scenario("services", 1, 3, 100)
    rounds = [schedule.order(["meshfab", "operator", "tight", "script"], scenario, number) for number in range(3)]
    assert [sorted(keys) for keys in rounds] == [["meshfab", "operator"]] * 2 + [["meshfab", "operator", "tight"]]


def test_one_host_has_twice_as_many_rounds_and_can_be_the_only_scenario() -> None:
    assert schedule.scenarios(["lan", "40ms"], 40, 3) == [
        schedule.Scenario("lan", 1, 6),
        schedule.Scenario("lan", 40, 3),
        schedule.Scenario("40ms", 1, 6),
        schedule.Scenario("40ms", 40, 3),
    ]
    assert schedule.scenarios(["lan"], 1, 2) == [schedule.Scenario("lan", 1, 4)]


def test_one_slow_run_does_not_change_the_median() -> None:
    assert results.summarise([1.0, 9.0, 1.2]) == results.Summary(1.2, 1.0, 9.0, 3)


def test_a_ratio_is_the_median_divided_by_the_baseline() -> None:
    scenario = scenario_of(ssh={"true": [0.1, 0.2, 0.3]}, script={"first": [0.9, 1.1, 1.0]})
    assert scenario.ratio("script", "first") == pytest.approx(5.0)
    assert scenario.ratio("script", "check") is None
    assert scenario.ratio("pyinfra", "first") is None
    assert scenario_of(script={"first": [1.0]}).ratio("script", "first") is None


def test_the_runs_of_a_failed_contender_do_not_count() -> None:
    scenario = scenario_of(ssh={"true": [1.0]}, script={"first": [0.1]})
    scenario.failures["script"] = "after its first run: h1: there is no certificate"
    assert scenario.summary("script", "first") is None
    text = report.table(cell_of(scenario))
    assert "| the script | failed | | | after its first run: h1: there is no certificate |" in text
    assert "0.10" not in text


def test_results_are_the_same_after_writing_and_reading(tmp_path: Path) -> None:
    scenario = scenario_of("40ms", 40, ssh={"true": [2.5]})
    scenario.add("meshfab", "first", 1.23456)
    written = results_of(scenario, missing={"ansible": "no network"})
    written.write(tmp_path / "new" / "results.json")
    assert results.read(tmp_path / "new" / "results.json") == written
    assert scenario.samples["meshfab"] == {"first": [1.235]}


def test_a_table_has_ratios_ranges_and_the_number_of_runs() -> None:
    scenario = scenario_of(
        "40ms",
        40,
        ssh={"true": [2.0]},
        meshfab={"first": [4.0, 6.0, 5.0], "second": [1.0], "check": [1.0]},
        ansible={"first": [167.0]},
    )
    text = report.table(cell_of(scenario))
    assert text.startswith("### 40 hosts, 40 ms round trip\n")
    assert "| **meshfab** | **2.50** | **0.50** | **0.50** | 5.00 (4.00 to 6.00), 3; 1.00 (1.00 to 1.00), 1;" in text
    assert "| Ansible | 84 |  |  | 167.00 (167.00 to 167.00), 1 |" in text
    assert "| pyinfra |" not in text


def test_without_a_baseline_there_is_no_table() -> None:
    assert "there is nothing to compare with" in report.table(cell_of(scenario_of(meshfab={"first": [1.0]})))


def test_targets_are_met_missed_by_how_much_or_not_measured() -> None:
    one_host = scenario_of(ssh={"true": [1.0]}, meshfab={"first": [2.6], "second": [1.8]}, tight={"first": [4.0]})
    many_hosts = scenario_of(hosts=40, ssh={"true": [4.0]}, meshfab={"first": [8.0]}, script={"first": [40.0]})
    many_services = scenario_of(
        "services", services=100, ssh={"true": [0.3]}, meshfab={"first": [20.0]}, operator={"first": [4.4]}
    )
    text = report.targets(results_of(one_host, many_hosts, many_services).cells())
    assert "| One host, first run: meshfab / `ssh HOST true` | 2.6 | 2.60 | met |" in text
    assert "| One host, second run: meshfab / `ssh HOST true` | 1.5 | 1.80 | **missed** by 20 % |" in text
    assert "| One host, first run: meshfab / the script in one ssh | 0.8 | 0.65 | met |" in text
    assert "| One host, first run: meshfab, signing: operator / the script in one ssh | 0.8 | not measured |  |" in text
    assert "| 40 hosts, first run: meshfab / the script | 0.25 | 0.20 | met |" in text
    assert "| 40 hosts, check: meshfab / `ssh HOST true` | 0.7 | not measured |  |" in text
    assert (
        "| 100 services on one host, first run: meshfab, signing: operator / meshfab | 0.2 | 0.22 |"
        " **missed** by 10 % |" in text
    )
    assert report.targets([]) == ""


def test_a_target_compares_contenders_of_the_same_run_only() -> None:
    newer = scenario_of(ssh={"true": [1.0]}, operator={"first": [1.0]})
    older = scenario_of(ssh={"true": [1.0]}, tight={"first": [2.0]})
    target = report.Target(("lan", "one"), "operator", "first", 0.8, "tight")
    assert report.ratio_of(target, cell_of(newer, older)) is None
    newer.samples["tight"] = {"first": [2.0]}
    assert report.ratio_of(target, cell_of(newer, older)) == 0.5


def test_the_growth_has_a_column_for_each_number_of_services() -> None:
    cells = results_of(
        scenario_of("services", services=1, meshfab={"first": [0.7]}),
        scenario_of("services", services=100, meshfab={"first": [20.0], "more": [1.5]}),
    ).cells()
    text = report.growth(cells)
    assert "| median seconds | 1 service | 100 services |" in text
    assert "| meshfab: `apply`, first run | 0.70 | 20.00 |" in text
    assert "| meshfab: `provision` of one more |  | 1.50 |" in text
    assert report.growth([]) == ""


def test_the_other_looks_have_a_column_for_each_scenario() -> None:
    cells = results_of(
        scenario_of(ssh={"true": [0.5]}, meshfab={"quick": [0.5], "outside": [0.2], "reissue": [1.0]}),
        scenario_of(hosts=40, ssh={"true": [4.0]}, meshfab={"quick": [2.0]}),
    ).cells()
    text = looks_table.looks(cells, report.heading)
    assert "| meshfab | One host | 40 hosts |" in text
    assert "| `check-certs --quick` | 1.00 (0.50 s) | 0.50 (2.00 s) |" in text
    assert "| `reissue --all` | 2.00 (1.00 s) |  |" in text
    assert "| 40 hosts, `check-certs --quick`: meshfab / `ssh HOST true` | 0.6 | 0.50 | met |" in report.targets(cells)
    assert looks_table.looks([], report.heading) == ""


def test_a_partial_benchmark_replaces_only_what_it_measured() -> None:
    old = results_of(
        scenario_of(ssh={"true": [1.0]}, meshfab={"first": [3.0]}, ansible={"first": [20.0]}),
        scenario_of("40ms", ssh={"true": [2.0]}, meshfab={"first": [5.0]}),
        missing={"pyinfra": "no network"},
    )
    new = results_of(
        scenario_of(version="2.0", ssh={"true": [0.5]}, meshfab={"first": [1.0]}, operator={"first": [0.9]}),
        scenario_of("services", services=100, version="2.0", ssh={"true": [0.5]}, meshfab={"first": [20.0]}),
    )
    merged = results.merge(old, new)
    one_host, delayed, services = merged.cells()
    assert (one_host.ratio("meshfab", "first"), one_host.ratio("ansible", "first")) == (2.0, 20.0)
    assert [sorted(part.contenders) for part in one_host.parts] == [["meshfab", "operator"], ["ansible"]]
    assert (delayed.ratio("meshfab", "first"), services.newest.services) == (2.5, 100)
    assert merged.missing == old.missing
    text = report.tables(merged)
    assert "Rows meshfab; meshfab, signing: operator: Measured on 2026-11-23" in text
    assert text.count("meshfab 2.0.") == 2
    assert text.count("meshfab 1.0.") == 2
    # One line for all where they were measured together.
    assert report.tables(new).count("Measured on") == 1


def test_a_contender_that_cannot_be_installed_is_missing() -> None:
    assert "Ansible is missing: no network." in report.tables(results_of(missing={"ansible": "no network"}))


def test_only_the_text_between_the_marks_is_replaced() -> None:
    before = "# Page\n<!-- benchmark -->\nold \\1\n<!-- end of benchmark -->\nkept\n"
    after = report.filled(before, {"benchmark": "new \\1"})
    assert after == "# Page\n<!-- benchmark -->\n\nnew \\1\n<!-- end of benchmark -->\nkept\n"
    assert report.filled(after, {"benchmark": "new \\1"}) == after
    with pytest.raises(ValueError, match="the marks of 'profile' once, and has them 0 times"):
        report.filled(before, {"profile": ""})


def test_the_page_has_the_marks_of_each_part() -> None:
    text = PAGE.read_text()
    assert report.filled(report.filled(text, {"benchmark": "x"}), {"profile": "y"}) != text


def test_the_plot_has_colours_for_a_dark_theme() -> None:
    themed = plot.with_dark_theme('<?xml version="1.0"?>\n<svg width="9">\n<path style="fill: #ffffff"/></svg>')
    assert themed.startswith('<?xml version="1.0"?>\n<svg width="9"><style>@media (prefers-color-scheme: dark)')
    assert '[style*="fill: #ffffff"]{fill:#0d1117 !important}' in themed
    with pytest.raises(ValueError, match="no <svg>"):
        plot.with_dark_theme("<html>")


def test_a_profile_has_the_median_of_each_part_and_adds_up_small_ones() -> None:
    runs: list[profile.Parts] = [
        [(0.1, "import"), (0.001, "dust"), (0.02, "host"), (0.02, "host"), (0.0015, "more")],
        [(0.3, "import"), (0.001, "dust"), (0.02, "host"), (0.02, "host"), (0.0015, "more")],
        [(0.2, "import"), (0.001, "dust"), (0.02, "host"), (0.02, "host"), (0.0015, "more")],
    ]
    assert profile.medians(runs) == [(200.0, "import"), (40.0, "host"), (2.5, "parts below 2 ms")]


def test_every_profiled_function_exists() -> None:
    for owner, name, _ in (*profile._PROVISION_CALLS, *profile._CHECK_CERTS_CALLS):
        assert callable(getattr(pkgutil.resolve_name(owner), name)), f"{owner}.{name}"


class Clock:
    """A clock that stands still until the code under test moves it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Work:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def inner(self) -> None:
        self.clock.now += 2

    def outer(self) -> None:
        self.clock.now += 1
        self.inner()
        self.inner()


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    """Work whose methods are restored after the test."""
    monkeypatch.setattr(Work, "inner", Work.inner)
    monkeypatch.setattr(Work, "outer", Work.outer)
    return Work(Clock())


def test_cpu_time_of_a_nested_call_counts_for_the_inner_part_only(work: Work) -> None:
    cpu_times = CpuTimes(work.clock)
    cpu_times.measure(Work, "inner", "inner")
    cpu_times.measure(Work, "outer", "outer")
    work.outer()
    work.inner()
    assert cpu_times.seconds == {"inner": 6, "outer": 1}


def test_cpu_time_is_by_default_that_of_the_calling_thread(work: Work) -> None:
    cpu_times = CpuTimes()
    cpu_times.measure(Work, "outer", "outer")
    work.outer()
    assert list(cpu_times.seconds) == ["outer"]


def test_a_call_is_a_part_and_so_is_the_time_before_it(work: Work) -> None:
    timeline = Timeline(work.clock)
    timeline.measure(Work, "inner", lambda *_: "work")
    work.clock.now += 5
    work.inner()
    assert timeline.parts == [(5, BETWEEN_CALLS), (2, "work")]


def test_every_inventory_has_the_same_sites(tmp_path: Path) -> None:
    inventory = Inventory(tmp_path, sites(3))
    inventory.write()
    assert inventory.host_list.read_text().split() == ["h1", "h2", "h3"]
    assert inventory.site_list.read_text().split() == ["h1", "w1", "h2", "w2", "h3", "w3"]
    services = json.loads(inventory.invoke.read_text())["meshfab"]["services"]
    ansible = json.loads(inventory.ansible.read_text())["all"]["hosts"]
    pyinfra = dict(ast.literal_eval(inventory.pyinfra.read_text().partition("= ")[2]))
    assert {name: service["host"] for name, service in services.items()} == {"w1": "h1", "w2": "h2", "w3": "h3"}
    assert ansible == pyinfra
    assert ansible["h2"] == {"service": "w2", "nginx_user": "nginx"}


@pytest.mark.parametrize("count", [1, 40])
def test_every_contender_runs_in_parallel_on_all_hosts(tmp_path: Path, count: int) -> None:
    inventory = Inventory(tmp_path, sites(count))
    tools = {"ansible": "/a", "pyinfra": "/p", "apply": "yes"}
    commands = {
        contender.key: contender.commands(inventory, tools) for contender in (contenders.SSH, *contenders.CONTENDERS)
    }
    assert Counter(len(jobs) for jobs in commands.values()) == {6: 1, 3: 3, 2: 3, 1: 1}
    assert commands["ansible"]["first"].argv[3:5] == ["--forks", str(count)]
    assert commands["ssh"]["true"].argv[:2] == (["ssh", "h2"] if count == 1 else ["xargs", "-P16"])
    assert commands["meshfab"]["first"].argv[3] == ("provision" if count == 1 else "apply")


def test_on_a_host_with_many_services_one_more_is_provisioned(tmp_path: Path) -> None:
    inventory = inventory_of(schedule.Scenario("services", 1, 1, 3), tmp_path)
    inventory.write()
    assert [site.name for site in inventory.sites] == ["w2", "w2-2", "w2-3"]
    assert inventory.host_list.read_text() == "h2\n"
    assert sorted(json.loads(inventory.invoke.read_text())["meshfab"]["services"]) == ["w2", "w2-2", "w2-3"]
    assert [site.name for site in inventory.sites_of("more")] == ["w2-4"]
    assert inventory.sites_of("first") == inventory.sites
    jobs = {key: contender.commands(inventory, {"apply": "yes"}) for key, contender in _BY_KEY.items()}
    assert jobs["operator"]["first"].argv[3:] == ["apply", "--signing", "operator"]
    assert jobs["operator"]["more"].argv[3:] == ["provision", "--name", "w2-4", "--host", "h2", "--signing", "operator"]
    assert "check" in jobs["meshfab"]
    assert "check" not in jobs["operator"]
    assert jobs["tight"]["first"].argv[:2] == ["xargs", "-P1"]
    assert jobs["ssh"]["true"].argv == ["ssh", "h2", "true"]


def test_without_apply_meshfab_has_no_command_for_many_hosts(tmp_path: Path) -> None:
    meshfab = next(contender for contender in contenders.CONTENDERS if contender.key == "meshfab")
    assert meshfab.commands(Inventory(tmp_path, sites(40)), {}) == {}


def test_an_unknown_contender_is_refused_by_name() -> None:
    assert _parse_list(" b ,a", ["a", "b", "c"], "--only") == ["a", "b"]
    with pytest.raises(LabError, match=r"--only chef: known are a, b"):
        _parse_list("chef,a", ["a", "b"], "--only")
