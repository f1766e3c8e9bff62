"""Where files are kept, how they come, and the static ones of the site."""

from distillhub.lib import env
from distillhub.settings.base import BASE_DIR, DISTILLHUB_HOME

# A folder of this machine, or one that is named because several mount it.
DISTILLHUB_FILES = env.text("DISTILLHUB_FILES")
MEDIA_ROOT = env.path("DISTILLHUB_FILES", str(DISTILLHUB_HOME / "files"))
S3_BUCKET = env.text("S3_BUCKET")
if S3_BUCKET:
    try:
        from botocore.config import Config as _S3Config
    except ImportError:
        raise env.BadSetting(
            "S3_BUCKET needs the extra s3: pip install 'distillhub[s3]'."
        ) from None
    _files: dict[str, object] = {
        "BACKEND": "storages.backends.s3.S3Storage",
        "OPTIONS": {
            "bucket_name": S3_BUCKET,
            "endpoint_url": env.text("S3_ENDPOINT_URL") or None,
            "region_name": env.text("S3_REGION") or None,
            "location": env.text("S3_PREFIX"),
            "file_overwrite": False,
            "client_config": _S3Config(
                signature_version="s3v4",
                connect_timeout=5,
                read_timeout=30,
                retries={"mode": "standard", "max_attempts": 3},
            ),
        },
    }
else:
    _files = {"BACKEND": "django.core.files.storage.FileSystemStorage"}

STORAGES = {
    "default": _files,
    "staticfiles": {"BACKEND": "distillhub.lib.static.HashedAndCompressed"},
}
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
# Collected once per copy of the code, whatever the home folder: it is code, not data.
STATIC_ROOT = env.path("STATIC_ROOT", str(BASE_DIR / "staticfiles"))
WHITENOISE_KEEP_ONLY_HASHED_FILES = False
FILE_UPLOAD_TEMP_DIR = DISTILLHUB_HOME / "uploading"
FILE_UPLOAD_TEMP_DIR.mkdir(exist_ok=True)
FILE_UPLOAD_MAX_MEMORY_SIZE = 1 << 20
FILE_UPLOAD_HANDLERS = [
    "distillhub.lib.uploads.SizeLimit",
    "django.core.files.uploadhandler.MemoryFileUploadHandler",
    "distillhub.lib.uploads.OnDisk",
]
DATA_UPLOAD_MAX_MEMORY_SIZE = 10 << 20
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2000

# The largest upload, in MiB, and what one person may have of unfinished ones.
DISTILLHUB_MAX_UPLOAD_MIB = env.integer("DISTILLHUB_MAX_UPLOAD_MIB", 2048)
DISTILLHUB_UPLOAD_QUOTA_MIB = env.integer(
    "DISTILLHUB_UPLOAD_QUOTA_MIB", 4 * DISTILLHUB_MAX_UPLOAD_MIB
)
