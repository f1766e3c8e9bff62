"""What the pages of one version of a model have in common: the way there, the head, the tabs."""

from typing import Any

from django.urls import reverse

from projects.models import ModelVersion, Project, RegisteredModel, Role


def crumbs(
    project: Project, role: str, model: RegisteredModel | None = None
) -> list[tuple[str, str]]:
    listed = reverse(f"training:{role}_list", args=[project.slug])
    found = [("Teachers" if role == "teacher" else "Students", listed)]
    if model is not None:
        found.append(
            (model.name, reverse("training:model_detail", args=[project.slug, model.name]))
        )
    return found


def tabs(project: Project, version: ModelVersion) -> list[tuple[str, str, str, int | None]]:
    """(key, label, address, how many) of the pages of a version."""
    at = [project.slug, version.model.name, version.number]
    return [
        (key, label, reverse(f"training:{route}", args=at), None)
        for key, label, route in (
            ("overview", "Overview", "model_version"),
            ("card", "Card", "model_card"),
            ("promotion", "Promotion", "model_promotion"),
            ("publish", "Publish", "model_publish"),
            ("lineage", "Lineage", "model_lineage"),
        )
    ]


def frame(project: Project, version: ModelVersion, tab: str) -> dict[str, Any]:
    """The context of a page below a version's tabs."""
    model = version.model
    label = next(label for key, label, _, _ in tabs(project, version) if key == tab)
    here = reverse("training:model_version", args=[project.slug, model.name, version.number])
    return {
        "title": f"{label} of {version.reference}",
        "crumb": label,
        "crumbs": [*crumbs(project, model.role, model), (f"Version {version.number}", here)],
        "section": f"{model.role}s",
        "project": project,
        "model": model,
        "version": version,
        "aliases": version.aliases.all(),
        "tabs": tabs(project, version),
        "tab": tab,
        "may_edit": project.allows(Role.EDITOR),
        "is_owner": project.allows(Role.OWNER),
    }
