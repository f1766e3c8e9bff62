"""What a new report begins with: the question, what was trained, the charts, the verdict and the
cost of a study or a run, in words from facts and in lines that stay live."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from distillhub.lib.errors import Missing
from projects.models import Project
from training.models import Run, Study
from training.services import scores, sweeps
from training.services.study_kinds import KINDS


@dataclass(frozen=True, slots=True)
class Draft:
    title: str
    body: str


EMPTY = """## Question

What did you want to know?

## Answer

Write in Markdown. A line such as `{{ chart: run 1 loss }}` is drawn where it stands.
"""


def draft(*, project: Project, study: Study | None = None, run: int | None = None) -> Draft:
    """Raises Missing of a run that is not there."""
    if study is not None:
        return Draft(study.name, _of_study(study))
    if run is not None:
        found = project.runs.select_related("study").filter(number=run)
        one = found.first()
        if one is None:
            raise Missing(f"There is no run {run} in this project.")
        return Draft(one.name, _of_run(one))
    return Draft("", EMPTY)


def _of_study(study: Study) -> str:
    kind, at = KINDS.get(study.kind), f"study {study.number}"
    base: Mapping[str, Any] = study.asked.get("base", {})
    is_sweep = study.kind == sweeps.KEY  # whose trials are no seeds of one way
    parts = [
        "## Question",
        kind.question if kind is not None else study.name,
        *([_quoted(study.notes)] if study.notes.strip() else []),
        "## Set-up",
        _set_up(base, study.asked.get("seeds")),
        *(["## Verdict", f"{{{{ verdict: {at} }}}}"] if not is_sweep else []),
        "## Results",
        *([f"{{{{ table: {at} }}}}"] if not is_sweep else []),
        f"{{{{ chart: {at} }}}}",
        "## Cost",
        f"{{{{ cost: {at} }}}}",
    ]
    parts += _trade_off(base)
    return "\n\n".join(parts) + "\n"


def _of_run(run: Run) -> str:
    at = f"run {run.number}"
    taught = bool(run.config.get("teachers"))
    question = (
        "Does distilling from the teacher give a better student than the labels alone?"
        if taught
        else "How good does the student become from the labels alone?"
    )
    headline = scores.headline(run)
    parts = [
        "## Question",
        question,
        *([_quoted(run.notes)] if run.notes.strip() else []),
        "## Set-up",
        _set_up(run.config, [(run.config.get("training") or {}).get("seed", 0)]),
        *_verdict(run),
        "## Results",
        *([f"{{{{ table: {at} }}}}"] if run.summary.get("student") else []),
        f"{{{{ chart: {at} {headline} }}}}",
        f"{{{{ chart: {at} loss }}}}",
        "## Cost",
        f"{{{{ cost: {at} }}}}",
    ]
    parts += _trade_off(run.config) if taught and not run.is_tracked else []
    return "\n\n".join(parts) + "\n"


def _verdict(run: Run) -> list[str]:
    """Its own, where it has a control, else that of its study."""
    if (run.comparison or {}).get("answer"):
        return ["## Verdict", f"{{{{ verdict: run {run.number} }}}}"]
    if run.study is not None and run.study.verdict:
        return ["## Verdict", f"{{{{ verdict: study {run.study.number} }}}}"]
    return []


def _trade_off(base: Mapping[str, Any]) -> list[str]:
    dataset = base.get("dataset")
    if not dataset or not base.get("teachers"):
        return []
    return ["## Worth it?", f"{{{{ pareto: {dataset} }}}}", f"{{{{ break-even: {dataset} }}}}"]


def _set_up(base: Mapping[str, Any], seeds: Any) -> str:
    """What is trained, as a list; names of people are code, so that nothing in them is markup."""
    teachers = [
        one.get("model", "") if isinstance(one, Mapping) else str(one)
        for one in base.get("teachers", [])
    ]
    training: Mapping[str, Any] = base.get("training") or {}
    losses = [
        f"{loss.get('weight', 1):g} × {str(loss.get('kind')).replace('_', ' ')}"
        + (f" at temperature {loss['temperature']:g}" if loss.get("temperature") else "")
        for loss in base.get("losses", [])
        if isinstance(loss, Mapping)
    ]
    told = {
        "Dataset": _code(base.get("dataset")),
        "Student": _code(base.get("student")),
        "Teacher": ", ".join(map(_code, teachers)) or "none",
        "Loss": " + ".join(losses),
        "Training": _training(training),
        "Seeds": ", ".join(map(str, seeds)) if isinstance(seeds, list) else "",
    }
    return "\n".join(f"- **{name}**: {value}" for name, value in told.items() if value)


def _training(training: Mapping[str, Any]) -> str:
    parts = []
    if training.get("epochs"):
        parts.append(f"{training['epochs']:g} epochs")
    if training.get("batch_size"):
        parts.append(f"batches of {training['batch_size']}")
    if training.get("learning_rate"):
        parts.append(f"learning rate {training['learning_rate']:g}")
    return ", ".join(parts)


def _code(value: Any) -> str:
    text = str(value or "").replace("`", "")
    return f"`{text}`" if text else ""


def _quoted(notes: str) -> str:
    return "\n".join(f"> {line}" for line in notes.strip().splitlines())
