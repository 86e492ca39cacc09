"""Makes what is derived in this folder: the PrometheusRule from `rules.yml`, the Grafana dashboard from `panels.py`.

`python -m k8s.monitoring.generate` in the root of the repository; a test holds the files to it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from k8s.monitoring.panels import ROWS, Panel

_FOLDER = Path(__file__).parent
_COLUMNS, _WIDTH, _HEIGHT = 3, 8, 8  # Grafana's grid is 24 units wide
_SOURCE = {"type": "prometheus", "uid": "${source}"}

_RULE = """\
# Made from rules.yml by generate.py; change that.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: sensorium
spec:
"""


def prometheus_rule(rules: str) -> str:
    """Returns the custom resource that holds a Prometheus rule file."""
    lines = (line for line in rules.splitlines() if not line.startswith("#"))
    return _RULE + "".join(f"  {line}\n" if line else "\n" for line in lines)


def dashboard() -> str:
    """Returns the dashboard as Grafana's JSON."""
    panels: list[dict[str, Any]] = []  # Any: JSON
    top = 0
    for title, row in ROWS.items():
        panels.append(_placed({"type": "row", "title": title, "collapsed": False}, len(panels), 0, top, 24, 1))
        for index, panel in enumerate(row):
            x, y = index % _COLUMNS * _WIDTH, top + 1 + index // _COLUMNS * _HEIGHT
            panels.append(_placed(_graph(panel), len(panels), x, y, _WIDTH, _HEIGHT))
        top += 1 + -(-len(row) // _COLUMNS) * _HEIGHT
    page = {
        "uid": "sensorium",
        "title": "Sensorium",
        "tags": ["sensorium"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_source(), _variable("namespace"), _variable("job")]},
        "panels": panels,
    }
    return json.dumps(page, indent=1, ensure_ascii=False) + "\n"


def _placed(panel: dict[str, Any], number: int, x: int, y: int, width: int, height: int) -> dict[str, Any]:
    return {"id": number + 1, "gridPos": {"x": x, "y": y, "w": width, "h": height}, **panel}


def _graph(panel: Panel) -> dict[str, Any]:
    return {
        "type": "timeseries",
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]}},
        "targets": [
            {"refId": chr(ord("A") + number), "datasource": _SOURCE, "expr": query, "legendFormat": legend}
            for number, (query, legend) in enumerate(panel.queries)
        ],
    }


def _source() -> dict[str, Any]:
    return {"name": "source", "label": "Source", "type": "datasource", "query": "prometheus"}


def _variable(label: str) -> dict[str, Any]:
    return {
        "name": label,
        "label": label.capitalize(),
        "type": "query",
        "datasource": _SOURCE,
        "query": f"label_values(sensorium_info, {label})",
        "refresh": 2,  # when the time range changes
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
    }


def made() -> dict[Path, str]:
    """Returns the text of every derived file by its path."""
    return {
        _FOLDER / "prometheusrule.yaml": prometheus_rule((_FOLDER / "rules.yml").read_text()),
        _FOLDER / "dashboard.json": dashboard(),
    }


def main() -> None:
    """Writes the derived files."""
    for path, text in made().items():
        path.write_text(text)


if __name__ == "__main__":
    main()
