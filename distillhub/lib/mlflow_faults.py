"""Faults in the shape that MLflow's clients read: `{"error_code", "message"}`.

They try again seven times whatever is answered with 408, 429 or 500 to 504, which takes minutes; so
what was asked wrongly is never answered with one of these.
"""

from django.http import HttpResponse, JsonResponse

PREFIX = "/mlflow/"

#: What clients know a fault by: by our codes, and else by the status of its answer.
BY_CODE = {"taken": "RESOURCE_ALREADY_EXISTS", "name_taken": "RESOURCE_ALREADY_EXISTS"}
BY_STATUS = {
    400: "INVALID_PARAMETER_VALUE",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    405: "BAD_REQUEST",
    409: "RESOURCE_CONFLICT",
    413: "BAD_REQUEST",
    429: "REQUEST_LIMIT_EXCEEDED",
    503: "TEMPORARILY_UNAVAILABLE",
}


def told(status: int, sentence: str, code: str = "") -> HttpResponse:
    """What exists already is a fault of the request there, and no conflict."""
    if code in BY_CODE:
        return _answer(400, BY_CODE[code], sentence)
    return _answer(status, BY_STATUS.get(status, "INTERNAL_ERROR"), sentence)


def nowhere(method: str, path: str) -> HttpResponse:
    """What newer clients ask for, and do without."""
    return _answer(404, "ENDPOINT_NOT_FOUND", f"There is no endpoint {method} {path[:200]}.")


def _answer(status: int, word: str, sentence: str) -> HttpResponse:
    return JsonResponse({"error_code": word, "message": sentence}, status=status)
