"""What a person does to a run, and takes from it."""

from collections.abc import Callable

from django.contrib import messages
from django.http import FileResponse, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from distillhub.lib import downloads
from distillhub.lib.errors import Conflict, DomainError
from projects import permissions
from projects.models import Role, User
from training.models import Run
from training.services import artifacts, queue, run_removal, runs, tracked_files
from training.services import run_slices as slices


@require_POST
def run_cancel(request: HttpRequest, project_slug: str, number: int) -> HttpResponse:
    def cancel(run: Run, by: User) -> str:
        runs.cancel(run=run, by=by)
        return "Cancelled." if run.is_final else "It writes a checkpoint and stops."

    return _done(request, project_slug, number, cancel)


@require_POST
def run_pause(request: HttpRequest, project_slug: str, number: int) -> HttpResponse:
    def pause(run: Run, by: User) -> str:
        runs.pause(run=run, by=by)
        return "It writes a checkpoint and pauses." if run.is_pausing else "Paused."

    return _done(request, project_slug, number, pause)


@require_POST
def run_resume(request: HttpRequest, project_slug: str, number: int) -> HttpResponse:
    def resume(run: Run, by: User) -> str:
        runs.resume(run=run, by=by)
        if run.status in run.WORKING:
            return "It goes on."
        return "Back in the queue, from its last sound checkpoint."

    return _done(request, project_slug, number, resume)


@require_POST
def run_retry(request: HttpRequest, project_slug: str, number: int) -> HttpResponse:
    def retry(run: Run, by: User) -> str:
        beginning = request.POST.get("start") == "beginning"
        runs.retry(run=run, beginning=beginning, by=by)
        start = "the beginning" if beginning else "its newest sound checkpoint"
        return f"Back in the queue, from {start}."

    return _done(request, project_slug, number, retry)


@require_POST
def run_move(request: HttpRequest, project_slug: str, number: int) -> HttpResponse:
    def move(run: Run, by: User) -> str:
        queue.move(run=run, to=request.POST.get("to", ""), by=by)
        return "Moved."

    return _done(request, project_slug, number, move)


@require_POST
def run_priority(request: HttpRequest, project_slug: str, number: int) -> HttpResponse:
    def prioritise(run: Run, by: User) -> str:
        queue.prioritise(run=run, priority=request.POST.get("priority", ""), by=by)
        return f"Its priority is {run.get_priority_display()}."

    return _done(request, project_slug, number, prioritise)


@require_POST
def run_slices(request: HttpRequest, project_slug: str, number: int) -> HttpResponse:
    """Have it evaluated on slices that were saved since."""
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    run = runs.find(project=project, number=number)
    try:
        told = slices.evaluate(run=run)
    except DomainError as error:
        messages.error(request, error.detail)
    else:
        messages.success(request, f"It is told by {len(told)} slices." if told else "No slices.")
    address = reverse("training:run_detail", args=[project.slug, run.number])
    return redirect(f"{address}?tab=evaluation")


@require_POST
def run_edit(request: HttpRequest, project_slug: str, number: int) -> HttpResponse:
    def edit(run: Run, by: User) -> str:
        tags = [tag.strip() for tag in request.POST.get("tags", "").split(",")]
        runs.edit(
            run=run,
            name=request.POST.get("name", "").strip(),
            notes=request.POST.get("notes", ""),
            tags=[tag for tag in tags if tag],
            colour=request.POST.get("colour"),
            by=by,
        )
        return "Saved."

    return _done(request, project_slug, number, edit)


@require_POST
def run_archive(request: HttpRequest, project_slug: str, number: int) -> HttpResponse:
    def archive(run: Run, by: User) -> str:
        runs.archive(run=run, by=by)
        return "Archived: it stands in no list unless asked."

    return _done(request, project_slug, number, archive)


@require_POST
def run_restore(request: HttpRequest, project_slug: str, number: int) -> HttpResponse:
    def restore(run: Run, by: User) -> str:
        runs.restore(run=run, by=by)
        return "Restored: it stands in lists again."

    return _done(request, project_slug, number, restore)


@require_POST
def run_delete(request: HttpRequest, project_slug: str, number: int) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug, at_least=Role.OWNER)
    run = runs.find(project=project, number=number)
    try:
        run_removal.delete(run=run)
    except Conflict as refused:
        messages.error(request, refused.detail)
        return redirect("training:run_detail", project.slug, run.number)
    messages.success(request, f"Run {run.number} is deleted.")
    return redirect("training:run_list", project.slug)


@require_safe
def artifact_download(
    request: HttpRequest, project_slug: str, number: int, name: str
) -> FileResponse:
    run = runs.find(project=permissions.project_for(request.user, project_slug), number=number)
    artifact = artifacts.find(run=run, name=name)
    return downloads.attachment(
        artifacts.open_file(artifact=artifact),
        name=f"{project_slug}-run-{number}-{artifact.name.replace('/', '-')}",
        media_type="application/octet-stream",
        size=artifact.bytes,
        sha256=artifact.sha256,
    )


@require_safe
def tracked_file(
    request: HttpRequest, project_slug: str, number: int, key: str, path: str
) -> FileResponse:
    """Of a run that is trained elsewhere."""
    run = runs.find(project=permissions.project_for(request.user, project_slug), number=number)
    file = tracked_files.beside(run=run, key=key, path=path)
    return downloads.attachment(
        tracked_files.open_file(file),
        name=file.path.rsplit("/", 1)[-1],
        media_type="application/octet-stream",
        size=file.bytes,
        sha256=file.sha256,
    )


def _done(
    request: HttpRequest, project_slug: str, number: int, act: Callable[[Run, User], str]
) -> HttpResponse:
    """Do it as an editor, say what happened, and show the run again, or the queue that it was
    asked from."""
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    assert isinstance(request.user, User)
    run = runs.find(project=project, number=number)
    try:
        messages.success(request, act(run, request.user))
    except DomainError as error:
        messages.error(request, error.detail)
    if request.POST.get("back") == "queue":
        return redirect("training:queue")
    return redirect("training:run_detail", project.slug, run.number)
