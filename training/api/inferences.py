"""What a shipped model answered, sent to its monitor: rows, late labels, the teacher's answers."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from distillhub.lib.errors import Invalid
from distillhub.lib.rest import checked_query
from projects.api.base import ProjectMixin, idempotent, person
from training.models import Monitor
from training.services import inferences

JSON = dict[str, Any]

HOW = (
    "Answered at once, before anything is looked at but its shape; a worker takes it in. All of a "
    "request is kept, or none of it. 429 with `Retry-After` says that too much waits."
)


class SaidByTeacher(serializers.Serializer[Any]):
    prediction = serializers.JSONField(help_text="A class, several in a list, a number or a text.")
    probabilities = serializers.JSONField(required=False)
    share = serializers.FloatField(
        required=False, help_text="Of rows that were asked about like this one; 1."
    )


class InferenceRecord(serializers.Serializer[Any]):
    id = serializers.CharField(max_length=200, help_text="Sent again, a row is kept once.")
    time = serializers.DateTimeField(help_text="UTC, where it says no other zone.")
    input = serializers.JSONField(
        required=False,
        help_text='A text; {column: value}; {"base64": a picture or sound}, or one that came '
        'before as {"sha256"}; or {"vector": [numbers]}.',
    )
    prediction = serializers.JSONField(help_text="A class, several in a list, a number or a text.")
    probabilities = serializers.JSONField(
        required=False, help_text="A list in the order of the monitor's classes, or by class."
    )
    latency_ms = serializers.FloatField(required=False, min_value=0)
    label = serializers.JSONField(  # type: ignore[assignment]
        required=False, help_text="What is right, where that is known already."
    )
    teacher = SaidByTeacher(required=False)
    version = serializers.CharField(max_length=500, required=False)
    tags = serializers.DictField(required=False, help_text="Texts and numbers by name.")


class LateLabel(serializers.Serializer[Any]):
    id = serializers.CharField(max_length=200)
    label = serializers.JSONField()  # type: ignore[assignment]


class TeacherAnswer(SaidByTeacher):
    id = serializers.CharField(max_length=200)


class SendInferences(serializers.Serializer[Any]):
    inferences = InferenceRecord(many=True)


class SendLabels(serializers.Serializer[Any]):
    labels = LateLabel(many=True)


class SendAnswers(serializers.Serializer[Any]):
    answers = TeacherAnswer(many=True)


class ForgetInferences(serializers.Serializer[Any]):
    ids = serializers.ListField(child=serializers.CharField(max_length=200))


class AcceptedShape(serializers.Serializer[Any]):
    accepted = serializers.IntegerField(help_text="Records that a worker will take in.")


class MonitorMixin(ProjectMixin):
    """For views under `monitors/<str:monitor_name>/`."""

    def monitor(self) -> Monitor:
        """Raises Missing."""
        return inferences.find_monitor(project=self.project(), name=self.kwargs["monitor_name"])


class Inferences(MonitorMixin):
    @idempotent
    @extend_schema(
        operation_id="monitors_inferences_create",
        request=SendInferences,
        responses={202: AcceptedShape},
        summary="Send what a model answered",
        description=f"At most 10 000 records. {HOW}",
        examples=[
            OpenApiExample(
                "one row",
                {
                    "inferences": [
                        {
                            "id": "5f2c",
                            "time": "2026-11-27T10:00:00Z",
                            "input": "where is my card",
                            "prediction": "card_arrival",
                            "probabilities": {"card_arrival": 0.91, "lost_card": 0.09},
                            "latency_ms": 3.2,
                        }
                    ]
                },
                request_only=True,
            )
        ],
    )
    def post(self, request: Request, project_slug: str, monitor_name: str) -> Response:
        monitor = self.monitor()
        sent = _only(request, "inferences")
        count = inferences.receive(monitor=monitor, records_sent=sent, by=person(request))
        return Response({"accepted": count}, status=202)

    @extend_schema(
        operation_id="monitors_inferences_forget",
        request=ForgetInferences,
        responses={202: AcceptedShape},
        summary="Have rows forgotten",
        description="Rows, labels and answers of these ids are removed by a worker. What they "
        "added to windows stays, as sums without rows. 429 with `Retry-After` says that too many "
        "wait to be forgotten; rows that wait take none of their room.",
    )
    def delete(self, request: Request, project_slug: str, monitor_name: str) -> Response:
        monitor = self.monitor()
        ids = _only(request, "ids")
        count = inferences.forget(monitor=monitor, ids=ids, by=person(request))
        return Response({"accepted": count}, status=202)


class Labels(MonitorMixin):
    @idempotent
    @extend_schema(
        operation_id="monitors_labels_create",
        request=SendLabels,
        responses={202: AcceptedShape},
        summary="Say what was right",
        description=f"By the ids of rows, however late. The first label of a row counts in its "
        f"window; a later one is shown with the row. {HOW}",
        examples=[
            OpenApiExample(
                "one label",
                {"labels": [{"id": "5f2c", "label": "card_arrival"}]},
                request_only=True,
            )
        ],
    )
    def post(self, request: Request, project_slug: str, monitor_name: str) -> Response:
        monitor = self.monitor()
        sent = _only(request, "labels")
        count = inferences.receive_labels(monitor=monitor, labels=sent, by=person(request))
        return Response({"accepted": count}, status=202)


class TeacherAnswers(MonitorMixin):
    @idempotent
    @extend_schema(
        operation_id="monitors_teacher_answers_create",
        request=SendAnswers,
        responses={202: AcceptedShape},
        summary="Say what the teacher answers",
        description=f"By the ids of rows, where somebody else asks the teacher. {HOW}",
        examples=[
            OpenApiExample(
                "one answer",
                {"answers": [{"id": "5f2c", "prediction": "lost_card"}]},
                request_only=True,
            )
        ],
    )
    def post(self, request: Request, project_slug: str, monitor_name: str) -> Response:
        monitor = self.monitor()
        sent = _only(request, "answers")
        count = inferences.receive_teacher(monitor=monitor, answers=sent, by=person(request))
        return Response({"accepted": count}, status=202)


class RowsQuery(serializers.Serializer[Any]):
    window = serializers.IntegerField(required=False, min_value=0, max_value=2**53)
    since = serializers.DateTimeField(required=False)
    until = serializers.DateTimeField(required=False, help_text="Rows before it.")
    prediction = serializers.CharField(required=False, max_length=500)
    wrong = serializers.BooleanField(required=False, help_text="By the label, where there is one.")
    disagreeing = serializers.BooleanField(required=False, help_text="With the teacher.")
    slice = serializers.CharField(required=False, max_length=200, help_text="Of the monitor.")
    q = serializers.CharField(required=False, max_length=200, help_text="Sought in the input.")
    id = serializers.ListField(
        child=serializers.CharField(max_length=200),
        required=False,
        max_length=1000,
        help_text="These rows alone, in this order; may be said often.",
    )
    limit = serializers.IntegerField(required=False, min_value=1, max_value=1000, default=100)
    cursor = serializers.CharField(required=False, max_length=60)


class RowTeacher(serializers.Serializer[Any]):
    prediction = serializers.JSONField(help_text="Of answers word by word a list of tags.")
    probabilities = serializers.JSONField(allow_null=True)
    share = serializers.FloatField(allow_null=True)


class InferenceRow(serializers.Serializer[Any]):
    id = serializers.CharField()
    time = serializers.DateTimeField()
    window = serializers.IntegerField()
    input = serializers.JSONField(allow_null=True, help_text="Null where it was not kept.")
    prediction = serializers.JSONField(
        allow_null=True, help_text="Of answers word by word a list of tags, as `label` is."
    )
    probabilities = serializers.JSONField(
        allow_null=True, help_text="By label; of answers word by word one such object a word."
    )
    latency_ms = serializers.FloatField(allow_null=True)
    label = serializers.JSONField(allow_null=True)  # type: ignore[assignment]
    teacher = RowTeacher(allow_null=True)
    version = serializers.CharField(allow_null=True)
    tags = serializers.DictField()
    described = serializers.DictField()
    answered = serializers.DictField(help_text="Of a written answer: what describes it.")


class RowsPage(serializers.Serializer[Any]):
    results = InferenceRow(many=True)
    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True, help_text="Always null: pages go on alone.")


class Rows(MonitorMixin):
    @extend_schema(
        operation_id="monitors_rows_list",
        parameters=[RowsQuery],
        responses=RowsPage,
        summary="Rows that a monitor was sent",
        description="Newest first, with what labels and the teacher said later. A page may end "
        "before it is full; `next` says whether more is there.",
    )
    def get(self, request: Request, project_slug: str, monitor_name: str) -> Response:
        asked = checked_query(request, RowsQuery)
        limit, cursor = asked.pop("limit"), asked.pop("cursor", "")
        ids = asked.pop("id", None)
        if ids:
            found = inferences.by_ids(self.monitor(), ids)
            return Response({"results": found, "next": None, "previous": None})
        page = inferences.rows(
            self.monitor(), inferences.Asked(**asked), limit=limit, cursor=cursor
        )
        following = None
        if page.next is not None:
            here = request.build_absolute_uri()
            following = replace_query_param(here, "cursor", page.next)
        return Response({"results": page.rows, "next": following, "previous": None})


def _only(request: Request, name: str) -> Any:
    """The one key of the body. Raises Invalid for any other."""
    if type(request.data) is not dict or name not in request.data:
        sentence = f"Send an object with `{name}`: a list."
        raise Invalid(sentence, fields={name: [sentence]})
    for other in request.data:
        if other != name:
            sentence = f"There is no such key; there is {name}."
            raise Invalid(f"{other[:60]}: {sentence}", fields={other[:60]: [sentence]})
    return request.data[name]
