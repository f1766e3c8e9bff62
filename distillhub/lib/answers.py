"""What every answer of REST bears: how much may still be asked, and a tag by which it is known
again, so that what has not changed is not sent a second time."""

import hashlib
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils.cache import get_conditional_response, patch_vary_headers

from distillhub.lib import rates

Answer = Callable[[HttpRequest], HttpResponse]


class AnswersMiddleware:
    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if request.method in {"GET", "HEAD"} and response.status_code == 200:
            response = _unless_known(request, response)
        taken = getattr(request, "rate", None)
        if isinstance(taken, rates.Taken):
            response.headers["RateLimit-Policy"] = taken.limit.policy
            response.headers["RateLimit"] = taken.told
        return response


def _unless_known(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """304 to who has it already (RFC 9110, section 13.1.2). Files have the sha256 of their content;
    JSON gets one here, weak, since its bytes are no promise."""
    if request.path_info.startswith("/api/v1/"):
        patch_vary_headers(response, ["Authorization"])
        is_json = response.headers.get("Content-Type", "").startswith("application/json")
        if is_json and not response.streaming and "ETag" not in response.headers:
            tag = hashlib.sha256(response.content).hexdigest()[:32]
            response.headers["ETag"] = f'W/"{tag}"'
            response.headers.setdefault("Cache-Control", "private, no-cache")
    tag = response.headers.get("ETag", "")
    if not tag or "If-None-Match" not in request.headers or "Range" in request.headers:
        return response
    known = get_conditional_response(request, etag=tag, response=response)
    if known is None or known is response or known.status_code != 304:
        return response
    if file := getattr(response, "file_to_stream", None):
        file.close()
    return known
