"""What a person hears of, and by which rules."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from distillhub.lib.rest import checked_query
from projects import permissions
from projects.api.base import person
from projects.models import Notification, Project
from projects.services import notifications
from projects.services.topics import TOPICS, WHOSE


class NotificationShape(serializers.ModelSerializer[Notification]):
    project = serializers.CharField(source="event.project.slug", read_only=True)
    kind = serializers.CharField(source="event.kind", read_only=True)
    subject = serializers.SerializerMethodField()
    title = serializers.CharField(source="event.title", read_only=True)
    sentence = serializers.CharField(source="event.sentence", read_only=True)
    by = serializers.CharField(source="event.by.username", read_only=True, default=None)
    at = serializers.DateTimeField(source="event.at", read_only=True)
    path = serializers.SerializerMethodField(help_text="Of the page.")

    class Meta:
        model = Notification
        fields: ClassVar = [
            *("id", "topic", "project", "kind", "subject", "title", "sentence", "by", "at"),
            *("path", "read_at"),
        ]
        read_only_fields: ClassVar = fields

    def get_subject(self, one: Notification) -> str:
        return f"{one.event.subject_kind}/{one.event.subject}"

    def get_path(self, one: Notification) -> str:
        return notifications.address(one.event)


class NotificationsQuery(serializers.Serializer[Any]):
    unread = serializers.BooleanField(required=False)
    limit = serializers.IntegerField(min_value=1, required=False)
    cursor = serializers.CharField(required=False)


class ReadShape(serializers.Serializer[Any]):
    read = serializers.BooleanField()


class MarkShape(serializers.Serializer[Any]):
    ids = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=2**62),
        max_length=notifications.MOST_AT_ONCE,
        required=False,
        help_text="All of them, if left out.",
    )
    read = serializers.BooleanField(default=True)


class MarkedShape(serializers.Serializer[Any]):
    changed = serializers.IntegerField()
    unread = serializers.IntegerField()


class RuleShape(serializers.Serializer[Any]):
    topic = serializers.ChoiceField(choices=list(TOPICS), source="topic.key")
    title = serializers.CharField(source="topic.label", help_text="The topic in words.")
    whose = serializers.ChoiceField(choices=WHOSE)
    on_page = serializers.BooleanField()
    by_email = serializers.BooleanField()
    is_own = serializers.BooleanField(help_text="False where it is the default.")


class NewRuleShape(serializers.Serializer[Any]):
    topic = serializers.ChoiceField(choices=list(TOPICS))
    whose = serializers.ChoiceField(choices=WHOSE, required=False)
    on_page = serializers.BooleanField(required=False)
    by_email = serializers.BooleanField(required=False)


class NewRulesShape(serializers.Serializer[Any]):
    rules = serializers.ListField(child=NewRuleShape(), max_length=2 * len(TOPICS))


class RulesQuery(serializers.Serializer[Any]):
    project = serializers.SlugField(
        required=False, help_text="The rules of this project; of all, if left out."
    )


@extend_schema_view(
    get=extend_schema(summary="My notifications, newest first", parameters=[NotificationsQuery])
)
class NotificationList(generics.ListAPIView[Notification]):
    serializer_class = NotificationShape

    def get_queryset(self) -> QuerySet[Notification]:
        if getattr(self, "swagger_fake_view", False):
            return Notification.objects.none()
        asked = checked_query(self.request, NotificationsQuery)
        return notifications.listed(user=person(self.request), unread=asked.get("unread", False))


class NotificationDetail(APIView):
    @extend_schema(responses=NotificationShape, summary="A notification")
    def get(self, request: Request, notification_id: int) -> Response:
        found = notifications.find(user=person(request), notification_id=notification_id)
        return Response(NotificationShape(found).data)

    @extend_schema(
        request=ReadShape, responses=NotificationShape, summary="Mark a notification read or unread"
    )
    def patch(self, request: Request, notification_id: int) -> Response:
        user = person(request)
        notifications.find(user=user, notification_id=notification_id)
        body = ReadShape(data=request.data)
        body.is_valid(raise_exception=True)
        notifications.mark(user=user, ids=[notification_id], **body.validated_data)
        found = notifications.find(user=user, notification_id=notification_id)
        return Response(NotificationShape(found).data)


class NotificationsRead(APIView):
    @extend_schema(
        request=MarkShape, responses=MarkedShape, summary="Mark several notifications, or all"
    )
    def post(self, request: Request) -> Response:
        body = MarkShape(data=request.data)
        body.is_valid(raise_exception=True)
        user = person(request)
        changed = notifications.mark(user=user, **body.validated_data)
        return Response({"changed": changed, "unread": notifications.unread(user=user)})


class NotificationRules(APIView):
    @extend_schema(
        parameters=[RulesQuery], responses=RuleShape(many=True), summary="By which rules I hear"
    )
    def get(self, request: Request) -> Response:
        found = notifications.rules(user=person(request), project=_project(request))
        return Response(RuleShape(found, many=True).data)

    @extend_schema(
        parameters=[RulesQuery],
        request=NewRulesShape,
        responses=RuleShape(many=True),
        summary="Change rules",
        description="Of the topics that are named; what is left out stays as it is.",
    )
    def patch(self, request: Request) -> Response:
        project = _project(request)
        body = NewRulesShape(data=request.data)
        body.is_valid(raise_exception=True)
        kept = notifications.set_rules(
            user=person(request), project=project, asked=body.validated_data["rules"]
        )
        return Response(RuleShape(kept, many=True).data)

    @extend_schema(
        parameters=[RulesQuery], responses={204: None}, summary="Back to the default rules"
    )
    def delete(self, request: Request) -> Response:
        notifications.reset_rules(user=person(request), project=_project(request))
        return Response(status=204)


def _project(request: Request) -> Project | None:
    slug = checked_query(request, RulesQuery).get("project")
    if slug is None:
        return None
    return permissions.project_for(person(request), slug, for_page=False)
