"""The tab of a run on which its rows are found, read, and sent to people or to the next version."""

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST
from rest_framework.serializers import ValidationError

from distillhub.lib.errors import Conflict, DomainError, Invalid
from projects import permissions
from projects.ingest import words
from projects.ingest.formats import TOKENS_TASK, UNLABELLED
from projects.models import DatasetVersion, Role
from projects.operation_forms import refusal
from projects.permissions import person
from projects.services import pending
from projects.views import dataset_edits, dataset_rows
from training.models import Run
from training.services import judged_rows, predicted_rows, run_reviews, runs
from training.services.predicted_rows import Asked, PredictedRows

PAGE = 20
WHO = ("student", "teacher", "control")
FALLING = (("-", ", most first"), ("", ", least first"))
MOST_LABELS = 500  # beyond, a label is typed
MOST_WORDS = 20_000  # characters of a row of words with tags
WORDS = ("show", "label", "student", "teacher", "slice", "q", "order")
EDGES = ("size_from", "size_to")
#: What the numbers of a row are called, by what its task answers.
APART = {"numbers": "Apart", "vectors": "1 − cosine", "writing": "KL"}
APART_TOLD = {
    "numbers": "how far student and teacher lie apart",
    "vectors": "how far the student's vector turned from the teacher's",
    "writing": "KL(teacher ‖ student) a token, in nats",
}
GAP_TOLD = {
    "numbers": "how much further from what is true the student is than the teacher",
    "writing": "how many nats a token the student loses more than the teacher",
}


def tab(request: HttpRequest, run: Run) -> dict[str, Any]:
    """What the tab shows of what the address asks for."""
    given = asked_of(request.GET)
    try:
        found = predicted_rows.of(run, Asked(**given))
        refused = ""
    except Conflict:
        return {"answers": None}
    except DomainError as error:
        found, refused = predicted_rows.of(run), error.detail
    number = request.GET.get("page", "1")
    page = Paginator(range(0 if refused else len(found)), PAGE).get_page(number)
    first = (page.number - 1) * PAGE
    rows = [] if refused else found.stretch(first, first + PAGE)
    version, form = run.dataset_version, found.rows.form
    labels = found.rows.labels if form not in ("numbers", "writing", "vectors") else []
    address = _address(given)
    return {
        "answers": [_shown(run, row) for row in rows],
        "page": page,
        "refused": refused,
        "asked": given,
        "filtered": bool(given.keys() - {"order"}),
        "ways": _ways(found, given),
        "orders": [
            (f"{sign}{key}", f"{said}{way}")
            for key, said in found.orders.items()
            for sign, way in ((("", ""),) if key == "row_id" else FALLING)
        ],
        "order": found.order,
        "form": form,
        "selectable": labels if len(labels) <= MOST_LABELS else [],
        "slices": [one.name for one in run.slices.all()],
        "unit": found.rows.unit,
        "taught": found.rows.teacher is not None,
        "apart_name": APART.get(form, "KL"),
        "apart_told": APART_TOLD.get(form, "KL(teacher ‖ student), in nats"),
        "gap_told": GAP_TOLD.get(
            form, "the teacher's probability of what is true, less the student's"
        ),
        "with_chances": any(row["probabilities"] for row in rows),
        "with_apart": "divergence" in found.orders,
        "with_gap": "gap" in found.orders,
        "actions": actions(run, found),
        "among": address.urlencode(),
        "csv": reverse("api_run_predictions_csv", args=[run.project.slug, run.number])
        + f"?{_query(given).urlencode()}",
        "pending": pending.of(version=version, by=person(request)) if version is not None else (),
    }


def asked_of(given: QueryDict) -> dict[str, Any]:
    """What stands in an address; what is no number there is not asked for."""
    found: dict[str, Any] = {name: given.get(name, "").strip()[:300] for name in WORDS}
    for name in EDGES:
        try:
            found[name] = float(given.get(name, ""))
        except ValueError:
            continue
    return {name: one for name, one in found.items() if one != ""}


def actions(run: Run, found: PredictedRows) -> dict[str, str]:
    """What can be done with rows that are chosen."""
    offered = {"review": "Send to a review"}
    if found.rows.form in ("classes", "several"):
        offered["label"] = "Give the label"
        if found.rows.teacher is not None:
            offered["teacher"] = "Take the teacher's answer as label"
    return offered | {"tag": "Tag", "leave_out": "Leave out", "split": "Move to the split"}


@require_POST
def run_rows(request: HttpRequest, project_slug: str, number: int) -> HttpResponse:
    """Send rows that are chosen, or all that are found, to a review or to the next version."""
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    run = runs.find(project=project, number=number)
    given = asked_of(QueryDict(request.POST.get("among", "")[: dataset_rows.MOST_ADDRESS]))
    back = f"{reverse('training:run_detail', args=[project.slug, run.number])}?"
    back += _address(given).urlencode()
    try:
        found = predicted_rows.of(run, Asked(**given))
        what, value = request.POST.get("what", ""), request.POST.get("value", "").strip()
        if what not in actions(run, found):
            raise Invalid("Say what is to be done with these rows.")
        row_ids = found.row_ids()
        if "every" not in request.POST:
            named = [one for one in request.POST.getlist("row_id") if one.isascii()]
            chosen = {int(one) for one in named if one.isdecimal() and len(one) < 16}
            row_ids = [one for one in row_ids if one in chosen]
        if not row_ids:
            raise Invalid("Choose rows first, or all that match.")
        if what == "review":
            kind = "ratings" if run.task in UNLABELLED else "labels"
            made = run_reviews.create(
                run=run, how="named", row_ids=row_ids, name=value, kind=kind, by=person(request)
            )
            return redirect("projects:review_work", project.slug, made.pk)
        version = run.dataset_version
        assert version is not None  # it has rows
        changes = _changes(found, row_ids, what, value)
        pending.add(version=version, changes=changes, by=person(request))
    except (DomainError, ValidationError) as error:
        messages.error(request, refusal(error).detail)
    else:
        messages.success(request, "Kept. It becomes a version when you make one of your changes.")
    return redirect(back)


def _changes(
    found: PredictedRows, row_ids: list[int], what: str, value: str
) -> list[dict[str, Any]]:
    """In the shape of the operation `edit`. Raises Invalid."""
    if what != "teacher":
        return [dataset_edits.bulk_change(what, value) | {"row_ids": row_ids}]
    teacher = found.rows.teacher
    said = dict(zip(found.rows.ids.tolist(), teacher.said, strict=True))
    version = found.rows.run.dataset_version
    if found.rows.form == "several" and version is not None:
        mark = str(version.separator)
        said = {one: (text or "").replace("|", mark) for one, text in said.items()}
    changes: list[dict[str, Any]] = [
        {"row_id": one, "label": said[one]} for one in row_ids if said[one]
    ]
    if not changes:
        raise Invalid("The teacher answered nothing to these rows.")
    return changes


def _ways(found: PredictedRows, given: dict[str, Any]) -> list[dict[str, Any]]:
    """Links to what can be shown, each with how many rows of all it has."""
    counts = {"": len(found.rows), **found.counts()}
    rest = {name: value for name, value in given.items() if name != "show"}
    return [
        {
            "key": key,
            "words": found.shows.get(key, "All rows"),
            "count": count,
            "address": _address(rest | ({"show": key} if key else {})).urlencode(),
            "here": given.get("show", "") == key,
        }
        for key, count in counts.items()
    ]


def _query(given: dict[str, Any]) -> QueryDict:
    """As an address; that of the tab where `tab` is among it."""
    address = QueryDict(mutable=True)
    for name, value in given.items():
        address[name] = str(value)
    return address


def _address(given: dict[str, Any]) -> QueryDict:
    return _query({"tab": "rows", **given})


def _shown(run: Run, row: dict[str, Any]) -> dict[str, Any]:
    version = run.dataset_version
    features = row["features"] or {}
    return row | {
        "bars": judged_rows.drawn(row),
        "values": [(name, dataset_rows.written(value)) for name, value in features.items()],
        "players": [(who, row[who]) for who in WHO if row[who]],
        "tagged": _tagged(version, row) if run.task == TOKENS_TASK and version else None,
    }


def _tagged(version: DatasetVersion, row: dict[str, Any]) -> dict[str, Any]:
    """The row's words in the colours of what is true and of what each answered."""
    kinds, text = words.types(version.labels), (row["input"] or "")[:MOST_WORDS]
    said = {"label": row["label"]}
    said |= {who: row[who]["answer"] for who in WHO if row[who]}
    return {who: words.pieces(text, one, kinds) for who, one in said.items() if one}
