"""Reviews: rows that people look at one by one."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import FileResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse
from rest_framework.views import APIView

from distillhub.lib.rest import Cursor, checked_query
from projects.api.base import ProjectMixin, idempotent, person
from projects.api.datasets import OfVersion
from projects.models import EarlierReview, Review, ReviewItem, ReviewQueue, Role
from projects.models.review import MOST_REVIEWS
from projects.operations.conditions import Conditions
from projects.services import agreement, assignees, datasets, preferences, review_rows, reviews

MOST_TAKEN = 20


class AssigneesSerializer(serializers.Serializer[Any]):
    """Who is asked to review."""

    assignees = serializers.ListField(
        child=serializers.CharField(max_length=150),
        max_length=assignees.MOST,
        default=list,
        help_text="Usernames of editors and owners who are asked to review; they hear of it.",
    )
    only_assignees = serializers.BooleanField(
        default=False, help_text="Rows are handed to those alone; else others may help."
    )


class ReviewSerializer(serializers.ModelSerializer[ReviewQueue]):
    dataset = serializers.CharField(source="version.reference", read_only=True)
    rows = serializers.IntegerField(read_only=True, help_text="How many were chosen.")
    given = serializers.IntegerField(read_only=True, help_text="Reviews so far.")
    assignees = serializers.SerializerMethodField(help_text="Usernames of who is asked to review.")
    created_by = serializers.CharField(source="created_by.username", read_only=True)
    closed_by = serializers.CharField(
        source="closed_by.username", read_only=True, allow_null=True, default=None
    )
    made = serializers.CharField(
        source="made.reference",
        read_only=True,
        allow_null=True,
        default=None,
        help_text="The version that its corrections became.",
    )

    class Meta:
        model = ReviewQueue
        fields: ClassVar = [
            *("id", "name", "dataset", "kind", "choice", "pair", "blind", "reviews_per_row"),
            *("assignees", "only_assignees", "rows", "given", "created_by", "created_at"),
            *("closed_by", "closed_at", "made"),
        ]
        read_only_fields: ClassVar = fields

    def get_assignees(self, queue: ReviewQueue) -> list[str]:
        return [one.username for one in queue.asked]


class AskedSerializer(serializers.Serializer[Any]):
    """What is left out stays as it is."""

    assignees = serializers.ListField(
        child=serializers.CharField(max_length=150),
        max_length=assignees.MOST,
        required=False,
        help_text="Usernames of everybody who is asked to review; who is asked only now hears "
        "of it.",
    )
    only_assignees = serializers.BooleanField(
        required=False, help_text="Rows are handed to those alone; else others may help."
    )


class ReviewsQuery(serializers.Serializer[Any]):
    assignee = serializers.CharField(
        max_length=150, required=False, help_text="Who is asked to review: a username, or `me`."
    )


class NewReviewSerializer(AssigneesSerializer):
    dataset = serializers.CharField(max_length=130, help_text="`name@3`, or `name`: the newest.")
    name = serializers.CharField(max_length=100, allow_blank=True, default="")
    kind = serializers.ChoiceField(
        choices=ReviewQueue.Kind.choices,
        default=ReviewQueue.Kind.LABELS,
        help_text="Labels accepted or corrected, rows rated 1 to 5, or two answers compared.",
    )
    how = serializers.ChoiceField(
        choices=list(review_rows.HOW.items()), default="random", help_text="Which rows."
    )
    many = serializers.IntegerField(  # type: ignore[assignment]
        min_value=1, max_value=reviews.MOST_ROWS, default=100
    )
    seed = serializers.IntegerField(min_value=0, max_value=2**31, default=0)
    columns = serializers.ListField(
        child=serializers.CharField(max_length=200),
        max_length=500,
        default=list,
        help_text="Of `disagreement` the two columns, or two sets of probabilities (`big_*`, "
        "`other_*`); of `uncertain` those of the teacher's probabilities, if they are not found "
        "by themselves.",
    )
    conditions = Conditions(required=False, help_text="Only rows that these hold for.")
    reference = serializers.CharField(
        max_length=140,
        allow_blank=True,
        default="",
        help_text="Of `drifted` the rows they are held against: `name@3`, `name@3:train`, or a "
        "split of this version; `train` when nothing is said.",
    )
    pair = serializers.ListField(
        child=serializers.CharField(max_length=200),
        max_length=2,
        default=list,
        help_text="Of `compare` the two columns of answers, `a` and `b`.",
    )
    blind = serializers.BooleanField(default=False, help_text="The present label is not shown.")
    reviews_per_row = serializers.IntegerField(min_value=1, max_value=MOST_REVIEWS, default=1)


class ItemSerializer(serializers.ModelSerializer[ReviewItem]):
    label = serializers.SerializerMethodField(  # type: ignore[assignment]
        help_text="Null in a blind review."
    )
    said = serializers.SerializerMethodField(
        help_text="What the run answered by which rows were chosen; null in a blind review."
    )
    row = serializers.SerializerMethodField(help_text="The row as `rows/` answers it.")

    class Meta:
        model = ReviewItem
        fields: ClassVar = ["order", "row_id", "priority", "label", "said", "is_swapped", "row"]
        read_only_fields: ClassVar = fields

    def get_label(self, item: ReviewItem) -> str | None:
        return None if item.queue.blind else item.label

    def get_said(self, item: ReviewItem) -> dict[str, Any] | None:
        found: dict[str, Any] | None = item.said
        return None if item.queue.blind else found

    def get_row(self, item: ReviewItem) -> dict[str, Any]:
        found: dict[str, Any] = self.context["rows"][item.row_id]
        return found


class TakeSerializer(serializers.Serializer[Any]):
    many = serializers.IntegerField(  # type: ignore[assignment]
        min_value=1, max_value=MOST_TAKEN, default=1
    )


class TakenSerializer(serializers.Serializer[Any]):
    results = ItemSerializer(many=True)


class EarlierSerializer(serializers.ModelSerializer[EarlierReview]):
    class Meta:
        model = EarlierReview
        fields: ClassVar = ["verdict", "label", "rating", "chosen", "note", "at"]
        read_only_fields: ClassVar = fields


class SaidSerializer(serializers.ModelSerializer[Review]):
    row_id = serializers.IntegerField(source="item.row_id", read_only=True)
    person = serializers.CharField(source="person.username", read_only=True)
    earlier = EarlierSerializer(
        many=True, read_only=True, help_text="What this person said before, the oldest first."
    )

    class Meta:
        model = Review
        fields: ClassVar = [
            *("row_id", "person", "verdict", "label", "rating", "chosen", "note", "seconds", "at"),
            "earlier",
        ]
        read_only_fields: ClassVar = fields


class VerdictSerializer(serializers.Serializer[Any]):
    row_id = serializers.IntegerField(min_value=0, max_value=2**53)
    verdict = serializers.ChoiceField(choices=Review.Verdict.choices)
    label = serializers.CharField(  # type: ignore[assignment]
        max_length=reviews.MOST_LABEL, required=False, help_text="Of `correct`."
    )
    rating = serializers.IntegerField(
        min_value=1, max_value=5, required=False, help_text="Of `rate`."
    )
    chosen = serializers.ChoiceField(
        choices=Review.Chosen.choices,
        required=False,
        help_text="Of `choose`: `a` is the first column of the pair, wherever it stood.",
    )
    note = serializers.CharField(max_length=1000, allow_blank=True, default="")
    seconds = serializers.FloatField(min_value=0, max_value=86_400, default=0.0)


class CloseSerializer(serializers.Serializer[Any]):
    winner = serializers.CharField(
        max_length=150,
        default=reviews.MAJORITY,
        help_text="`majority`, or the username whose word counts.",
    )


class AgreementSerializer(serializers.Serializer[Any]):
    rows = serializers.IntegerField(help_text="With at least two reviews.")
    exact = serializers.FloatField(allow_null=True, help_text="Share of them where all agree.")
    alpha = serializers.FloatField(allow_null=True, help_text="Krippendorff's.")
    fleiss = serializers.FloatField(
        allow_null=True, help_text="Fleiss' kappa, where each row has as many reviews."
    )
    pairs = serializers.ListField(
        child=serializers.DictField(), help_text="`people`, `rows`, `agreed`, Cohen's `kappa`."
    )
    labels = serializers.ListField(
        child=serializers.DictField(), help_text="`label`, `pairs`, `agreed`; the worst first."
    )
    confusion = serializers.ListField(
        child=serializers.DictField(), help_text="`labels` said of one row, `count`."
    )
    teacher = serializers.DictField(
        allow_null=True,
        help_text="The present labels against the reviews: `reviews`, `agreed`, `kappa`, "
        "`confusion`.",
    )


class NewestFirst(Cursor):
    ordering = "-id"


class Oldest(Cursor):
    ordering = "id"


class OfQueue(ProjectMixin, APIView):
    def queue(self) -> ReviewQueue:
        return reviews.get(project=self.project(), queue_id=self.kwargs["queue_id"])


@extend_schema_view(get=extend_schema(summary="Reviews of a project", parameters=[ReviewsQuery]))
class ReviewList(ProjectMixin, generics.ListAPIView[ReviewQueue]):
    serializer_class = ReviewSerializer
    pagination_class = NewestFirst

    def get_queryset(self) -> QuerySet[ReviewQueue]:
        if getattr(self, "swagger_fake_view", False):
            return ReviewQueue.objects.none()
        found = reviews.counted(reviews.of_project(self.project()))
        assignee = checked_query(self.request, ReviewsQuery).get("assignee", "")
        return assignees.of(found, assignee, by=person(self.request)) if assignee else found

    @idempotent
    @extend_schema(
        request=NewReviewSerializer,
        responses={201: ReviewSerializer},
        summary="Choose rows for people to review",
    )
    def post(self, request: Request, project_slug: str) -> Response:
        body = NewReviewSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        asked = dict(body.validated_data)
        version = datasets.resolve(project=self.project(), reference=asked.pop("dataset"))
        made = reviews.create(version=version, **asked, by=person(request))
        return Response(whole(made), status=201)


class ReviewDetail(OfQueue):
    roles: ClassVar = {"DELETE": Role.OWNER}

    @extend_schema(responses=ReviewSerializer, summary="A review")
    def get(self, request: Request, project_slug: str, queue_id: int) -> Response:
        return Response(whole(self.queue()))

    @extend_schema(
        request=AskedSerializer,
        responses=ReviewSerializer,
        summary="Ask people to review, or others than before",
        description="Where nobody is asked any more, everybody may review again.",
    )
    def patch(self, request: Request, project_slug: str, queue_id: int) -> Response:
        queue = self.queue()
        body = AskedSerializer(data=request.data, partial=True)
        body.is_valid(raise_exception=True)
        reviews.assign(queue=queue, by=person(request), **body.validated_data)
        return Response(whole(queue))

    @extend_schema(responses={204: None}, summary="Delete a review with all that was said in it")
    def delete(self, request: Request, project_slug: str, queue_id: int) -> Response:
        reviews.delete(queue=self.queue())
        return Response(status=204)


class ReviewTake(OfQueue):
    @extend_schema(
        request=TakeSerializer,
        responses=TakenSerializer,
        summary="Take the next rows, which nobody else gets for ten minutes",
    )
    def post(self, request: Request, project_slug: str, queue_id: int) -> Response:
        body = TakeSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        queue = self.queue()
        taken = reviews.take(queue=queue, by=person(request), many=body.validated_data["many"])
        rows = reviews.rows_of(queue, taken)
        served = {"image": "api_dataset_image", "audio": "api_dataset_sound"}
        version = queue.version
        if route := served.get(version.input_column):
            for row_id, row in rows.items():
                parts = [project_slug, version.dataset.name, version.number, row_id]
                row[version.input_column] = reverse(route, parts, request=request)
        items = ItemSerializer(taken, many=True, context={"rows": rows})
        return Response({"results": items.data})


@extend_schema_view(get=extend_schema(summary="What was said in a review"))
class VerdictList(ProjectMixin, generics.ListAPIView[Review]):
    serializer_class = SaidSerializer
    pagination_class = Oldest

    def get_queryset(self) -> QuerySet[Review]:
        if getattr(self, "swagger_fake_view", False):
            return Review.objects.none()
        queue = reviews.get(project=self.project(), queue_id=self.kwargs["queue_id"])
        return reviews.given(queue).prefetch_related("earlier")

    @extend_schema(
        request=VerdictSerializer,
        responses=SaidSerializer,
        summary="Say of a row whether it is right; said again, it is changed",
    )
    def post(self, request: Request, project_slug: str, queue_id: int) -> Response:
        body = VerdictSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        queue = reviews.get(project=self.project(), queue_id=queue_id)
        said = reviews.decide(queue=queue, **body.validated_data, by=person(request))
        return Response(SaidSerializer(said).data)


class ReviewUndo(OfQueue):
    @extend_schema(request=None, responses=SaidSerializer, summary="Take back one's newest verdict")
    def post(self, request: Request, project_slug: str, queue_id: int) -> Response:
        item = reviews.undo(queue=self.queue(), by=person(request))
        review = item.reviews.select_related("item", "person").get(person=person(request))
        return Response(SaidSerializer(review).data)


class ReviewClose(OfQueue):
    @extend_schema(
        request=CloseSerializer,
        responses=ReviewSerializer,
        summary="Close a review: its corrections become one new version",
    )
    def post(self, request: Request, project_slug: str, queue_id: int) -> Response:
        body = CloseSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        queue = self.queue()
        reviews.close(queue=queue, by=person(request), **body.validated_data)
        return Response(whole(queue))


class ReviewAgreement(OfQueue):
    @extend_schema(responses=AgreementSerializer, summary="How far the reviewers agree")
    def get(self, request: Request, project_slug: str, queue_id: int) -> Response:
        return Response(agreement.of_queue(self.queue()))


JSON_LINES: Any = {(200, "application/jsonl"): OpenApiResponse(OpenApiTypes.BINARY)}


class ReviewPreferences(OfQueue):
    @extend_schema(
        responses=JSON_LINES, summary="Pairs that were compared: prompt, chosen, rejected"
    )
    def get(self, request: Request, project_slug: str, queue_id: int) -> FileResponse:
        return preferences.of_queue(queue=self.queue())


class VersionPreferences(OfVersion):
    @extend_schema(
        responses=JSON_LINES, summary="A version's texts beside its rejected ones, as pairs"
    )
    def get(
        self, request: Request, project_slug: str, dataset_name: str, number: int
    ) -> FileResponse:
        return preferences.of_version(version=self.version())


def whole(queue: ReviewQueue) -> dict[str, Any]:
    """As lists show it."""
    told = reviews.progress(queue)
    queue.rows, queue.given = told["rows"], told["given"]  # type: ignore[attr-defined]
    return dict(ReviewSerializer(queue).data)
