"""Bodies that are too large are refused before they fill a disk: Django itself bounds fields, but
not files."""

from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.core.files.uploadhandler import FileUploadHandler

FORM = 16 << 20  # bytes of a body besides its files
FILES = 2  # of the largest size, in one body


class SizeLimit(FileUploadHandler):
    """First among FILE_UPLOAD_HANDLERS; passes everything on. Raises RequestDataTooBig."""

    def __init__(self, request: Any = None) -> None:
        super().__init__(request)
        self.most = settings.DISTILLHUB_MAX_UPLOAD_MIB << 20
        self.received = 0

    def handle_raw_input(
        self,
        input_data: Any,
        META: dict[str, str],  # noqa: N803 (Django's name)
        content_length: int,
        boundary: str,
        encoding: str | None = None,
    ) -> None:
        if content_length > FILES * self.most + FORM:
            raise RequestDataTooBig("The upload is larger than may be uploaded.")

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        self.received = 0

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes:
        self.received += len(raw_data)
        if self.received > self.most:
            raise RequestDataTooBig("A file is larger than may be uploaded.")
        return raw_data

    def file_complete(self, file_size: int) -> None:
        return None
