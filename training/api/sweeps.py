"""Sweeps: their trials, stopped, resumed, with more trials, and their best one tested."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response

from distillhub.lib.rest import Cursor
from projects.api.base import idempotent, person
from training.api.studies import StudyView, StudyWholeShape
from training.api.sweep_shapes import AddShape, ConfirmShape, TrialShape
from training.models import Trial
from training.services import sweep_results, sweeps


class InOrder(Cursor):
    ordering = "number"


@extend_schema_view(get=extend_schema(summary="Trials of a sweep"))
class StudyTrials(StudyView, generics.ListAPIView[Trial]):
    serializer_class = TrialShape
    pagination_class = InOrder

    def get_queryset(self) -> QuerySet[Trial]:
        if getattr(self, "swagger_fake_view", False):
            return Trial.objects.none()
        return sweeps.trials_of(self.study())

    @idempotent
    @extend_schema(
        request=AddShape,
        responses=StudyWholeShape,
        summary="Add trials to a sweep",
        description="One that is over, or was stopped, goes on.",
    )
    def post(self, request: Request, project_slug: str, number: int) -> Response:
        study = self.study()
        asked = request.data.get("trials") if isinstance(request.data, dict) else None
        return self.answer(sweeps.add_trials(study=study, trials=asked, by=person(request)))


class StudyStop(StudyView):
    @extend_schema(
        request=None,
        responses=StudyWholeShape,
        summary="Ask for no more trials of a sweep",
        description="Those in training go on to their end; `cancel/` ends them, too.",
    )
    def post(self, request: Request, project_slug: str, number: int) -> Response:
        return self.answer(sweeps.stop(study=self.study(), by=person(request)))


class StudyResume(StudyView):
    @extend_schema(
        request=None, responses=StudyWholeShape, summary="Go on with a sweep that was stopped"
    )
    def post(self, request: Request, project_slug: str, number: int) -> Response:
        return self.answer(sweeps.resume(study=self.study(), by=person(request)))


class StudyBest(StudyView):
    @extend_schema(
        request=ConfirmShape,
        responses={200: StudyWholeShape, 201: StudyWholeShape},
        summary="Test the best configuration of a sweep",
        description="A study that trains what was best on validation rows with several seeds and "
        "scores the test rows with each, once: beside its control, or beside the best that was "
        "found on labels alone. 200 and the same study where that was asked before.",
    )
    def post(self, request: Request, project_slug: str, number: int) -> Response:
        study = self.study()
        data: Any = request.data if isinstance(request.data, dict) else {}
        made, is_new = sweep_results.confirm_best(
            study=study, by=person(request), seeds=data.get("seeds")
        )
        return self.answer(made, status=201 if is_new else 200)
