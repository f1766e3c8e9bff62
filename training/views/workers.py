"""The machines that train."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers

from projects.models import User
from training.services import workers


@require_safe
@vary_on_headers("HX-Request")
@require_safe
def worker_list(request: HttpRequest) -> HttpResponse:
    assert isinstance(request.user, User)
    listed = workers.listed(by=request.user)
    context = {
        "title": "Workers",
        "section": "workers",
        "workers": [(worker, workers.state(worker)) for worker in listed],
        "queues": workers.queues(by=request.user),
    }
    name = (
        "training/_workers.html"
        if request.headers.get("HX-Request")
        else "training/worker_list.html"
    )
    return render(request, name, context)
