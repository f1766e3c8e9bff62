"""Every address. Pages come from the two apps, REST from distillhub/api.py."""

from django.contrib import admin
from django.urls import include, path

handler404 = "distillhub.lib.http.not_found"
handler500 = "distillhub.lib.http.server_error"

urlpatterns = [
    path("api/", include("distillhub.api")),
    path("admin/", admin.site.urls),
    path("", include("projects.urls")),
    path("", include("training.urls")),
]
