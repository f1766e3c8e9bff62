"""The tus protocol 1.0.0 (https://tus.io/protocols/resumable-upload), with its extensions creation,
creation-with-upload, checksum, expiration and termination."""

import base64
import binascii
import io
from typing import IO, Any, ClassVar
from uuid import UUID

from django.http import HttpRequest, HttpResponseBase
from django.utils.http import http_date
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse
from rest_framework.views import APIView

from distillhub.lib.errors import DomainError, Invalid
from distillhub.lib.openapi import whole_list
from projects.models import ResumableUpload
from projects.permissions import person
from projects.services import resumable

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,checksum,expiration,termination"
BYTES = "application/offset+octet-stream"
MOST_METADATA = 8192  # characters


class OtherVersion(DomainError):
    """The client speaks another version of the protocol."""

    status, code = 412, "tus_version"


class Bytes(BaseParser):
    """The body as it stands."""

    media_type = BYTES

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        return stream


class ResumableUploadSerializer(serializers.ModelSerializer[ResumableUpload]):
    class Meta:
        model = ResumableUpload
        fields: ClassVar = ["id", "name", "bytes", "received", "sha256", "created_at", "expires_at"]
        read_only_fields: ClassVar = fields


class Tus(APIView):
    """Every answer says which version of the protocol is spoken here."""

    parser_classes = (Bytes,)

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        asked = request.headers.get("X-HTTP-Method-Override", "").upper()
        if request.method == "POST" and asked in {"PATCH", "DELETE", "HEAD"}:
            request.method = asked
        return super().dispatch(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        method = str(request.method).lower()
        if method not in {"get", "options"} and hasattr(self, method):
            spoken = request.headers.get("Tus-Resumable", "")
            if spoken != VERSION:
                raise OtherVersion(f"Send Tus-Resumable: {VERSION}; this version is spoken here.")

    def finalize_response(
        self, request: Request, response: Response, *args: Any, **kwargs: Any
    ) -> Response:
        response["Tus-Resumable"] = VERSION
        if response.status_code == OtherVersion.status:
            response["Tus-Version"] = VERSION
        response["Cache-Control"] = "no-store"
        return super().finalize_response(request, response, *args, **kwargs)

    def options(self, request: Request, *args: Any, **kwargs: Any) -> Response:  # type: ignore[override]
        headers = {
            "Tus-Version": VERSION,
            "Tus-Extension": EXTENSIONS,
            "Tus-Max-Size": str(resumable.most_bytes()),
            "Tus-Checksum-Algorithm": ",".join(resumable.DIGESTS),
        }
        return Response(status=204, headers=headers)


TUS_HEADER = OpenApiParameter("Tus-Resumable", str, OpenApiParameter.HEADER, required=True)


class UploadList(Tus):
    @extend_schema(
        operation_id="uploads_list",
        responses={200: whole_list(ResumableUploadSerializer)},
        summary="Your uploads under way",
    )
    def get(self, request: Request) -> Response:
        found = ResumableUpload.objects.filter(created_by=person(request))
        shown = ResumableUploadSerializer(found[: resumable.MOST_OPEN], many=True).data
        return Response({"results": shown, "next": None, "previous": None})

    @extend_schema(
        request={BYTES: bytes},
        responses={201: None},
        parameters=[
            TUS_HEADER,
            OpenApiParameter("Upload-Length", int, OpenApiParameter.HEADER, required=True),
            OpenApiParameter(
                "Upload-Metadata",
                str,
                OpenApiParameter.HEADER,
                description="`filename` and, to have the whole file verified, `sha256` (in "
                "hexadecimal), each followed by its value in base64, with commas between.",
            ),
        ],
        summary="Begin a resumable upload (tus 1.0)",
    )
    def post(self, request: Request) -> Response:
        told = _metadata(request.headers.get("Upload-Metadata", ""))
        upload = resumable.begin(
            name=told.get("filename") or told.get("name") or "upload",
            size=_whole(request, "Upload-Length"),
            sha256=told.get("sha256", ""),
            by=person(request),
        )
        if request.content_type == BYTES:
            upload = resumable.append(
                upload=upload,
                offset=0,
                stream=_sent(request),
                checksum=request.headers.get("Upload-Checksum", ""),
            )
        address = reverse("api_upload", [upload.pk], request=request)
        return Response(status=201, headers={"Location": address} | _standing(upload))


class UploadDetail(Tus):
    @extend_schema(responses=ResumableUploadSerializer, summary="An upload under way")
    def get(self, request: Request, resumable_id: UUID) -> Response:
        upload = resumable.find(upload_id=resumable_id, by=person(request))
        return Response(ResumableUploadSerializer(upload).data, headers=_standing(upload))

    @extend_schema(exclude=True)
    def head(self, request: Request, resumable_id: UUID) -> Response:
        upload = resumable.find(upload_id=resumable_id, by=person(request))
        return Response(
            status=200, headers=_standing(upload) | {"Upload-Length": str(upload.bytes)}
        )

    @extend_schema(
        request={BYTES: bytes},
        responses={204: None},
        parameters=[
            TUS_HEADER,
            OpenApiParameter("Upload-Offset", int, OpenApiParameter.HEADER, required=True),
            OpenApiParameter("Upload-Checksum", str, OpenApiParameter.HEADER),
        ],
        summary="Add to an upload",
        description="What arrives before a connection is lost is kept; HEAD says where to go on.",
    )
    def patch(self, request: Request, resumable_id: UUID) -> Response:
        upload = resumable.find(upload_id=resumable_id, by=person(request))
        upload = resumable.append(
            upload=upload,
            offset=_whole(request, "Upload-Offset"),
            stream=_sent(request),
            checksum=request.headers.get("Upload-Checksum", ""),
        )
        return Response(status=204, headers=_standing(upload))

    @extend_schema(parameters=[TUS_HEADER], responses={204: None}, summary="Discard an upload")
    def delete(self, request: Request, resumable_id: UUID) -> Response:
        upload = resumable.find(upload_id=resumable_id, by=person(request))
        resumable.discard(upload=upload, by=person(request))
        return Response(status=204)


def _sent(request: Request) -> IO[bytes]:
    """The body, which DRF leaves out where there is none."""
    body: Any = request.data
    return body if hasattr(body, "read") else io.BytesIO()


def _standing(upload: ResumableUpload) -> dict[str, str]:
    return {
        "Upload-Offset": str(upload.received),
        "Upload-Expires": http_date(upload.expires_at.timestamp()),
    }


def _whole(request: Request, header: str) -> int:
    text = request.headers.get(header, "")
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Invalid(f"Send {header}, a number of bytes.", fields={header: ["Not a number."]})
    return int(text)


def _metadata(header: str) -> dict[str, str]:
    """`filename d29yZHMuY3N2,sha256 ...`: a key and its value in base64. Raises Invalid."""
    if len(header) > MOST_METADATA:
        raise Invalid(f"Upload-Metadata has more than {MOST_METADATA:,} characters.")
    found = {}
    for pair in filter(None, (one.strip() for one in header.split(","))):
        key, _, encoded = pair.partition(" ")
        try:
            found[key] = base64.b64decode(encoded, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError, ValueError):
            raise Invalid(f"The value of {key[:50]} in Upload-Metadata is not base64.") from None
    return found
