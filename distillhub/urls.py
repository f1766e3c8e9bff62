"""Every address. Pages come from the two apps, REST from distillhub/api.py."""

from django.contrib import admin
from django.urls import include, path

from distillhub.lib import http
from training.views import telemetry

handler400 = "distillhub.lib.http.bad_request"
handler403 = "distillhub.lib.http.forbidden"
handler404 = "distillhub.lib.http.not_found"
handler500 = "distillhub.lib.http.server_error"

urlpatterns = [
    path("api/", include("distillhub.api")),
    path("healthz", http.healthz, name="healthz"),
    path("readyz", http.readyz, name="readyz"),
    path("metrics", telemetry.metrics, name="metrics"),
    path("admin/", admin.site.urls),
    path("", include("training.mlflow.urls")),
    path("", include("projects.urls")),
    path("", include("projects.ways_in_urls")),
    path("", include("training.urls")),
]
