from django.apps import AppConfig
from django.db.models.signals import post_migrate


class ProjectsConfig(AppConfig):
    name = "projects"
    verbose_name = "What a team owns"

    def ready(self) -> None:
        from projects.services import audit_guard  # noqa: PLC0415 - once apps are there

        post_migrate.connect(audit_guard.after_migrate, sender=self)
