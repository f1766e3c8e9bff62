from django.apps import AppConfig
from django.contrib.staticfiles.apps import StaticFilesConfig


class DistillHubConfig(AppConfig):
    name = "distillhub"
    default = True

    def ready(self) -> None:
        # Here and not in the package's __init__: the supervisor needs neither Celery nor Django.
        from distillhub import celery, checks  # noqa: F401, PLC0415
        from distillhub.lib import idle_transactions  # noqa: PLC0415

        idle_transactions.begin()


class StaticFiles(StaticFilesConfig):
    """Leaves out what no page of ours uses: DRF's browsable pages, other majors of htmx."""

    ignore_patterns = [*StaticFilesConfig.ignore_patterns, "rest_framework", "django_htmx"]  # noqa: RUF012
