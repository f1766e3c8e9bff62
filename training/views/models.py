"""Teachers and students: their lists, versions, files and aliases."""

from typing import Any

from django.contrib import messages
from django.db.models import Count, Exists, OuterRef, Prefetch
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from distillhub.lib import downloads, storage
from distillhub.lib.errors import DomainError, Invalid, Missing
from distillhub.templatetags import ui
from projects import permissions
from projects.ingest.formats import SPLITS
from projects.models import ModelVersion, Project, RegisteredModel, Role, User
from projects.services import registry
from training import catalog
from training.answering.endpoint import APIS
from training.forms import fields, run_choices
from training.forms.exports import ExportDraft
from training.forms.models import ModelDraft
from training.models import Run
from training.services import (
    api_teachers,
    derivations,
    model_cards,
    monitor_subjects,
    monitors,
    networks,
    recorded_teachers,
    scores,
)
from training.views import export_parts, gates, model_tabs

RECENT = 50  # runs listed on a version's page
SHOWN = 6  # columns of a recorded teacher


@require_safe
def teacher_list(request: HttpRequest, project_slug: str) -> HttpResponse:
    return _model_list(request, project_slug, RegisteredModel.ModelRole.TEACHER)


@require_safe
def student_list(request: HttpRequest, project_slug: str) -> HttpResponse:
    return _model_list(request, project_slug, RegisteredModel.ModelRole.STUDENT)


def _model_list(request: HttpRequest, project_slug: str, role: str) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug)
    versions = (
        ModelVersion.objects.select_related("model", "produced_by")
        .prefetch_related("aliases")
        .annotate(
            as_student=Count("runs_as_student", distinct=True),
            as_teacher=Count("runs_as_teacher", distinct=True),
        )
        .order_by("-number")
    )
    models = (
        RegisteredModel.objects.filter(
            # What MLflow's client registered, and has given no version yet, is not there yet.
            Exists(ModelVersion.objects.filter(model=OuterRef("pk"))),
            project=project,
            role=role,
        )
        .select_related("created_by")
        .prefetch_related(Prefetch("versions", versions))
    )
    context = {
        "title": "Teachers" if role == "teacher" else "Students",
        "section": f"{role}s",
        "project": project,
        "role": role,
        "rows": [_row(model) for model in models],
        "may_edit": project.allows(Role.EDITOR),
    }
    return render(request, "training/model_list.html", context)


def _row(model: RegisteredModel) -> dict[str, Any]:
    versions = list(model.versions.all())
    metric = run_choices.metric(versions[0])
    best = scores.best_version(versions, metric)
    return {
        "model": model,
        "newest": versions[0],
        "count": len(versions),
        "best": run_choices.score(best) if best is not None else None,
        "best_version": best,
        "metric": metric,
        "runs": sum(version.as_student + version.as_teacher for version in versions),  # type: ignore[attr-defined]
    }


@sensitive_post_parameters("api.key")
@require_http_methods(["GET", "POST"])
def model_new(request: HttpRequest, project_slug: str) -> HttpResponse:
    """A new teacher or student; with `?model=` the next version of one."""
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    name = request.GET.get("model", "")
    model = model_called(project, name) if name else None
    if request.method == "GET":
        return _form(request, ModelDraft.from_address(project, request.GET, model))
    draft = ModelDraft.from_post(project, request.POST, model)
    if request.POST.get("action", "register") != "register":
        return _form(request, draft)
    user = request.user
    assert isinstance(user, User)
    try:
        asked = draft.arguments(request.FILES.get("file"))
        register = networks.register if model is None else networks.add_version
        version = register(**asked, by=user)
    except DomainError as error:
        draft.refuse(error)
        return _form(request, draft)
    return redirect("training:model_version", project.slug, version.model.name, version.number)


def _form(request: HttpRequest, draft: ModelDraft) -> HttpResponse:
    context = {
        "title": f"New version of {draft.model}" if draft.model else f"New {draft.role}",
        "crumb": "New version" if draft.model else "New",
        "crumbs": model_tabs.crumbs(draft.project, draft.role, draft.model),
        "section": f"{draft.role}s",
        "project": draft.project,
        "draft": draft,
    }
    live = bool(request.headers.get("HX-Request"))
    return render(request, f"training/{'_model_form' if live else 'model_new'}.html", context)


@require_safe
def model_detail(request: HttpRequest, project_slug: str, model_name: str) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug)
    model = model_called(project, model_name)
    versions = (
        model.versions.select_related("created_by", "produced_by", "model")
        .prefetch_related("aliases")
        .annotate(
            as_student=Count("runs_as_student", distinct=True),
            as_teacher=Count("runs_as_teacher", distinct=True),
        )
        .order_by("-number")
    )
    context = {
        "title": model.name,
        "crumbs": model_tabs.crumbs(project, model.role),
        "section": f"{model.role}s",
        "project": project,
        "model": model,
        "versions": [
            {
                "version": version,
                "score": run_choices.score(version),
                "metric": run_choices.metric(version),
            }
            for version in versions
        ],
        "aliases": model.aliases.select_related("version"),
        "may_edit": project.allows(Role.EDITOR),
    }
    return render(request, "training/model_detail.html", context)


@require_safe
def model_version(
    request: HttpRequest, project_slug: str, model_name: str, number: int
) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug)
    return version_page(
        request, project, registry.find(project=project, name=model_name, number=number)
    )


def version_page(
    request: HttpRequest,
    project: Project,
    version: ModelVersion,
    fault: str = "",
    draft: ExportDraft | None = None,
) -> HttpResponse:
    """A version's page; `draft` is an export that was refused."""
    model = version.model
    made_by = Run.objects.select_related("dataset_version__dataset").filter(output=version).first()
    uses = [("student", version.runs_as_student), ("teacher", version.runs_as_teacher)]
    context = {
        "title": version.reference,
        "crumb": f"Version {version.number}",
        "crumbs": model_tabs.crumbs(project, model.role, model),
        "section": f"{model.role}s",
        "project": project,
        "model": model,
        "version": version,
        "score": run_choices.score(version),
        "metric": run_choices.metric(version),
        "config": [(name, _written(name, value)) for name, value in version.config.items()],
        "derived": (derived := _derived(version)),
        "counted": derived.get("size") or _counted(version),
        "opens_here_only": "altered" in version.config and _is_transformers(version),
        "made_of": derivations.made_of(version=version)[:RECENT],
        "made_by": made_by,
        "score_of": _score_of(version, made_by),
        "uses": [(role, run) for role, runs in uses for run in runs.order_by("-number")[:RECENT]],
        "aliases": version.aliases.all(),
        "key": api_teachers.key_of(version),
        "speaks_as": APIS.get(version.source.get("api", "")),
        "usage": api_teachers.usage(version) if version.is_asked else None,
        "numbers": model.versions.values_list("number", flat=True),
        "fault": fault,
        "may_edit": project.allows(Role.EDITOR),
        "watching": list(monitors.for_model(version=version)[:RECENT]),
        "may_watch": not monitor_subjects.unwatchable(version),
        "tabs": model_tabs.tabs(project, version),
        "tab": "overview",
    }
    if version.is_recorded:
        context["recorded"] = _recorded(version)
    if version.is_ensemble:
        context["members"] = _members(version)
    ready = version.status == ModelVersion.Status.READY
    if ready and version.can_teach and not version.is_ensemble:
        context |= gates.context(version)
    if ready and version.is_trained:
        context |= export_parts.context(version, draft)
    live = request.headers.get("HX-Target") == "version"
    return render(
        request, f"training/{'_model_version' if live else 'model_version'}.html", context
    )


def _score_of(version: ModelVersion, made_by: Run | None) -> str:
    """`test rows of banking@1`: what the score that stands for a version was measured on."""
    name = run_choices.metric(version)
    split = next((one for one in ("test", "val") if f"{one}/{name}" in version.metrics), "")
    if not split:
        return ""
    rows = f"{ui.SPLITS[split]} rows"
    return f"{rows} of {made_by.dataset_version}" if made_by is not None else rows


def _counted(version: ModelVersion) -> str:
    """What the number of its weights holds for, before a run knows it."""
    assumes = version.source.get("assumes") if not version.files else ""
    return f"counted for {assumes}" if assumes else ""


def _derived(version: ModelVersion) -> dict[str, Any]:
    """How it was made of another version's weights; empty for one that was not."""
    source = version.source
    if source.get("kind") != "derived":
        return {}
    method = catalog.find("derivations", source["method"]) or {"label": source["method"]}
    labels = {one["name"]: one["label"] for one in method.get("options", [])}
    before = source.get("made", {}).get("teacher_parameters")
    share = f"{(version.parameters or 0) / before:.0%}".replace("%", " %") if before else ""
    return {
        "giver": derivations.giver(version=version),
        "label": method["label"],
        "options": [
            (labels.get(name, name), fields.written(value))
            for name, value in source["options"].items()
        ],
        "size": f"{share} of {source['from']}" if share else "",
    }


def _recorded(version: ModelVersion) -> dict[str, Any]:
    """Where its answers stand, and of how many rows."""
    source, names = version.source, recorded_teachers.columns(version)
    counts = [
        (split, source["answered"][split], source["rows"][split])
        for split in SPLITS
        if split in source["rows"]
    ]
    return {
        "dataset": recorded_teachers.origin(version),
        "columns": names[:SHOWN],
        "more": max(0, len(names) - SHOWN),
        "splits": counts,
    }


def _members(version: ModelVersion) -> list[dict[str, Any]]:
    """Of an ensemble, with the share of each."""
    references, weights = version.source["members"], version.source["weights"]
    names = [one.partition("@")[0] for one in references]
    known = ModelVersion.objects.select_related("model").filter(
        model__project=version.model.project_id, model__name__in=names
    )
    by_reference = {one.reference: one for one in known}
    return [
        {
            "reference": reference,
            "version": by_reference.get(reference),
            "weight": weight,
            "share": weight / sum(weights),
        }
        for reference, weight in zip(references, weights, strict=True)
    ]


def _is_transformers(version: ModelVersion) -> bool:
    known = catalog.find("architectures", version.architecture)
    return known is not None and known["kind"] == "transformers"


def _written(name: str, value: Any) -> str:
    """Altered layers are a long object, of which a page says how many they are."""
    if name == "altered" and isinstance(value, dict):
        return f"{len(value)} layers"
    return fields.written(value)


@require_safe
def model_download(
    request: HttpRequest, project_slug: str, model_name: str, number: int
) -> HttpResponseBase:
    project = permissions.project_for(request.user, project_slug)
    version = registry.find(project=project, name=model_name, number=number)
    files = model_cards.beside(version=version, files=networks.files(version=version))
    return downloads.archive(files, name=f"{model_name}-{number}.zip")


@require_safe
def model_file(
    request: HttpRequest, project_slug: str, model_name: str, number: int, name: str
) -> HttpResponseBase:
    project = permissions.project_for(request.user, project_slug)
    version = registry.find(project=project, name=model_name, number=number)
    file = networks.file(version=version, name=name)
    return downloads.attachment(
        storage.open_blob(file["sha256"]),
        name=name,
        media_type="application/octet-stream",
        size=file["bytes"],
        sha256=file["sha256"],
    )


@require_POST
def model_edit(request: HttpRequest, project_slug: str, model_name: str) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    description = request.POST.get("description", "")
    try:
        registry.describe(
            model=model_called(project, model_name), description=description, by=_person(request)
        )
    except Invalid as error:
        messages.error(request, error.detail)
    return redirect("training:model_detail", project.slug, model_name)


@require_POST
def model_alias(
    request: HttpRequest, project_slug: str, model_name: str, number: int
) -> HttpResponse:
    """Point an alias at this version, or (`remove`) take one away."""
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    version = registry.find(project=project, name=model_name, number=number)
    try:
        if removed := request.POST.get("remove", ""):
            registry.remove_alias(model=version.model, name=removed, by=_person(request))
        else:
            registry.set_alias(
                model=version.model,
                name=request.POST.get("name", ""),
                version=version,
                by=_person(request),
            )
    except Invalid as error:
        sentence = next(iter(error.fields.values()), [error.detail])[0]
        return version_page(request, project, version, sentence)
    return redirect("training:model_version", project.slug, model_name, number)


@require_POST
def model_inspect(
    request: HttpRequest, project_slug: str, model_name: str, number: int
) -> HttpResponse:
    """Another try for a version whose inspection failed."""
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    version = registry.find(project=project, name=model_name, number=number)
    networks.inspect_again(version=version, by=_person(request))
    return redirect("training:model_version", project.slug, model_name, number)


@sensitive_post_parameters("key")
@require_POST
def model_key(
    request: HttpRequest, project_slug: str, model_name: str, number: int
) -> HttpResponse:
    """Another key for the address of this version."""
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    version = registry.find(project=project, name=model_name, number=number)
    try:
        api_teachers.replace_key(
            version=version, key=request.POST.get("key", ""), by=_person(request)
        )
    except Invalid as error:
        return version_page(request, project, version, error.detail)
    messages.success(request, "The key is stored. Test the connection to see whether it works.")
    return redirect("training:model_version", project.slug, model_name, number)


def model_called(project: Project, name: str) -> RegisteredModel:
    found = (
        RegisteredModel.objects.select_related("project", "created_by")
        .filter(project=project, name=name)
        .first()
    )
    if found is None:
        raise Missing("There is no such model in this project.")
    return found


def _person(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user
