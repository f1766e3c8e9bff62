"""Files of strangers, sent so that no browser runs them: as attachments, or as pictures that were
made anew, never sniffed, and in a sandbox whatever they hold."""

from typing import IO

from django.http import FileResponse, HttpResponse

SANDBOX = "default-src 'none'; sandbox"
A_YEAR = 31536000  # seconds: what is named by its content never changes


def attachment(
    stream: IO[bytes], *, name: str, media_type: str, size: int, sha256: str
) -> FileResponse:
    """A download of a stored file; its sha256 is its ETag. `stream` is closed when sent."""
    response = FileResponse(stream, as_attachment=True, filename=name, content_type=media_type)
    response.headers["Content-Length"] = str(size)
    response.headers["ETag"] = f'"{sha256}"'
    response.headers["Cache-Control"] = "private, no-cache"
    response.headers["Content-Security-Policy"] = SANDBOX
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def picture(png: bytes) -> HttpResponse:
    """A PNG that this server encoded itself, cacheable by the browser that may see it."""
    response = HttpResponse(png, content_type="image/png")
    response.headers["Cache-Control"] = f"private, max-age={A_YEAR}, immutable"
    response.headers["Content-Disposition"] = "inline"
    response.headers["Content-Security-Policy"] = SANDBOX
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
