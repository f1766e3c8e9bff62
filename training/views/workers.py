"""The machines that train."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe
from django.views.decorators.vary import vary_on_headers

from projects.models import User
from training.services import teacher_outputs, workers


@require_safe
@vary_on_headers("HX-Request")
@require_safe
def worker_list(request: HttpRequest) -> HttpResponse:
    assert isinstance(request.user, User)
    listed = workers.listed(by=request.user)
    stored = teacher_outputs.listed(by=request.user)
    context = {
        "title": "Workers",
        "section": "workers",
        "workers": [(worker, workers.state(worker)) for worker in listed],
        "queues": workers.queues(by=request.user),
        "stored": stored,
        "store_sums": teacher_outputs.sums(shown=stored),
    }
    name = (
        "training/_workers.html"
        if request.headers.get("HX-Request")
        else "training/worker_list.html"
    )
    return render(request, name, context)


@require_POST
def teacher_output_free(request: HttpRequest, entry_id: int) -> HttpResponse:
    assert isinstance(request.user, User)
    teacher_outputs.free(entry_id=entry_id, by=request.user)
    return redirect("training:worker_list")
