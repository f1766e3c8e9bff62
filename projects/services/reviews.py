"""Queues of rows that people review: made, handed out row by row, decided, closed.

A row is handed to one person at a time, or to as many as the queue wants reviews of a row. Who has
it holds it for LEASE; what nobody decided by then is handed to somebody else. Some may be asked to
review a queue (assignees.py); others help, unless the queue is for those alone.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from random import Random
from typing import Any

from django.db import transaction
from django.db.models import Count, Prefetch, Q, QuerySet, Sum, prefetch_related_objects
from django.utils import timezone

from distillhub.lib.errors import Conflict, Forbidden, Missing
from distillhub.lib.later import np
from projects.ingest import page
from projects.ingest.formats import REGRESSION, TOKENS_TASK, UNLABELLED
from projects.models import (
    DatasetVersion,
    EarlierReview,
    Membership,
    Project,
    Review,
    ReviewItem,
    ReviewQueue,
    User,
)
from projects.operations import label_values
from projects.operations.operation import refuse
from projects.services import assignees as people
from projects.services import datasets, events, operations, review_rows, version_rows

LEASE = timedelta(minutes=10)
MOST_ROWS = 10_000
MOST_SECONDS = 3600.0  # beyond, somebody went away
MOST_LABEL = 10_000  # characters of a correction
MAJORITY = "majority"
ASKED = Prefetch("assignees", Membership.objects.select_related("user"))
Kind, Verdict = ReviewQueue.Kind, Review.Verdict
FITTING = {
    Kind.LABELS: {Verdict.ACCEPT, Verdict.CORRECT, Verdict.SKIP},
    Kind.RATINGS: {Verdict.RATE, Verdict.SKIP},
    Kind.COMPARE: {Verdict.CHOOSE, Verdict.SKIP},
}


class Closed(Conflict):
    """A queue that is closed takes no more reviews."""

    code = "review_closed"


class NotAssigned(Forbidden):
    """The queue is for those who are asked, and this person is not."""

    code = "not_assigned"


def of_project(project: Project) -> "QuerySet[ReviewQueue]":
    """The newest first."""
    found = ReviewQueue.objects.filter(project=project).prefetch_related(ASKED)
    return found.select_related("version__dataset", "created_by", "closed_by", "made__dataset")


def counted(queues: "QuerySet[ReviewQueue]") -> "QuerySet[ReviewQueue]":
    """With how many `rows` each has, and how many `given` reviews; the newest first."""
    decided = Q(items__reviews__isnull=False) & ~Q(items__reviews__verdict="")
    return queues.annotate(
        rows=Count("items", distinct=True), given=Count("items__reviews", filter=decided)
    ).order_by("-pk")  # where rows are counted, Django forgets the order of the model


def get(*, project: Project, queue_id: int) -> ReviewQueue:
    """Raises Missing."""
    found = of_project(project).select_related("version__dataset__project").filter(pk=queue_id)
    queue = found.first()
    if queue is None:
        raise Missing(f"There is no review {queue_id}.")
    return queue


def create(
    *,
    version: DatasetVersion,
    name: str,
    kind: str,
    how: str,
    by: User,
    many: int = 100,
    seed: int = 0,
    columns: Iterable[str] = (),
    conditions: Mapping[str, Any] | None = None,
    reference: str = "",
    pair: Iterable[str] = (),
    blind: bool = False,
    reviews_per_row: int = 1,
    assignees: Iterable[str] = (),
    only_assignees: bool = False,
) -> ReviewQueue:
    """A queue with its rows. Raises Invalid with `fields`, NotReady and Missing."""
    datasets.require_ready(version)
    wanted, named, answers = dict(conditions or {}), list(columns), list(pair)
    check_kind(version, kind, answers)
    asked = people.named(
        project=version.dataset.project, usernames=assignees
    )  # before rows are looked for
    _check_only(only_assignees, asked)
    told = {"how": how, "seed": seed, "many": many, "columns": named, "conditions": wanted}
    if how == review_rows.DRIFTED:
        if named:
            raise refuse("columns", "Drifted rows are told by their inputs, not by columns.")
        chosen, more = review_rows.choose_drifted(
            version, many=many, wanted=wanted, named=reference
        )
        told |= more
    elif reference.strip():
        raise refuse("reference", "Only drifted rows are held against a reference.")
    else:
        chosen = review_rows.choose(
            version, how=how, many=many, seed=seed, columns=named, wanted=wanted
        )
    return make(
        version=version,
        chosen=chosen,
        told=told,
        name=name,
        kind=kind,
        by=by,
        pair=answers,
        blind=blind,
        reviews_per_row=reviews_per_row,
        assignees=[one.user.username for one in asked],
        only_assignees=only_assignees,
    )


def make(
    *,
    version: DatasetVersion,
    chosen: Iterable[review_rows.Chosen],
    told: Mapping[str, Any],
    name: str,
    kind: str,
    by: User,
    pair: list[str] | None = None,
    blind: bool = False,
    reviews_per_row: int = 1,
    assignees: Iterable[str] = (),
    only_assignees: bool = False,
) -> ReviewQueue:
    """A queue of rows that are chosen; `told` says how: at least `how` and `seed`. `assignees` are
    the usernames of who is asked to review it. Raises Invalid."""
    with transaction.atomic():
        asked = _members(version.dataset.project, assignees)
        _check_only(only_assignees, asked)
        queue = ReviewQueue.objects.create(
            project=version.dataset.project,
            version=version,
            name=name.strip() or version.reference,
            kind=kind,
            choice=dict(told),
            pair=pair or [],
            blind=blind,
            reviews_per_row=reviews_per_row,
            only_assignees=only_assignees,
            created_by=by,
        )
        place(queue, chosen)
        queue.assignees.set(asked)
        prefetch_related_objects([queue], ASKED)
        _tell(queue, "opened", f"{by.display_name} opened {queue}: {_rows(queue)}.", by)
        _tell_assigned(queue, asked, by)
    return queue


def assign(
    *,
    queue: ReviewQueue,
    by: User,
    assignees: Iterable[str] | None = None,
    only_assignees: bool | None = None,
) -> None:
    """Ask these people to review it, by their usernames, and nobody else; who is asked only now
    hears of it. With `only_assignees` others do not review it; their rows go to those at once.
    What is None stays; where nobody is asked any more, everybody may review again.

    Raises Closed, Missing, and Invalid with `fields`.
    """
    with transaction.atomic():
        asked = None if assignees is None else _members(queue.project, assignees)
        locked = _open(queue)
        before = set(locked.assignees.values_list("pk", flat=True))
        if asked is None:
            asked = list(locked.assignees.select_related("user"))
        only = only_assignees
        if only is None:
            only = locked.only_assignees and bool(asked)
        _check_only(only, asked)
        queue.only_assignees = only
        queue.save(update_fields=["only_assignees"])
        queue.assignees.set(asked)
        prefetch_related_objects([queue], ASKED)
        if only:
            held = Review.objects.filter(item__queue=queue)
            people.let_go(held.exclude(person__in=[one.user_id for one in asked]))
        _tell_assigned(queue, [one for one in asked if one.pk not in before], by)


def may_review(queue: ReviewQueue, by: User) -> bool:
    """Whether rows of an open queue are handed to this editor: to all, or to those asked."""
    if not queue.only_assignees:
        return True
    asked = {one.user_id for one in queue.assignees.all()}
    return not asked or by.pk in asked


def for_whom(queue: ReviewQueue) -> str:
    """In a sentence, of a queue that is for those alone who are asked."""
    return f"This review is for {_listed([one.display_name for one in queue.asked])} alone."


def _members(project: Project, usernames: Iterable[str]) -> list[Membership]:
    """Those who are asked, whom nobody removes or makes a viewer meanwhile. Raises Invalid."""
    wanted = list(usernames)
    if not wanted:
        return []
    Project.objects.select_for_update().get(pk=project.pk)  # as who changes members does
    return people.named(project=project, usernames=wanted)


def _check_only(only: bool, asked: Collection[Membership]) -> None:
    if only and not asked:
        raise refuse("only_assignees", "Name who reviews, or let everybody help.")


def _tell_assigned(queue: ReviewQueue, fresh: list[Membership], by: User) -> None:
    if not fresh:
        return
    names = sorted(one.user.display_name for one in fresh)
    said = f"{by.display_name} asks {_listed(names)} to review {queue}: {_rows(queue)}."
    _tell(queue, "assigned", said, by, assigned=sorted(one.user.username for one in fresh))


def _rows(queue: ReviewQueue) -> str:
    """How many, of which version; a queue of live rows gets its own later."""
    many = queue.items.count()
    of = f"of {queue.version.reference}"
    return f"{many:,} row{'' if many == 1 else 's'} {of}" if many else f"rows {of}"


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def place(queue: ReviewQueue, chosen: Iterable[review_rows.Chosen]) -> None:
    """Rows into a queue that has none yet."""
    drawn = Random(queue.choice["seed"])  # noqa: S311 - it places answers
    ReviewItem.objects.bulk_create(
        [
            ReviewItem(
                queue=queue,
                order=order,
                row_id=one.row_id,
                priority=one.priority,
                label=one.label,
                said=one.said,
                is_swapped=queue.kind == Kind.COMPARE and drawn.random() < 0.5,
            )
            for order, one in enumerate(chosen)
        ],
        batch_size=500,
    )


def check_kind(version: DatasetVersion, kind: str, pair: list[str]) -> None:
    """Raises Invalid."""
    if kind == Kind.LABELS and version.dataset.task in UNLABELLED:
        raise refuse("kind", "Rows of this dataset have no label; rate or compare their texts.")
    if kind != Kind.COMPARE:
        if pair:
            raise refuse("pair", "Only answers that are compared are named.")
        return
    words = [one["name"] for one in version.columns if one["type"] == "string"]
    if len(pair) != 2 or pair[0] == pair[1] or not set(pair) <= set(words):
        has = ", ".join(words)
        raise refuse("pair", f"Name the two columns of texts to compare; there are {has}.")


def take(*, queue: ReviewQueue, by: User, many: int = 1) -> list[ReviewItem]:
    """The next rows for this person, held for LEASE: those that others hold, or have said
    enough of, are left out.

    Raises Closed and NotAssigned.
    """
    with transaction.atomic():
        _require_asked(_open(queue), by)
        now = timezone.now()
        decided = Review.objects.filter(person=by).exclude(verdict="")
        theirs = Q(reviews__isnull=False) & ~Q(reviews__person=by)
        held = ~Q(reviews__verdict="") | Q(reviews__taken_until__gt=now)
        items: list[ReviewItem] = list(
            queue.items.annotate(busy=Count("reviews", filter=theirs & held))
            .filter(busy__lt=queue.reviews_per_row)
            .exclude(pk__in=decided.values("item"))
            .order_by("order")[:many]
        )
        for item in items:
            Review.objects.update_or_create(
                item=item, person=by, defaults={"taken_until": now + LEASE}
            )
    return items


def rows_of(queue: ReviewQueue, items: Iterable[ReviewItem]) -> dict[int, dict[str, Any]]:
    """{row_id: the row}, without pictures and sounds; of a blind queue without its label.

    Raises NotReady and Missing.
    """
    ids = np.array([one.row_id for one in items], dtype=np.int64)
    with datasets.open_file(version=queue.version) as stream:
        found = page.these(stream, ids, without=("image", "audio"))
    if queue.blind:
        hidden = [queue.version.column_of("label"), *queue.version.soft_labels.values()]
        for row in found:
            row |= {name: None for name in hidden if name in row}
    return {int(row["row_id"]): row for row in found}


def decide(
    *,
    queue: ReviewQueue,
    row_id: int,
    by: User,
    verdict: str,
    label: str | None = None,
    rating: int | None = None,
    chosen: str = "",
    note: str = "",
    seconds: float = 0.0,
) -> Review:
    """What a person says of a row; said again, it is changed. `chosen` names the columns of the
    pair in their order (a, b), wherever they stood on the page.

    Raises Closed, NotAssigned, Missing, Invalid with `fields`, and Conflict for a row that has the
    reviews it needs from others.
    """
    if verdict not in FITTING[Kind(queue.kind)]:
        fit = ", ".join(sorted(FITTING[Kind(queue.kind)]))
        raise refuse("verdict", f"A review of {queue.kind} knows {fit}.")
    said: dict[str, Any] = {"label": None, "rating": None, "chosen": ""}
    if verdict == Verdict.CORRECT:
        said["label"] = _corrected(queue.version, row_id, label or "")
    if verdict == Verdict.RATE:
        if rating is None or not 1 <= rating <= 5:
            raise refuse("rating", "Rate from 1 to 5.")
        said["rating"] = rating
    if verdict == Verdict.CHOOSE:
        if chosen not in Review.Chosen:
            raise refuse("chosen", "Choose a, b or tie.")
        said["chosen"] = chosen
    with transaction.atomic():
        _require_asked(_open(queue), by)
        item = queue.items.filter(row_id=row_id).first()
        if item is None:
            raise Missing(f"Row {row_id} is not in this review.")
        now = timezone.now()
        others = item.reviews.exclude(person=by)
        if others.exclude(verdict="").count() >= queue.reviews_per_row:
            raise Conflict(f"Row {row_id} was reviewed by others meanwhile.")
        review = item.reviews.filter(person=by).first() or Review(item=item, person=by)
        said |= {"verdict": verdict, "note": note.strip()}
        if any(getattr(review, name) != value for name, value in said.items()):
            _remember(review)
        said |= {"seconds": min(max(seconds, 0.0), MOST_SECONDS), "at": now, "taken_until": now}
        for name, value in said.items():
            setattr(review, name, value)
        review.save()
    return review


def _remember(review: Review) -> None:
    """Keep what is about to be said otherwise; nothing, where nothing was said yet."""
    if review.verdict:
        EarlierReview.objects.create(
            review=review,
            verdict=review.verdict,
            label=review.label,
            rating=review.rating,
            chosen=review.chosen,
            note=review.note,
            at=review.at,
        )


def own(*, queue: ReviewQueue, row_id: int, by: User) -> Review:
    """What this person said of a row, to be said otherwise. Raises Missing."""
    found = given(queue).filter(item__row_id=row_id, person=by).first()
    if found is None:
        raise Missing(f"You said nothing of row {row_id}.")
    return found


def _corrected(version: DatasetVersion, row_id: int, text: str) -> str:
    """The label as it is stored. Raises Invalid and Missing."""
    try:
        label = label_values.stored(version, text)
    except label_values.NoLabel as error:
        raise refuse("label", f"{error} this dataset.") from None
    if label is None:
        raise refuse("label", "Say which label is right.")
    known = set(version.labels)
    if version.problem == REGRESSION:
        return label
    if version.dataset.task == TOKENS_TASK:
        single = label.split()
        label = " ".join(single)
        many = len(str(version_rows.row(version=version, row_id=row_id)["text"]).split())
        if len(single) != many:
            raise refuse("label", f"The row has {many} words, and these are {len(single)} tags.")
    else:
        single = label.split(version.separator) if version.separator else [label]
    for one in single:
        if known and one not in known:
            raise refuse("label", f"There is no label {one[:50]!r} in this dataset.")
    return label


def undo(*, queue: ReviewQueue, by: User) -> ReviewItem:
    """Take back this person's newest review: the row is theirs again. Raises Closed, NotAssigned
    and Missing."""
    with transaction.atomic():
        _require_asked(_open(queue), by)
        newest = (
            Review.objects.filter(item__queue=queue, person=by)
            .exclude(verdict="")
            .select_related("item")
            .order_by("-at", "-pk")
            .first()
        )
        if newest is None:
            raise Missing("There is no review of yours to take back.")
        _remember(newest)
        newest.verdict, newest.label, newest.rating, newest.chosen = "", None, None, ""
        newest.taken_until = timezone.now() + LEASE
        newest.save()
    return newest.item


def progress(queue: ReviewQueue, by: User | None = None) -> dict[str, Any]:
    """How far it is: `rows`, `wanted` and `given` reviews, whose `mine` are, `seconds` a row."""
    decided = Review.objects.filter(item__queue=queue).exclude(verdict="")
    mine = Q(person=by) if by is not None else Q(pk=None)
    counts = decided.aggregate(
        given=Count("pk"), mine=Count("pk", filter=mine), spent=Sum("seconds")
    )
    rows = queue.items.count()
    given = counts["given"]
    return {
        "rows": rows,
        "wanted": rows * queue.reviews_per_row,
        "given": given,
        "mine": counts["mine"],
        "seconds_per_review": (counts["spent"] or 0.0) / given if given else None,
    }


def given(queue: ReviewQueue) -> "QuerySet[Review]":
    """What was said so far."""
    found = Review.objects.filter(item__queue=queue).exclude(verdict="")
    return found.select_related("item", "person").order_by("pk")


def said_label(review: Review) -> str | None:
    """The label that a review stands for; None of one that was skipped."""
    if review.verdict == Verdict.CORRECT:
        return review.label
    return review.item.label if review.verdict == Verdict.ACCEPT else None


def close(*, queue: ReviewQueue, by: User, winner: str = MAJORITY) -> DatasetVersion | None:
    """No more reviews; what was corrected becomes one new version, if there is something.

    `winner` is `majority`, or the username whose word counts. With as many for one label as for
    another the row stays as it is. Raises Closed, Invalid, and what `operations.change` raises.
    """
    reviews = list(given(queue))
    if winner != MAJORITY:
        reviews = [one for one in reviews if one.person.username == winner]
        if not reviews:
            raise refuse("winner", f"{winner} reviewed nothing here.")
    with transaction.atomic():
        _open(queue)
        changes = _changes(reviews) if queue.kind == Kind.LABELS else []
        if changes:
            corrected = {one["row_id"] for one in changes}
            people = {one.person_id for one in reviews if one.item.row_id in corrected}
            queue.made = operations.change(
                version=queue.version,
                operation="edit",
                options={"changes": changes},
                by=by,
                told=f"{_many(changes, 'row')} corrected by {_many(people, 'reviewer')}",
            )
        queue.closed_at, queue.closed_by = timezone.now(), by
        queue.save(update_fields=["closed_at", "closed_by", "made"])
        made = f"; what was corrected is {queue.made.reference}" if queue.made is not None else ""
        _tell(queue, "closed", f"{by.display_name} closed {queue}{made}.", by)
    return queue.made


def _tell(queue: ReviewQueue, what: str, sentence: str, by: User, **further: Any) -> None:
    events.tell(
        project=queue.project,
        kind=f"review.{what}",
        subject_kind="review",
        subject=str(queue.pk),
        title=queue.name,
        sentence=sentence,
        by=by,
        data={
            "id": queue.pk,
            "name": queue.name,
            "kind": str(queue.kind),
            "dataset": queue.version.reference,
            "rows": queue.items.count(),
            "made": queue.made.reference if queue.made is not None else None,
            "assignees": [one.username for one in queue.asked],
            "by": queue.created_by.username,
            **further,
        },
    )


def _many(things: Collection[Any], word: str) -> str:
    return f"{len(things)} {word}" + ("" if len(things) == 1 else "s")


def _changes(reviews: list[Review]) -> list[dict[str, Any]]:
    """What the operation `edit` is told."""
    votes: dict[int, Counter[str]] = {}
    items: dict[int, ReviewItem] = {}
    for one in reviews:
        label = said_label(one)
        if label is not None:
            votes.setdefault(one.item.row_id, Counter())[label] += 1
            items[one.item.row_id] = one.item
    changes = []
    for row_id, counts in sorted(votes.items()):
        (label, most), *others = counts.most_common(2)
        if others and others[0][1] == most:
            continue
        if label != items[row_id].label:
            changes.append({"row_id": row_id, "label": label})
    return changes


def delete(*, queue: ReviewQueue) -> None:
    """With all that was said in it; versions that came of it stay."""
    queue.delete()


def _require_asked(queue: ReviewQueue, by: User) -> None:
    """Raises NotAssigned."""
    if not may_review(queue, by):
        raise NotAssigned(for_whom(queue))


def _open(queue: ReviewQueue) -> ReviewQueue:
    """As it is now. Raises Closed and Missing; holds the queue until the transaction ends."""
    locked = ReviewQueue.objects.select_for_update().filter(pk=queue.pk).first()
    if locked is None:
        raise Missing("This review was deleted meanwhile.")
    if not locked.is_open:
        raise Closed("This review is closed.")
    return locked
