"""Storage in a bucket of a real S3 server, for tests that hold a folder and S3 to the same."""

import time
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.files.storage import storages


def use_s3(address: str, settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A new bucket as the storage; its connection."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "tests")
    options = {
        "bucket_name": f"bucket-{time.monotonic_ns()}",
        "endpoint_url": address,
        "region_name": "us-east-1",
        "location": "hub",
        "file_overwrite": False,
    }
    settings.STORAGES = settings.STORAGES | {
        "default": {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options}
    }
    backend: Any = storages["default"]
    backend.bucket.create()
    return backend.bucket
