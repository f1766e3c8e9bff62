"""The loss lens of a run: its terms, its temperature, and what its curves say in words."""

from typing import Any

from projects.ingest.formats import TOKENS_TASK
from training import catalog
from training.charts import curves
from training.charts import lens as drawn
from training.models import Run
from training.services import lens


def tab(run: Run) -> dict[str, Any]:
    """Nothing of what is not measured yet is drawn."""
    series = lens.own_series(run)
    found = lens.of(run, series)
    terms = [one["kind"] for one in found["terms"]]
    charts = [
        {
            "name": f"term_{one['kind']}",
            "title": _label(one["kind"]),
            "note": one["unit"],
            "figure": drawn.term(series, one["kind"], unit=one["unit"], place=place),
        }
        for place, one in enumerate(found["terms"])
        if series.get(f"train/{one['kind']}", {}).get("steps")
    ]
    if len(terms) > 1 and any(f"train/{one}_share" in series for one in terms):
        charts.insert(
            0,
            {
                "name": "shares",
                "title": "What drives the student",
                "note": "share of the gradient, by term",
                "figure": curves.shares(series, terms=terms),
            },
        )
    moving = [one["kind"] for one in found["terms"] if one["weight_schedule"] != "constant"]
    if moving:
        charts.append(
            {
                "name": "weights",
                "title": "Weights over time",
                "note": "",
                "figure": curves.weights(series, terms=moving),
            }
        )
    marks = lens.stage_marks(run.config, series)
    for chart in charts if marks else []:
        chart["figure"] = curves.with_stages(chart["figure"], marks)
    return {
        "lens": found,
        "charts": charts,
        "rows": [one | {"label_words": _label(one["kind"])} for one in found["terms"]],
        "softened": _softened(run, found["temperature"]),
        "is_taught": any(one["temperature"] for one in found["terms"]),
    }


def _label(kind: str) -> str:
    return str((catalog.find("losses", kind) or {}).get("label") or curves.term_name(kind))


def _softened(run: Run, found: dict[str, Any] | None) -> dict[str, Any] | None:
    if found is None:
        return None
    tried = found["by_temperature"]
    temperatures = [one["temperature"] for one in tried]
    draw = drawn.several if found["several"] else drawn.softened
    return {
        **found,
        "figure": drawn.entropy(tried, found["own"], found["most"]),
        "tried": [
            one
            | {
                "is_own": one["temperature"] in found["own"],
                "of_most": one["entropy"] / found["most"],
            }
            for one in tried
        ],
        "rows": [
            {
                **one,
                "word": _word(run, one),
                "title": f"Row {one['row_id']}",
                "note": f"true: {one['label'] or 'not known'}",
                "alt": f"What the teacher says of row {one['row_id']} at each temperature",
                "figure": draw(one["logits"], found["labels"], temperatures, found["own"]),
            }
            for one in found["rows"]
        ],
    }


def _word(run: Run, row: dict[str, Any]) -> str:
    """The word that is meant, where words have labels."""
    said = (row["input"] or "").split(" ")
    place = row.get("unit")
    if run.task != TOKENS_TASK or place is None or place >= len(said):
        return ""
    return str(said[place])
