"""What happened in a project, newest first."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics, serializers

from distillhub.lib.rest import checked_query
from projects.api.base import ProjectMixin
from projects.models import Event
from projects.services import events, subjects


class EventShape(serializers.ModelSerializer[Event]):
    kind = serializers.CharField(help_text="One of those that `webhooks/events/` lists.")
    subject = serializers.SerializerMethodField(help_text="Kind and reference: `run/12`.")
    url = serializers.SerializerMethodField(help_text="Its page.")
    by = serializers.CharField(
        source="by.username", allow_null=True, default=None, help_text="Null: a machine did it."
    )
    data: Any = serializers.JSONField(help_text="As the schema of its kind says.")

    class Meta:
        model = Event
        fields: ClassVar = ["id", "kind", "at", "subject", "title", "sentence", "by", "data", "url"]
        read_only_fields: ClassVar = fields

    def get_subject(self, event: Event) -> str:
        return f"{event.subject_kind}/{event.subject}"

    def get_url(self, event: Event) -> str:
        slug = str(self.context["view"].kwargs["project_slug"])
        return subjects.link(slug=slug, kind=event.subject_kind, reference=event.subject)


class EventsQuery(serializers.Serializer[Any]):
    kind = serializers.CharField(
        required=False, max_length=50, help_text="`run.finished`, or `run` for all of them."
    )
    by = serializers.CharField(required=False, max_length=150, help_text="Username.")
    subject = serializers.CharField(required=False, max_length=350, help_text="`run/12`.")
    limit = serializers.IntegerField(min_value=1, required=False)
    cursor = serializers.CharField(required=False)


@extend_schema_view(
    get=extend_schema(summary="What happened in a project, newest first", parameters=[EventsQuery])
)
class EventList(ProjectMixin, generics.ListAPIView[Event]):
    serializer_class = EventShape

    def get_queryset(self) -> QuerySet[Event]:
        if getattr(self, "swagger_fake_view", False):
            return Event.objects.none()
        asked = checked_query(self.request, EventsQuery)
        return events.feed(
            project=self.project(),
            kind=asked.get("kind", ""),
            by=asked.get("by", ""),
            subject=asked.get("subject", ""),
        )
