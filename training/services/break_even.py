"""After how many calls a distillation has paid for itself: what it took, against what each call
saves. Both are priced alike: machine time, energy, and what services took for their answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db.models import Sum

from distillhub.lib.errors import Invalid
from distillhub.templatetags import ui
from projects.models import ModelVersion, Project
from training.models import Run, TeacherAnswer
from training.services import pareto, scores
from training.services.measured_points import STUDENT
from training.services.pareto import MILLION, Found, Placed

COUNTED = {
    "run": "the run alone",
    "control": "the run and its control",
    "study": "all runs of its study",
}
#: Of a latency: by so much two measurements of one network on one machine differ now and then.
REPEATS = 0.1
PARTS = ("asking", "training", "evaluating")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """One thing that the distillation took."""

    what: str
    run: int | None
    seconds: float | None
    energy_wh: float | None
    cost: float
    parts: dict[str, float]  # seconds of asking, training, evaluating; empty where not told apart


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakEven:
    student: Placed
    teacher: Placed
    counted: str
    spent: list[Spent]
    total: float
    teacher_call: float  # what a call costs
    student_call: float
    calls: int | None  # None: never
    sentence: str
    notes: list[str]

    @property
    def saves(self) -> float:
        """By call; negative where the student is dearer."""
        return self.teacher_call - self.student_call


def students(found: Found) -> list[Placed]:
    """Those it can be told of: taught by a teacher, and both with a cost."""
    return [
        one
        for one in found.placed
        if one.point.role == STUDENT and one.cost is not None and teachers(found, one)
    ]


def teachers(found: Found, student: Placed) -> list[Placed]:
    """The forms of a student's teacher whose cost is known: as it was trained, and as exports,
    without which distilling would look better than it is."""
    wanted = found.find(student.point.teacher) if student.point.teacher else None
    if wanted is None:
        return []
    return [
        one
        for one in found.placed
        if one.cost is not None and (one.point.key == wanted.point.key or _is_form(one, wanted))
    ]


def answer(*, project: Project, address: Mapping[str, str]) -> tuple[Found, BreakEven | None]:
    """What the parameters of an address ask for. Raises Invalid."""
    found = pareto.look(project=project, asked=pareto.read(address))
    counted = address.get("count") or "control"
    sides = {name: address.get(name, "") for name in ("student", "teacher")}
    return found, look(found=found, counted=counted, **sides)


def look(
    *, found: Found, student: str = "", teacher: str = "", counted: str = "control"
) -> BreakEven | None:
    """Of the student named by its point's key, or of the best one on the frontier, instead of the
    cheapest form of its teacher, unless another is named; None where no student and its teacher
    have both been measured. Raises Invalid. Two queries at most."""
    if counted not in COUNTED:
        sentence = f"It must be one of {', '.join(COUNTED)}."
        raise Invalid(f"count: {sentence}", fields={"count": [sentence]})
    possible = students(found)
    if student:
        chosen = next((one for one in possible if one.point.key == student), None)
        if chosen is None:
            sentence = (
                "There is no such student here that was measured, with a teacher that was, too."
            )
            raise Invalid(f"student: {sentence}", fields={"student": [sentence]})
    else:
        chosen = _best(found, possible)
    if chosen is None:
        return None
    forms = teachers(found, chosen)
    instead = next((one for one in forms if one.point.key == teacher), None)
    if teacher and instead is None:
        sentence = "It is no form of the student's teacher that was measured there."
        raise Invalid(f"teacher: {sentence}", fields={"teacher": [sentence]})
    instead = instead or min(forms, key=lambda one: one.cost or 0.0, default=None)
    run = next((one for one in found.runs if one.number == chosen.point.run), None)
    if instead is None or run is None or chosen.cost is None or instead.cost is None:
        return None
    spent, notes = _spent(found, run, counted)
    total = sum(one.cost for one in spent)
    if abs(chosen.cost - instead.cost) < REPEATS * max(chosen.cost, instead.cost):
        notes.append(
            "Both cost nearly the same: another measurement could turn them round, so read the "
            "number of calls with care."
        )
    by_call = (instead.cost / MILLION, chosen.cost / MILLION)
    saves = by_call[0] - by_call[1]
    calls = -int(-total // saves) if saves > 0 else None
    return BreakEven(
        student=chosen,
        teacher=instead,
        counted=counted,
        spent=spent,
        total=total,
        teacher_call=by_call[0],
        student_call=by_call[1],
        calls=calls,
        sentence=_sentence(chosen, instead, total, calls),
        notes=notes,
    )


def _is_form(one: Placed, of: Placed) -> bool:
    return bool(one.point.form and of.point.reference == one.point.reference)


def _best(found: Found, possible: Sequence[Placed]) -> Placed | None:
    """The best on the frontier, else the best of all; of equals the cheapest."""
    scored = [one for one in possible if one.y is not None]
    front = [one for one in scored if one.on_frontier] or scored
    sign = -1.0 if found.falls else 1.0
    return max(
        front,
        key=lambda one: (sign * (one.y or 0.0), -(one.cost or 0.0)),
        default=next(iter(possible), None),
    )


def _spent(found: Found, run: Run, counted: str) -> tuple[list[Spent], list[str]]:
    """What the distillation took, and what is not in it."""
    notes = ["The teacher's own training is not counted: it was there before."]
    members = [run]
    if counted == "control":
        members += [one for one in found.runs if one.control_of_id == run.pk]
    elif counted == "study":
        if run.study_id is None:
            notes.append("The run belongs to no study, so that it stands alone.")
        else:
            members = list(run.study.runs.order_by("number")) if run.study else [run]
    spent = [_of_run(found, one) for one in members]
    spent += _of_services(found, run)
    if found.asked.energy_price and any(one.energy_wh is None for one in spent if one.run):
        notes.append("Of some runs nobody knows the energy; it is missing in the sum.")
    return spent, notes


def _of_run(found: Found, run: Run) -> Spent:
    """Its whole job: the teacher's answers, training, evaluation."""
    seconds = scores.number(run.summary.get("seconds"))
    energy = scores.number(run.metrics.get("system/energy_wh"))
    if energy is None:
        energy = scores.number(run.summary.get("training_energy_wh"))
    asked = found.asked
    cost = (seconds or 0.0) / 3600.0 * (asked.price_per_hour or 0.0)
    cost += (energy or 0.0) / 1000.0 * asked.energy_price
    kind = "control" if run.control_of_id is not None else "run"
    what = f"{kind} {run.number}: {run.name}"
    told = run.summary.get("spent") or {}
    parts = {name: float(one["seconds"]) for name, one in told.items() if name in PARTS}
    return Spent(
        what=what, run=run.number, seconds=seconds, energy_wh=energy, cost=cost, parts=parts
    )


def _of_services(found: Found, run: Run) -> list[Spent]:
    """What services took for the answers that the dataset was annotated with."""
    dataset = found.dataset
    if dataset is None or (dataset.operation or {}).get("operation") != "annotate":
        return []
    teachers: list[ModelVersion] = list(run.teachers.all())
    if not any(one.is_recorded for one in teachers):
        return []
    told = TeacherAnswer.objects.filter(
        project=run.project_id, purpose=f"dataset version {dataset.pk}"
    ).aggregate(cost=Sum("cost"))
    cost = float(told["cost"] or Decimal(0))
    what = f"answers of a service for {dataset.reference}"
    bill = Spent(what=what, run=None, seconds=None, energy_wh=None, cost=cost, parts={})
    return [bill] if cost else []


def _sentence(student: Placed, teacher: Placed, total: float, calls: int | None) -> str:
    names = (teacher.point.name, student.point.name)
    costs = [ui.money(one.cost) for one in (teacher, student)]
    each = f"A million calls cost {costs[0]} with {names[0]} and {costs[1]} with {names[1]}"
    if calls is None:
        return f"{each}: the student is not cheaper, so distilling it never pays for itself here."
    if not total:
        return f"{each}, and distilling cost nothing at these prices."
    return (
        f"{each}. The {ui.money(total)} that distilling took are paid back after "
        f"{ui.grouped(calls)} call{'s' * (calls != 1)}."
    )


def as_dict(found: BreakEven) -> dict[str, Any]:
    """As REST tells it."""
    return {
        "student": found.student.point.key,
        "teacher": found.teacher.point.key,
        "counted": found.counted,
        "spent": [
            {
                "what": one.what,
                "run": one.run,
                "seconds": one.seconds,
                "energy_wh": one.energy_wh,
                "cost": one.cost,
                "parts": one.parts,
            }
            for one in found.spent
        ],
        "total": found.total,
        "teacher_cost_per_call": found.teacher_call,
        "student_cost_per_call": found.student_call,
        "calls": found.calls,
        "sentence": found.sentence,
        "notes": found.notes,
    }
