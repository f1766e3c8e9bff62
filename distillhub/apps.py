from django.apps import AppConfig


class DistillHubConfig(AppConfig):
    name = "distillhub"

    def ready(self) -> None:
        # Here and not in the package's __init__: the supervisor needs neither Celery nor Django.
        from distillhub import celery, checks  # noqa: F401, PLC0415
