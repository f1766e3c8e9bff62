"""One name for what a request began, from the browser to the line that a worker logs.

X-Request-ID: 9f2c…    of the proxy in front if it gave one, else made here; in every answer
[request=9f2c…]        in every line that the web process logs meanwhile
message header         of every job that it sends, and so in every line of that job
"""

import re
import secrets
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from distillhub.lib import told

HEADER = "X-Request-ID"
#: Of a message of the queue.
MESSAGE = "distillhub_request"
#: What is taken over from others stands in our logs: nothing that could look like more than a name.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{7,63}")


def made() -> str:
    return secrets.token_hex(8)


def checked(name: object) -> str:
    """The name if it is one, else none."""
    return name if isinstance(name, str) and NAME.fullmatch(name) else ""


def current() -> str:
    """Of the request that is answered, or whose job is done; "" outside of both."""
    return str(told.facts().get("request", ""))


class RequestIdMiddleware:
    """The first of all: what others log is told of the request, too."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        name = checked(request.headers.get(HEADER)) or made()
        with told.about(request=name):
            response = self.get_response(request)
        response.headers[HEADER] = name
        return response
