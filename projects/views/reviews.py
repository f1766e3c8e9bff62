"""Reviews: what there is, a new one, its results, and the page on which rows are looked at."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.http import FileResponse, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from rest_framework.exceptions import ValidationError

from distillhub.lib import forms as form_errors
from distillhub.lib.errors import DomainError, Invalid
from projects import permissions
from projects.ingest import words
from projects.ingest.formats import MULTI, REGRESSION, TOKENS_TASK, UNLABELLED
from projects.models import (
    DatasetVersion,
    EarlierReview,
    Project,
    Review,
    ReviewItem,
    ReviewQueue,
    Role,
    User,
)
from projects.models.review import MOST_REVIEWS
from projects.permissions import person
from projects.services import agreement, assignees, datasets, preferences, review_rows, reviews

get_or_post = require_http_methods(["GET", "HEAD", "POST"])

MOST_LISTED = 200
MOST_VERSIONS = 200
MOST_OWN = 50  # of one's own reviews that are listed
AHEAD = 3  # rows on the page: the one that is shown, and the next ones
MOST_SHOWN = 20_000  # characters of a text
SIDES = {"left": 0, "right": 1}
KINDS = {
    "labels": "Accept or correct labels",
    "ratings": "Rate rows from 1 to 5",
    "compare": "Choose the better of two answers",
}
RATINGS = {1: "Bad", 2: "Poor", 3: "Fair", 4: "Good", 5: "Very good"}


class AssigneesField(forms.MultipleChoiceField):
    """Members who may review, as boxes to tick."""

    def __init__(self, project: Project, you: User) -> None:
        members = sorted(
            (one.user for one in assignees.to_choose_from(project)),
            key=lambda one: (one.pk != you.pk, one.username),
        )
        super().__init__(
            label="Who is asked",
            required=False,
            widget=forms.CheckboxSelectMultiple({"class": "form-check-input"}),
            choices=[(one.username, _called(one, you)) for one in members],
            help_text="They hear of it. Where nobody is ticked, every editor and owner does.",
        )


class OnlyAssigneesField(forms.BooleanField):
    def __init__(self) -> None:
        super().__init__(label="Only these people review it", required=False)


def _called(one: User, you: User) -> str:
    name = one.display_name
    known = name if name == one.username else f"{name} ({one.username})"
    return f"{known}, you" if one.pk == you.pk else known


class ReviewForm(forms.Form):
    name = forms.CharField(max_length=100, required=False)
    kind = forms.ChoiceField(label="What is asked", choices=list(KINDS.items()))
    how = forms.ChoiceField(label="Which rows", choices=list(review_rows.HOW.items()))
    many = forms.IntegerField(
        label="At most", min_value=1, max_value=reviews.MOST_ROWS, initial=100, help_text="Rows."
    )
    issue = forms.ChoiceField(label="Only rows of an issue", required=False)
    label = forms.CharField(label="Only rows with the label", max_length=200, required=False)
    first = forms.ChoiceField(
        label="A column",
        required=False,
        help_text="Of disagreement and of two answers the first; of uncertain rows that of how "
        "sure the teacher is, if it is not found by itself.",
    )
    second = forms.ChoiceField(
        label="Another column", required=False, help_text="Of disagreement and of two answers."
    )
    reference = forms.CharField(
        label="Held against",
        max_length=140,
        required=False,
        help_text="Of drifted rows: another version, as in intents@1 or intents@1:train, or a "
        "split of this one. Nothing means train.",
    )
    reviews_per_row = forms.IntegerField(
        label="Reviews of each row",
        min_value=1,
        max_value=MOST_REVIEWS,
        initial=1,
        help_text="By different people. Two or more tell how far they agree.",
    )
    seed = forms.IntegerField(min_value=0, max_value=2**31, initial=0)
    blind = forms.BooleanField(label="Do not show the present label", required=False)

    def __init__(self, version: DatasetVersion, you: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.version = version
        self.fields["assignees"] = AssigneesField(version.dataset.project, you)
        self.fields["only_assignees"] = OnlyAssigneesField()
        columns = [
            (one["name"], one["name"])
            for one in version.columns
            if one["type"] in {"string", "category", "number", "integer"}
            and one["role"] not in {"id", "split", "source", "measure"}
        ]
        sets = [
            (name, f"{name}: probabilities of {len(found)} labels")
            for name, found in review_rows.sets(version).items()
        ]
        for name in ("first", "second"):
            self._choices(name, [("", "–"), *columns, *sets])
        issues = [(one["code"], one["code"].replace("_", " ")) for one in version.issues]
        self._choices("issue", [("", "Any row"), *issues])
        if version.dataset.task in UNLABELLED:
            self._choices("kind", [one for one in KINDS.items() if one[0] != "labels"])
            del self.fields["blind"], self.fields["label"]

    def _choices(self, name: str, choices: list[tuple[str, str]]) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        field.choices = choices

    def asked(self) -> dict[str, Any]:
        """What the service is told."""
        said = dict(self.cleaned_data)
        named = [name for name in (said.pop("first"), said.pop("second")) if name]
        wanted = {name: value for name in ("issue", "label") if (value := said.pop(name, ""))}
        own = "pair" if said["kind"] == ReviewQueue.Kind.COMPARE else "columns"
        return said | {own: named, "conditions": wanted}


@require_safe
def review_list(request: HttpRequest, project_slug: str) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug)
    you = person(request)
    asked = request.GET.get("assignee", "")[:150]
    found = reviews.counted(reviews.of_project(project))
    mine = assignees.of(reviews.of_project(project), "me", by=you)
    if asked:
        found = assignees.of(found, asked, by=you)
    ready = DatasetVersion.objects.ready().newest_of_each().filter(dataset__project=project)
    context = _frame(project, "Reviews") | {
        "reviews": [_line(queue) for queue in found[:MOST_LISTED]],
        "asked": asked,
        "tab": "me" if asked in ("me", you.username) else asked,
        "mine": mine.filter(closed_at=None).count(),
        "versions": ready.select_related("dataset").order_by("dataset__name")[:MOST_VERSIONS],
        "kinds": KINDS,
    }
    return render(request, "projects/review_list.html", context)


def _line(queue: ReviewQueue) -> dict[str, Any]:
    wanted = queue.rows * queue.reviews_per_row  # type: ignore[attr-defined]
    given = queue.given  # type: ignore[attr-defined]
    return {
        "queue": queue,
        "asked": KINDS[queue.kind],
        "wanted": wanted,
        "given": given,
        "fraction": given / wanted if wanted else 0.0,
    }


@get_or_post
def review_new(
    request: HttpRequest, project_slug: str, dataset_name: str, number: int
) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    version = datasets.version_of(project=project, name=dataset_name, number=number)
    datasets.require_ready(version)
    initial = {"issue": request.GET.get("issue", "")[:50]}
    if initial["issue"]:
        initial["how"] = "first"
    form = ReviewForm(version, person(request), request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            made = reviews.create(version=version, **form.asked(), by=person(request))
        except (DomainError, ValidationError) as error:
            _show(error, form)
        else:
            return redirect(begun(made, person(request)))
    context = _frame(project, "New review", inside=True) | {"form": form, "version": version}
    status = 400 if request.method == "POST" else 200
    return render(request, "projects/review_new.html", context, status=status)


def begun(queue: ReviewQueue, you: User) -> str:
    """Where its maker goes on: to its rows, or to its page where they are for others."""
    page = "review_work" if reviews.may_review(queue, you) else "review_detail"
    return reverse(f"projects:{page}", args=[queue.project.slug, queue.pk])


def _show(error: DomainError | ValidationError, form: ReviewForm) -> None:
    """At the fields of the form, which are called otherwise."""
    if isinstance(error, ValidationError):
        form.add_error(None, "Look at the conditions again.")
        return
    names = {"columns": "first", "pair": "first", "conditions": "issue"}
    fields = {names.get(name, name): said for name, said in error.fields.items()}
    form_errors.show(Invalid(error.detail, fields=fields), form)


@require_safe
def review_detail(request: HttpRequest, project_slug: str, queue_id: int) -> HttpResponse:
    """How far it is, and how far people agree."""
    project = permissions.project_for(request.user, project_slug)
    queue = reviews.get(project=project, queue_id=queue_id)
    told = agreement.of_queue(queue)
    people = sorted({one.person.username for one in reviews.given(queue)})
    may_edit = project.allows(Role.EDITOR) and queue.is_open
    offered = _offered(queue, person(request)) if may_edit else []
    context = _frame(project, queue.name, inside=True) | {
        "queue": queue,
        "asked": KINDS[queue.kind],
        "chosen": review_rows.EVERY[queue.choice["how"]],
        "own": _own(queue, person(request)),
        "offered": offered,
        "may_review": may_edit and reviews.may_review(queue, person(request)),
        "progress": reviews.progress(queue, person(request)),
        "agreement": told,
        "people": people,
        "notes": reviews.given(queue).exclude(note="")[:MOST_LISTED],
    }
    return render(request, "projects/review_detail.html", context)


def _offered(queue: ReviewQueue, you: User) -> list[dict[str, Any]]:
    """Whom an editor can ask, oneself first."""
    asked = {one.pk for one in queue.asked}
    members = [one.user for one in assignees.to_choose_from(queue.project)]
    members.sort(key=lambda one: (one.pk != you.pk, one.username))
    return [
        {"user": one, "called": _called(one, you), "is_asked": one.pk in asked} for one in members
    ]


@require_POST
def review_assign(request: HttpRequest, project_slug: str, queue_id: int) -> HttpResponse:
    """Ask the people whose boxes are ticked, and nobody else."""
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    queue = reviews.get(project=project, queue_id=queue_id)
    named = request.POST.getlist("assignees")
    only = request.POST.get("only_assignees") == "on"
    try:
        reviews.assign(queue=queue, assignees=named, only_assignees=only, by=person(request))
    except DomainError as error:
        messages.error(request, error.detail)
    else:
        names = ", ".join(one.display_name for one in queue.asked)
        told = f"Given to {names}." if names else "Given to nobody; every editor may review."
        messages.success(request, told)
    return redirect("projects:review_detail", project.slug, queue.pk)


@get_or_post
def review_work(request: HttpRequest, project_slug: str, queue_id: int) -> HttpResponse:
    """One row after the other. What is said is posted here; asked for by the page's own script,
    the answer is the rows that it does not have yet."""
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    queue = reviews.get(project=project, queue_id=queue_id)
    by_script = request.headers.get("HX-Target") == "review"
    if not queue.is_open:
        return redirect("projects:review_detail", project.slug, queue.pk)
    if not by_script and not reviews.may_review(queue, person(request)):
        messages.error(request, reviews.for_whom(queue))
        return redirect("projects:review_detail", project.slug, queue.pk)
    refused = ""
    if request.method == "POST":
        try:
            _decide(request, queue)
        except DomainError as error:
            if by_script:
                return HttpResponse(error.detail, status=error.status, content_type="text/plain")
            refused = error.detail
        else:
            if not by_script:
                return redirect("projects:review_work", project.slug, queue.pk)
    items = reviews.take(queue=queue, by=person(request), many=AHEAD)
    found = reviews.rows_of(queue, items)
    context = _frame(project, queue.name, inside=True) | {
        "queue": queue,
        "version": queue.version,
        "asked": KINDS[queue.kind],
        "entries": [_entry(queue, one, found[one.row_id]) for one in items],
        "progress": reviews.progress(queue, person(request)),
        "keyed": list(enumerate(queue.labels, 1)),
        "ratings": RATINGS,
        "shape": _shape(queue.version),
        "refused": refused,
    }
    template = "projects/_review_rows.html" if by_script else "projects/review_work.html"
    return render(request, template, context, status=400 if refused else 200)


def _decide(request: HttpRequest, queue: ReviewQueue) -> None:
    """Raises what `reviews.decide` and `reviews.undo` raise."""
    said = request.POST
    if said.get("verdict") == "undo":
        reviews.undo(queue=queue, by=person(request))
        return
    row_id = said.get("row_id", "")
    if not (row_id.isascii() and row_id.isdigit() and len(row_id) < 16):
        raise Invalid("Say which row is meant.")
    verdict, chosen = said.get("verdict", ""), ""
    if side := said.get("side"):
        verdict, chosen = "choose", _column(queue, int(row_id), side)
    rating = said.get("rating", "")
    if rating:
        verdict = "rate"
    label = said.get("label", "").strip()[: reviews.MOST_LABEL]
    if verdict == "label" or (label and not verdict):
        item = queue.items.filter(row_id=int(row_id)).first()
        verdict = "accept" if item and item.label == label else "correct"
    reviews.decide(
        queue=queue,
        row_id=int(row_id),
        by=person(request),
        verdict=verdict,
        label=label,
        rating=int(rating) if rating in {"1", "2", "3", "4", "5"} else None,
        chosen=chosen,
        note=said.get("note", "")[:1000],
        seconds=_seconds(said.get("seconds", "")),
    )


def _column(queue: ReviewQueue, row_id: int, side: str) -> str:
    """Which of the pair stood on a side of the page."""
    if side not in SIDES:
        return Review.Chosen.TIE if side == "tie" else side
    item = queue.items.filter(row_id=row_id).first()
    place = SIDES[side] ^ bool(item and item.is_swapped)
    return Review.Chosen.SECOND if place else Review.Chosen.FIRST


def _seconds(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        return 0.0
    return found if 0 <= found < reviews.MOST_SECONDS else 0.0


def _shape(version: DatasetVersion) -> str:
    """How a label of this version is said: chosen, several chosen, a number, tags of words."""
    if version.dataset.task == TOKENS_TASK:
        return "tags"
    if version.problem == REGRESSION:
        return "number"
    return "several" if version.problem == MULTI else "one"


def _entry(queue: ReviewQueue, item: ReviewItem, row: dict[str, Any]) -> dict[str, Any]:
    """A row as the page shows it."""
    version = queue.version
    text = str(row.get("text") or "")
    entry: dict[str, Any] = {
        "item": item,
        "label": None if queue.blind else item.label,
        "said": [] if queue.blind or not item.said else _said(item.said),
        "text": text[:MOST_SHOWN],
        "prompt": row.get("prompt"),
        "chat": preferences.chat(text),
        "input": version.input_column or "table",
        "cells": [(name, row.get(name)) for name in version.features],
    }
    if version.dataset.task == TOKENS_TASK:
        kinds = words.types(version.labels)
        entry["pieces"] = words.pieces(entry["text"], entry["label"], kinds)
    if queue.kind == ReviewQueue.Kind.COMPARE:
        first, second = (str(row.get(name) or "") for name in queue.pair)
        found = preferences.pair(row.get("prompt"), first, second)
        shown = [found["chosen"], found["rejected"]]
        entry["answers"] = shown[::-1] if item.is_swapped else shown
        is_chat = isinstance(found["prompt"], list)
        entry["chat"] = found["prompt"] if is_chat else None
        entry["prompt"] = None if is_chat else found["prompt"]
        entry["text"] = text[:MOST_SHOWN] if "text" not in queue.pair and not is_chat else ""
    return entry


def _said(answers: dict[str, Any]) -> list[tuple[str, str, float | None]]:
    """(who, what it answered, how surely): student and teacher of the run that the rows were chosen
    by, or two runs."""
    return [
        (who, answer, answers.get(f"{who}_confidence"))
        for who, answer in sorted(answers.items())
        if not who.endswith("_confidence") and answer is not None
    ]


def _own(queue: ReviewQueue, who: User) -> list[dict[str, Any]]:
    """The newest that a person said, with what was said before it."""
    found = reviews.given(queue).filter(person=who).prefetch_related("earlier")
    return [
        {
            "review": one,
            "told": _told(queue, one, one.item),
            "before": [_told(queue, before, one.item) for before in one.earlier.all()],
        }
        for one in found.order_by("-at", "-pk")[:MOST_OWN]
    ]


def _told(queue: ReviewQueue, said: Review | EarlierReview, item: ReviewItem) -> str:
    match said.verdict:
        case Review.Verdict.ACCEPT:
            return f"right: {item.label}"
        case Review.Verdict.CORRECT:
            return str(said.label)
        case Review.Verdict.RATE:
            return RATINGS.get(said.rating or 0, "")
        case Review.Verdict.CHOOSE:
            columns = {"a": queue.pair[0], "b": queue.pair[1], "tie": "as good as each other"}
            return str(columns[said.chosen])
        case _:
            return "skipped"


@get_or_post
def review_row(request: HttpRequest, project_slug: str, queue_id: int, row_id: int) -> HttpResponse:
    """A row that this person has reviewed, to say it otherwise."""
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    queue = reviews.get(project=project, queue_id=queue_id)
    there = reverse("projects:review_detail", args=[project.slug, queue.pk]) + "#own"
    if not queue.is_open:
        return redirect(there)
    review = reviews.own(queue=queue, row_id=row_id, by=person(request))
    refused = ""
    if request.method == "POST":
        try:
            _decide(request, queue)
        except DomainError as error:
            refused = error.detail
        else:
            messages.success(request, f"Row {row_id} is reviewed anew.")
            return redirect(there)
    item = review.item
    context = _frame(project, f"Row {row_id}", inside=True) | {
        "queue": queue,
        "version": queue.version,
        "entry": _entry(queue, item, reviews.rows_of(queue, [item])[row_id]),
        "item": item,
        "review": review,
        "told": _told(queue, review, item),
        "before": [_told(queue, one, item) for one in review.earlier.all()],
        "keyed": list(enumerate(queue.labels, 1)),
        "ratings": RATINGS,
        "shape": _shape(queue.version),
        "refused": refused,
        "is_first": True,
        "again": True,
    }
    status = 400 if refused else 200
    return render(request, "projects/review_row.html", context, status=status)


@require_POST
def review_close(request: HttpRequest, project_slug: str, queue_id: int) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    queue = reviews.get(project=project, queue_id=queue_id)
    winner = request.POST.get("winner", reviews.MAJORITY)[:150]
    try:
        made = reviews.close(queue=queue, by=person(request), winner=winner)
    except DomainError as error:
        messages.error(request, error.detail)
        return redirect("projects:review_detail", project.slug, queue.pk)
    if made is None:
        messages.success(request, "The review is closed. Nothing was corrected.")
        return redirect("projects:review_detail", project.slug, queue.pk)
    messages.success(request, f"The review is closed. {made.reference} is being made.")
    return redirect("projects:dataset_version", project.slug, made.dataset.name, made.number)


@require_POST
def review_delete(request: HttpRequest, project_slug: str, queue_id: int) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug, at_least=Role.OWNER)
    queue = reviews.get(project=project, queue_id=queue_id)
    reviews.delete(queue=queue)
    messages.success(request, f"The review “{queue.name}” is deleted.")
    return redirect("projects:review_list", project.slug)


@require_safe
def review_preferences(request: HttpRequest, project_slug: str, queue_id: int) -> FileResponse:
    project = permissions.project_for(request.user, project_slug)
    return preferences.of_queue(queue=reviews.get(project=project, queue_id=queue_id))


@require_safe
def dataset_preferences(
    request: HttpRequest, project_slug: str, dataset_name: str, number: int
) -> FileResponse:
    project = permissions.project_for(request.user, project_slug)
    version = datasets.version_of(project=project, name=dataset_name, number=number)
    return preferences.of_version(version=version)


def _frame(project: Project, title: str, *, inside: bool = False) -> dict[str, Any]:
    crumbs = [("Reviews", reverse("projects:review_list", args=[project.slug]))] if inside else []
    return {"project": project, "section": "reviews", "title": title, "crumbs": crumbs}
