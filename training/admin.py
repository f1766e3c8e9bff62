"""The back office: looking at rows, and no more. Changing a run's life by hand would break the
promises that the conditional updates make."""

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

from training.models import Artifact, MetricSeries, Run, RunEvent, Worker


class ReadOnly(admin.ModelAdmin):  # type: ignore[type-arg]
    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(Run)
class RunAdmin(ReadOnly):
    list_display = (
        "project", "number", "name", "status", "attempt", "worker", "lease_until", "created_at",
    )  # fmt: skip
    list_filter = ("status", "queue")
    list_select_related = ("project", "worker")
    search_fields = ("name", "project__name")


@admin.register(RunEvent)
class RunEventAdmin(ReadOnly):
    list_display = ("at", "run", "kind", "sentence")
    list_select_related = ("run",)


@admin.register(Worker)
class WorkerAdmin(ReadOnly):
    list_display = ("name", "host", "pid", "queues", "capacity", "seen_at", "stopped_at")


@admin.register(Artifact)
class ArtifactAdmin(ReadOnly):
    list_display = ("run", "kind", "name", "sha256", "bytes")
    list_select_related = ("run",)


@admin.register(MetricSeries)
class MetricSeriesAdmin(ReadOnly):
    list_display = ("run", "name", "count", "last_step", "last_value")
    list_select_related = ("run",)
