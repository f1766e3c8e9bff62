"""Rows that a monitor was sent, for people to review."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from distillhub.lib.errors import Missing
from projects.api.base import idempotent, person
from projects.services import reviews
from training.api.monitors import MonitorView
from training.services import live_reviews


class SendToReview(serializers.Serializer[Any]):
    window = serializers.IntegerField(min_value=0, max_value=2**53, help_text="Whose rows.")
    many = serializers.IntegerField(  # type: ignore[assignment]
        min_value=1,
        max_value=reviews.MOST_ROWS,
        default=live_reviews.USUAL,
        help_text="Rows that are reviewed, first those where somebody contradicts the student.",
    )


class SentToReview(serializers.Serializer[Any]):
    review = serializers.IntegerField(help_text="It is empty until the version is ready.")
    version = serializers.CharField(help_text="Of the dataset, which a worker makes.")


class LiveReviews(MonitorView, APIView):
    @idempotent
    @extend_schema(
        operation_id="monitors_rows_review",
        request=SendToReview,
        responses={202: SentToReview},
        summary="Send rows of a window to review",
        description="A worker adds the window's rows to the next version of the dataset that they "
        "belong to; once it is ready, the review has them. 409 where they belong to none.",
    )
    def post(self, request: Request, project_slug: str, monitor_name: str) -> Response:
        monitor = self.monitor()
        body = SendToReview(data=request.data)
        body.is_valid(raise_exception=True)
        number, many = body.validated_data["window"], body.validated_data["many"]
        window = monitor.windows.filter(number=number).defer("sums").first()
        if window is None:
            raise Missing(f"There is no window {number} of this monitor.")
        queue = live_reviews.send(monitor=monitor, window=window, many=many, by=person(request))
        return Response({"review": queue.pk, "version": queue.version.reference}, status=202)
