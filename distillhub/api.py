"""The REST addresses of both apps, their OpenAPI description and its page."""

from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView

urlpatterns = [
    path("v1/", include("projects.api.urls")),
    path("v1/", include("training.api.urls")),
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
]
