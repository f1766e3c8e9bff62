from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from distillhub.lib import exposition, http
from training.services import telemetry


@login_not_required
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """For Prometheus; to others there is nothing here."""
    if not exposition.is_allowed(request):
        return http.not_found(request)
    text = exposition.text(telemetry.families())
    return HttpResponse(text, content_type=exposition.CONTENT_TYPE)
