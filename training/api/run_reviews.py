"""Reviews of what a run answered."""

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from projects.api import reviews as shapes
from projects.api.base import idempotent, person
from projects.models import ReviewQueue
from projects.models.review import MOST_REVIEWS
from projects.operations.conditions import Conditions
from projects.services import review_rows, reviews
from training.api.runs import RunView
from training.services import run_reviews


class NewRunReview(shapes.AssigneesSerializer):
    how = serializers.ChoiceField(choices=list((review_rows.OF_A_RUN | review_rows.NAMED).items()))
    row_ids = serializers.ListField(
        child=serializers.IntegerField(min_value=0),
        required=False,
        max_length=reviews.MOST_ROWS,
        help_text="The rows, in the order in which they come, where `how` is named.",
    )
    name = serializers.CharField(max_length=100, allow_blank=True, default="")
    kind = serializers.ChoiceField(
        choices=[ReviewQueue.Kind.LABELS, ReviewQueue.Kind.RATINGS],
        default=ReviewQueue.Kind.LABELS,
        help_text="Labels accepted or corrected, or rows rated 1 to 5.",
    )
    many = serializers.IntegerField(  # type: ignore[assignment]
        min_value=1, max_value=reviews.MOST_ROWS, default=100
    )
    conditions = Conditions(required=False, help_text="Only rows that these hold for.")
    blind = serializers.BooleanField(
        default=False, help_text="Neither the present label nor the answers are shown."
    )
    reviews_per_row = serializers.IntegerField(min_value=1, max_value=MOST_REVIEWS, default=1)


class RunReviews(RunView):
    @idempotent
    @extend_schema(
        operation_id="run_reviews_create",
        request=NewRunReview,
        responses={201: shapes.ReviewSerializer},
        summary="Choose rows for people to review by what it answered",
    )
    def post(self, request: Request, project_slug: str, number: int) -> Response:
        run = self.run()
        body = NewRunReview(data=request.data)
        body.is_valid(raise_exception=True)
        made = run_reviews.create(run=run, **body.validated_data, by=person(request))
        return Response(shapes.whole(made), status=201)
