"""docs/monitoring: rules and a dashboard that name only metrics which there are, judged by promtool where it is."""

from __future__ import annotations

import json
import re
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from meshfab.cli import prometheus
from tests.support import prometheus_tools
from tests.unit.checks.test_report import fleet

FOLDER = Path(__file__).parents[3] / "docs" / "monitoring"
PROMTOOL = prometheus_tools.find()
# The parser that Invoke brings along, which has no types.
YAML: Any = import_module("invoke.util").yaml
# What check-certs writes, what ticks write, and what node_exporter says of the latter's files.
TICK = (Path(__file__).parents[3] / "unit-files" / "meshfab-tick").read_text()
KNOWN = {f"meshfab_{name}" for name in re.findall(r"^    metric (\w+) ", TICK, re.MULTILINE)}
KNOWN |= set(re.findall(r"^# TYPE (\S+) gauge$", prometheus.text(fleet()), re.MULTILINE))


def rules() -> list[dict[str, Any]]:
    groups = YAML.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_every_rule_is_whole_and_names_metrics_that_there_are() -> None:
    assert len({rule["alert"] for rule in rules()}) == len(rules()) == 10
    for rule in rules():
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "description"}
        named = set(re.findall(r"\bmeshfab_\w+", rule["expr"])) - {"meshfab_"}
        if "node_textfile_mtime_seconds" in rule["expr"]:
            continue
        assert named and named <= KNOWN


def test_the_dashboard_names_metrics_that_there_are() -> None:
    board = json.loads((FOLDER / "dashboard.json").read_text())
    text = json.dumps(board)
    assert set(re.findall(r"\bmeshfab_\w+", text)) - {"meshfab_"} <= KNOWN
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool: `./dev test` fetches it, or install Prometheus")
@pytest.mark.parametrize("words", [("check", "rules", "alerts.yml"), ("test", "rules", "alerts.test.yml")])
def test_promtool_agrees_with_the_rules(words: tuple[str, ...]) -> None:
    done = subprocess.run([str(PROMTOOL), *words], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool: `./dev test` fetches it, or install Prometheus")
def test_promtool_finds_nothing_to_say_about_the_metrics() -> None:
    words = [str(PROMTOOL), "check", "metrics"]
    done = subprocess.run(words, input=prometheus.text(fleet()), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
