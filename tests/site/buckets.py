"""Storage in a bucket of a real S3 server, for tests that hold a folder and S3 to the same."""

import time
from typing import Any

import boto3
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


def make_bucket(address: str, name: str) -> dict[str, str]:
    """A new bucket for processes of DistillHub; the environment that names it."""
    keys = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests"}
    client: Any = boto3.client(
        "s3",
        endpoint_url=address,
        region_name="us-east-1",
        aws_access_key_id="tests",
        aws_secret_access_key="tests",
    )
    client.create_bucket(Bucket=name)
    where = {"S3_BUCKET": name, "S3_ENDPOINT_URL": address, "S3_REGION": "us-east-1"}
    return keys | where
