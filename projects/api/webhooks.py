"""Webhooks of a project, their secrets and tests, and the log of deliveries."""

from datetime import timedelta
from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from distillhub.lib.rest import checked_query
from projects.api.base import ProjectMixin, idempotent, person
from projects.models import Role, Webhook, WebhookDelivery, event_kinds
from projects.services import webhook_messages, webhook_secrets, webhooks

HOURS = int(webhook_secrets.GRACE.total_seconds() // 3600)
MOST_HOURS = int(webhook_secrets.LONGEST_GRACE.total_seconds() // 3600)


class WebhookEditShape(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=100, required=False)
    url = serializers.CharField(
        max_length=500, required=False, help_text="That messages are posted to; never told again."
    )
    secret = serializers.CharField(
        max_length=200,
        required=False,
        help_text="whsec_ and base64, as Standard Webhooks has it; made where none is given.",
    )
    events = serializers.ListField(
        child=serializers.CharField(max_length=50),
        required=False,
        max_length=len(event_kinds.KINDS),
        help_text="Kinds of events that `webhooks/events/` lists; none for all of them.",
    )
    is_on = serializers.BooleanField(required=False)


class WebhookAskedShape(WebhookEditShape):
    name = serializers.CharField(max_length=100)
    url = serializers.CharField(max_length=500, help_text="That messages are posted to.")


class WebhookShape(serializers.ModelSerializer[Webhook]):
    host = serializers.CharField(help_text="Of its address.")
    events = serializers.ListField(
        child=serializers.CharField(), help_text="Kinds that it is told; none for all of them."
    )
    created_by = serializers.CharField(source="created_by.username")
    waiting = serializers.IntegerField(help_text="Deliveries that wait, or are tried again.")
    failed = serializers.IntegerField(help_text="Deliveries that were given up.")
    last_delivered_at = serializers.DateTimeField(allow_null=True)

    class Meta:
        model = Webhook
        fields: ClassVar = [
            "id", "name", "host", "events", "is_on", "turned_off", "failing_since", "waiting",
            "failed", "last_delivered_at", "created_by", "created_at",
        ]  # fmt: skip


class WebhookOfAllShape(WebhookShape):
    project = serializers.SlugField(source="project.slug")

    class Meta(WebhookShape.Meta):
        fields: ClassVar = ["project", *WebhookShape.Meta.fields]


class WebhookMadeShape(WebhookShape):
    secret = serializers.CharField(
        allow_null=True, help_text="That messages are signed with, where it is new: told this once."
    )

    class Meta(WebhookShape.Meta):
        fields: ClassVar = [*WebhookShape.Meta.fields, "secret"]


class TryShape(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    status = serializers.IntegerField(allow_null=True, help_text="Null: nothing came back.")
    milliseconds = serializers.IntegerField()
    error = serializers.CharField(help_text="Empty where it was taken.")
    answer = serializers.CharField(help_text="The first 1000 characters.")


class DeliveryShape(serializers.ModelSerializer[WebhookDelivery]):
    status = serializers.ChoiceField(choices=WebhookDelivery.Status.choices)
    body = serializers.JSONField(help_text="As it is sent.")
    event = serializers.IntegerField(source="event_id", allow_null=True)
    answered = TryShape(many=True, help_text="What each try met, the last first.")
    due_at = serializers.DateTimeField(help_text="When it is tried next, while it waits.")

    class Meta:
        model = WebhookDelivery
        fields: ClassVar = [
            "id", "message_id", "event", "kind", "status", "tries", "due_at", "delivered_at",
            "created_at", "answered", "body",
        ]  # fmt: skip


class DeliveriesQuery(serializers.Serializer[Any]):
    status = serializers.ChoiceField(choices=WebhookDelivery.Status.choices, required=False)
    kind = serializers.CharField(required=False, max_length=50, help_text="Of its event.")
    limit = serializers.IntegerField(min_value=1, required=False)
    cursor = serializers.CharField(required=False)


class RotateShape(serializers.Serializer[Any]):
    grace_hours = serializers.IntegerField(
        default=HOURS,
        min_value=0,
        max_value=MOST_HOURS,
        help_text="For so long messages are signed with the secret before, too; 0: not at all.",
    )


class RotatedShape(serializers.Serializer[Any]):
    secret = serializers.CharField(help_text="Told this once.")


class SinceShape(serializers.Serializer[Any]):
    since = serializers.DateTimeField(
        required=False, help_text="Made then or later; left out: all that are kept."
    )


class CountShape(serializers.Serializer[Any]):
    count = serializers.IntegerField(help_text="How many go out again.")


class EventKindShape(serializers.Serializer[Any]):
    kind = serializers.CharField()
    group = serializers.CharField()
    subject = serializers.CharField(help_text="Kind of what it is about; empty for any.")
    when = serializers.CharField(help_text="When it is told, in words.")
    schema = serializers.JSONField(help_text="JSON Schema of the whole message.")


class WebhookView(ProjectMixin):
    def webhook(self) -> Webhook:
        return webhooks.find(project=self.project(), webhook_id=self.kwargs["webhook_id"])


def _checked(shape: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    asked = shape(data=request.data)
    asked.is_valid(raise_exception=True)
    found: dict[str, Any] = asked.validated_data
    return found


def _made(webhook: Webhook, secret: str) -> Any:
    return {**WebhookShape(webhook).data, "secret": secret or None}


class EventKindList(APIView):
    @extend_schema(
        responses=EventKindShape(many=True),
        summary="Kinds of events, with the JSON Schema of what webhooks send of each",
    )
    def get(self, request: Request) -> Response:
        return Response(
            [
                {
                    "kind": kind.key,
                    "group": kind.group,
                    "subject": kind.about,
                    "when": kind.when,
                    "schema": webhook_messages.schema_of(kind),
                }
                for kind in event_kinds.KINDS.values()
            ]
        )


@extend_schema_view(get=extend_schema(summary="Webhooks of all of your projects"))
class WebhooksOfAll(generics.ListAPIView[Webhook]):
    serializer_class = WebhookOfAllShape

    def get_queryset(self) -> QuerySet[Webhook]:
        if getattr(self, "swagger_fake_view", False):
            return Webhook.objects.none()
        return webhooks.of_all(user=person(self.request))


@extend_schema_view(get=extend_schema(summary="Webhooks of a project"))
class WebhookList(ProjectMixin, generics.ListAPIView[Webhook]):
    roles: ClassVar = {"POST": Role.OWNER}
    serializer_class = WebhookShape

    def get_queryset(self) -> QuerySet[Webhook]:
        if getattr(self, "swagger_fake_view", False):
            return Webhook.objects.none()
        return webhooks.listed(project=self.project())

    @idempotent(forget=["secret"])
    @extend_schema(
        request=WebhookAskedShape,
        responses={201: WebhookMadeShape},
        summary="Add a webhook, signed as Standard Webhooks says",
    )
    def post(self, request: Request, project_slug: str) -> Response:
        made, secret = webhooks.create(
            project=self.project(), asked=request.data, by=person(request)
        )
        return Response(_made(made, secret), status=201)


class WebhookDetail(WebhookView, APIView):
    roles: ClassVar = {"PATCH": Role.OWNER, "DELETE": Role.OWNER}

    @extend_schema(responses=WebhookShape, summary="One webhook")
    def get(self, request: Request, project_slug: str, webhook_id: int) -> Response:
        return Response(WebhookShape(self.webhook()).data)

    @extend_schema(
        request=WebhookEditShape,
        responses=WebhookMadeShape,
        summary="Change a webhook, or turn it on or off",
    )
    def patch(self, request: Request, project_slug: str, webhook_id: int) -> Response:
        changed, secret = webhooks.edit(webhook=self.webhook(), asked=request.data)
        return Response(_made(changed, secret))

    @extend_schema(responses={204: None}, summary="Delete a webhook with its log")
    def delete(self, request: Request, project_slug: str, webhook_id: int) -> Response:
        webhooks.remove(webhook=self.webhook())
        return Response(status=204)


class WebhookTest(WebhookView, APIView):
    roles: ClassVar = {"POST": Role.OWNER}

    @extend_schema(request=None, responses={202: DeliveryShape}, summary="Send a test message")
    def post(self, request: Request, project_slug: str, webhook_id: int) -> Response:
        sent = webhooks.test(webhook=self.webhook(), by=person(request))
        return Response(DeliveryShape(sent).data, status=202)


class WebhookRotate(WebhookView, APIView):
    roles: ClassVar = {"POST": Role.OWNER}

    @extend_schema(
        request=RotateShape,
        responses=RotatedShape,
        summary="Make a new secret; the one before holds for a time of grace",
    )
    def post(self, request: Request, project_slug: str, webhook_id: int) -> Response:
        webhook = self.webhook()
        grace = timedelta(hours=_checked(RotateShape, request)["grace_hours"])
        secret = webhook_secrets.rotate(webhook=webhook, grace=grace)
        return Response({"secret": secret})


class WebhookRedeliver(WebhookView, APIView):
    roles: ClassVar = {"POST": Role.OWNER}

    @extend_schema(
        request=SinceShape,
        responses={202: CountShape},
        summary="Send all deliveries again that were given up since a time",
    )
    def post(self, request: Request, project_slug: str, webhook_id: int) -> Response:
        webhook = self.webhook()
        since = _checked(SinceShape, request).get("since")
        count = webhooks.redeliver_failed(webhook=webhook, since=since)
        return Response({"count": count}, status=202)


@extend_schema_view(
    get=extend_schema(summary="Deliveries of a webhook, newest first", parameters=[DeliveriesQuery])
)
class DeliveryList(WebhookView, generics.ListAPIView[WebhookDelivery]):
    serializer_class = DeliveryShape

    def get_queryset(self) -> QuerySet[WebhookDelivery]:
        if getattr(self, "swagger_fake_view", False):
            return WebhookDelivery.objects.none()
        asked = checked_query(self.request, DeliveriesQuery)
        return webhooks.deliveries(
            webhook=self.webhook(), status=asked.get("status", ""), kind=asked.get("kind", "")
        )


class DeliveryDetail(WebhookView, APIView):
    @extend_schema(responses=DeliveryShape, summary="One delivery, with what each try met")
    def get(
        self, request: Request, project_slug: str, webhook_id: int, delivery_id: int
    ) -> Response:
        found = webhooks.delivery(webhook=self.webhook(), delivery_id=delivery_id)
        return Response(DeliveryShape(found).data)


class DeliveryRedeliver(WebhookView, APIView):
    roles: ClassVar = {"POST": Role.OWNER}

    @extend_schema(
        request=None,
        responses={202: DeliveryShape},
        summary="Send a delivery again, under the id it had",
    )
    def post(
        self, request: Request, project_slug: str, webhook_id: int, delivery_id: int
    ) -> Response:
        sent = webhooks.redeliver(webhook=self.webhook(), delivery_id=delivery_id)
        return Response(DeliveryShape(sent).data, status=202)
