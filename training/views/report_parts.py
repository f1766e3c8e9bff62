"""The body of a report as what a page shows: Markdown, and lines such as

    {{ chart: run 12 accuracy }}     {{ chart: study 3 }}      {{ table: study 3 }}
    {{ verdict: run 12 }}            {{ cost: study 3 }}       {{ pareto: banking77@1:test x=cost }}
    {{ break-even: banking77@1 }}

resolved to what its project holds now. A line that cannot be resolved is a sentence in its place,
and never an error of the page.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from distillhub.lib import markdown
from distillhub.lib.errors import DomainError
from distillhub.templatetags import ui
from projects.models import Project
from training.charts import curves
from training.models import Run, Study
from training.services import break_even, metrics, runs, scores, studies, sweeps
from training.views import pareto as pareto_page
from training.views import run_charts, run_page
from training.views import studies as study_page
from training.views import sweeps as sweep_page

MOST_PARTS = 40  # live ones in a report
#: What reads all models of a dataset, of which a report shows a few: its link is public.
HEAVY, MOST_HEAVY = ("pareto", "break-even"), 4
LONGEST_WORDS = 300  # of a live line
NAME = re.compile(r"[A-Za-z-]+")
FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")
OF = re.compile(r"^(run|study)\s+#?([0-9]{1,9})(?:\s+(\S.*))?$")

Part = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Of:
    """What a line is about, with the rest of its words."""

    run: Run | None
    study: Study | None
    more: str


class Unknown(Exception):
    """A sentence that stands where the line stood."""


def parts(project: Project, body: str) -> list[Part]:
    """`{"kind": markdown|chart|table|conclusion|verdict|cost|fault, ...}` in their order."""
    made: list[Part] = []
    live = 0
    known: dict[tuple[str, str], list[Part]] = {}
    for name, text in _split(body):
        if name is None:
            made.append({"kind": "markdown", "html": markdown.render(text)})
            continue
        live += 1
        try:
            if live > MOST_PARTS:
                raise Unknown(f"A report shows at most {MOST_PARTS} live parts.")
            if (name, text) not in known:
                if name in HEAVY and sum(one in HEAVY for one, _ in known) >= MOST_HEAVY:
                    raise Unknown(f"A report shows at most {MOST_HEAVY} different trade-offs.")
                known[name, text] = _resolved(project, name, text)
            made += known[name, text]
        except (Unknown, DomainError) as fault:
            made.append({"kind": "fault", "text": f"{name}: {text}. {fault}"})
    return made


def _split(body: str) -> Iterator[tuple[str | None, str]]:
    """(None, Markdown) and (kind, words) of live lines; those in fenced code are code."""
    told: list[str] = []
    fence = ""
    for line in body.splitlines():
        mark = FENCE.match(line)
        if mark and not fence:
            fence = mark[1][0] * 3
        elif mark and line.strip().startswith(fence):
            fence = ""
        found = None if fence else _live(line)
        if found is None:
            told.append(line)
            continue
        if "".join(told).strip():
            yield None, "\n".join(told)
        told = []
        yield found
    if "".join(told).strip():
        yield None, "\n".join(told)


def _live(line: str) -> tuple[str, str] | None:
    """The kind and the words of a live line. No pattern: people's lines may be long, and each is
    read once."""
    text = line.strip()
    if line[:4].isspace() or not (text.startswith("{{") and text.endswith("}}")):
        return None
    name, colon, words = text[2:-2].partition(":")
    name, words = name.strip(), words.strip()
    if not colon or not NAME.fullmatch(name) or not 1 <= len(words) <= LONGEST_WORDS:
        return None
    return None if "{" in words or "}" in words else (name.lower(), words)


def _resolved(project: Project, name: str, words: str) -> list[Part]:
    if name not in KINDS:
        raise Unknown(f"There is no such part; there are {', '.join(KINDS)}.")
    return KINDS[name](project, words)


def _of(project: Project, words: str) -> Of:
    found = OF.match(words)
    if found is None:
        raise Unknown("It is about `run 12` or `study 3`.")
    number, more = int(found[2]), (found[3] or "").strip()
    if found[1] == "run":
        return Of(runs.find(project=project, number=number), None, more)
    return Of(None, studies.find(project=project, number=number), more)


def _chart(project: Project, words: str) -> list[Part]:
    of = _of(project, words)
    if of.study is not None:
        found = _charts_of_study(of.study)
        known = [one["name"] for one in found]
        chosen = [one for one in found if not of.more or one["name"] == of.more]
    else:
        assert of.run is not None
        found = [] if of.run.is_tracked else _curves_of(of.run)
        wanted = _bare(of.more) or "loss"
        chosen = _named(found, wanted) or _series(of.run, of.more)
        if not chosen:
            judged = _judged(of.run)
            found, chosen = [*found, *judged], _named(judged, wanted)
        known = [one["name"] for one in found]
    if not chosen:
        raise Unknown(f"There is no such chart; there are {', '.join(known) or 'none yet'}.")
    note = f"run {of.run.number}" if of.run is not None else f"study {words.split()[1]}"
    return [
        {"kind": "chart", "height": 280, **one, "note": one.get("note") or note} for one in chosen
    ]


def _charts_of_study(study: Study) -> list[Part]:
    if study.kind == sweeps.KEY:
        told = sweep_page.drawn_whole(study)
        titles = {"history": "Trials", "together": "Options together"}
        return [
            {
                "name": name,
                "title": titles.get(name, name.capitalize()),
                "figure": one,
                "height": 340,
            }
            for name, one in told.items()
            if isinstance(one, dict)
        ]
    compared = (study.report or {}).get("comparisons", [])
    return study_page.drawn(study, studies.arms(study), compared)


def _named(found: list[Part], name: str) -> list[Part]:
    return [one for one in found if name in (one["name"], one.get("metric"))][:1]


def _curves_of(run: Run) -> list[Part]:
    control = run.controls.first()
    made = run_charts.charts(run, control=control, teachers=list(run.teachers.all()))
    headline = {"accuracy": {"metric": scores.headline(run)}}
    return [one | headline.get(one["name"], {}) for one in made]


def _judged(run: Run) -> list[Part]:
    """What its test rows, or validation rows, said of it."""
    told = (None if run.is_tracked else run_charts.evaluation(run)) or {}
    tall = {"height": told.get("confusion_height", 440)}
    made: list[Part] = [one | tall for one in told.get("confusions", [])]
    made += [
        {"name": name, "title": title, "figure": figure, "note": note, "height": 320}
        for title, figure, note, name in told.get("reliability", [])
    ]
    for name, title in (("per_class", "F1 per class"), ("scatter", "Answered and true")):
        if told.get(name):
            height = told.get(f"{name}_height", 400)
            made.append({"name": name, "title": title, "figure": told[name], "height": height})
    if told.get("sized"):
        made.append({"name": "sizes", "title": "By size", "figure": told["sized"]["figure"]})
    return made


def _series(run: Run, name: str) -> list[Part]:
    """A measure by its own name, such as val/macro_f1."""
    if name not in run.metrics:
        return []
    series = metrics.read(run=run, names=[name], max_points=run_charts.CHART_POINTS)["series"]
    figure = curves.alike(series, names=[name], is_share=ui.is_share(name))
    return [{"name": name, "title": ui.measured(name).capitalize(), "figure": figure}]


def _bare(words: str) -> str:
    return words.removeprefix("val/") if words.startswith("val/") else words


def _table(project: Project, words: str) -> list[Part]:
    of = _of(project, words)
    if of.study is not None:
        return [{"kind": "table", "arms": studies.arms(of.study), "of": str(of.study)}]
    assert of.run is not None
    metric = scores.headline(of.run)
    control = of.run.controls.first()
    sides = [
        ("teacher", of.run.summary.get("teacher")),
        ("student", of.run.summary.get("student")),
        ("control", control.summary.get("student") if control is not None else None),
    ]
    rows: list[dict[str, Any]] = [
        {"role": role, "metric": metric} | dict(said) for role, said in sides if said
    ]
    if not rows:
        raise Unknown("It was not evaluated yet.")
    for row in rows:
        row["score"] = row.get(metric)
    split = of.run.summary.get("split", "test")
    return [{"kind": "table", "sides": rows, "of": str(of.run), "metric": metric, "split": split}]


def _verdict(project: Project, words: str) -> list[Part]:
    of = _of(project, words)
    found: dict[str, Any] | None
    if of.study is not None:
        found, over = of.study.verdict, of.study.is_over
    else:
        assert of.run is not None
        found, over = of.run.comparison, of.run.is_final
    if not found or not found.get("answer"):
        raise Unknown("There is no verdict." if over else "The verdict comes when all is over.")
    told: list[Part] = [{"kind": "verdict", "verdict": run_page.placed(found), "of": words}]
    if of.study is not None and (best := study_page.conclusion(of.study)) is not None:
        told.insert(0, {"kind": "conclusion", **best})
    return told


def _cost(project: Project, words: str) -> list[Part]:
    of = _of(project, words)
    if of.study is not None:
        members = list(of.study.runs.order_by("number"))
    else:
        assert of.run is not None
        members = [of.run, *of.run.controls.all()]
    over = [run for run in members if run.status == Run.Status.FINISHED]
    seconds = sum(scores.number(run.summary.get("seconds")) or 0.0 for run in over)
    energy = [
        used
        for run in over
        if (used := scores.number(run.summary.get("training_energy_wh"))) is not None
    ]
    sources = {str(run.summary.get("energy_source") or "") for run in over} - {""}
    sentence = (
        f"{len(over)} of {len(members)} run{'s' * (len(members) != 1)} finished; together they "
        f"took {ui.duration(seconds)}"
    )
    if energy:
        sentence += f" and {sum(energy):.3g} Wh ({'; '.join(sorted(sources))})"
    return [{"kind": "cost", "sentence": f"{sentence}."}]


def _address(words: str) -> dict[str, str]:
    """`banking77@1:test x=cost study=3` as the parameters of the page of trade-offs."""
    dataset, *rest = words.split()
    pairs = dict(one.partition("=")[::2] for one in rest)
    return {"dataset": dataset} | {name: value for name, value in pairs.items() if value}


def _pareto(project: Project, words: str) -> list[Part]:
    return _trade_off(project, words, 0)


def _break_even(project: Project, words: str) -> list[Part]:
    return _trade_off(project, words, 1)


def _trade_off(project: Project, words: str, place: int) -> list[Part]:
    found, paid = break_even.answer(project=project, address=_address(words))
    made = pareto_page.charts(found, paid)
    if len(made) <= place:
        raise Unknown("Nothing was measured that could be compared.")
    chart = {"kind": "chart", **made[place], "height": 320}
    said: list[Part] = []
    if place == 1 and paid is not None:
        price = ui.money(found.asked.price_per_hour)
        assumed = " (assumed)" if found.price_is_assumed else ""
        sentence = f"{paid.sentence} An hour of the machine is counted as {price}{assumed}."
        said = [{"kind": "cost", "sentence": sentence}]
    return [*said, chart]


KINDS: dict[str, Callable[[Project, str], list[Part]]] = {
    "chart": _chart,
    "table": _table,
    "verdict": _verdict,
    "cost": _cost,
    "pareto": _pareto,
    "break-even": _break_even,
}
