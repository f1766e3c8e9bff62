"""One settings file; machines differ by environment variables, each documented in docs/settings.md.

Without any variable everything is embedded: SQLite, Celery's filesystem transport and a local
folder, all inside DISTILLHUB_HOME.
"""

import os
import secrets
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from csp.constants import NONE, SELF

from distillhub.lib import broker, env

BASE_DIR = Path(__file__).resolve().parent.parent

# Where everything lives that is not code.
DISTILLHUB_HOME = env.path("DISTILLHUB_HOME", "~/.distillhub")
DISTILLHUB_HOME.mkdir(parents=True, exist_ok=True)


def _secret_key() -> str:
    """From the environment, else made once and kept readable by its owner only."""
    if key := env.text("SECRET_KEY"):
        return key
    file = DISTILLHUB_HOME / "secret_key"
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return file.read_text().strip()
    key = secrets.token_urlsafe(64)
    with os.fdopen(handle, "w") as out:
        out.write(key)
    return key


SECRET_KEY = _secret_key()
# What seals stored keys of APIs, newest first; none: a file in the home folder (lib/secrets.py).
DISTILLHUB_SECRET_KEYS = env.words("DISTILLHUB_SECRET_KEYS")
# Hosts and networks (10.0.0.0/8) inside, which API teachers and webhooks may reach nevertheless.
DISTILLHUB_OUTGOING_ALLOW = env.places("DISTILLHUB_OUTGOING_ALLOW")
DEBUG = env.boolean("DEBUG", False)
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS")
SITE_URL = env.text("SITE_URL", "http://localhost:8000")

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "distillhub.apps.StaticFiles",
    "django.contrib.humanize",
    "csp",
    "django_htmx",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.usersessions",
    "axes",
    "rest_framework",
    "drf_spectacular",
    "distillhub",
    "projects",
    "training",
]

MIDDLEWARE = [
    "distillhub.lib.request_ids.RequestIdMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "distillhub.lib.exposition.LatencyMiddleware",
    "distillhub.lib.answers.AnswersMiddleware",
    "csp.middleware.CSPMiddleware",
    "distillhub.lib.http.SecurityHeadersMiddleware",
    "distillhub.lib.http.RefuseNulMiddleware",
    "distillhub.lib.http.ProbesMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "projects.views.auditing.AuditMiddleware",
    "distillhub.lib.http.RefuseNulInFormsMiddleware",
    "distillhub.lib.http.TimeZoneMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "distillhub.lib.http.DomainErrorMiddleware",
]

ROOT_URLCONF = "distillhub.urls"
ASGI_APPLICATION = "distillhub.asgi.application"
WSGI_APPLICATION = "distillhub.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "distillhub.lib.readiness.away",
                "projects.views.favourites.at_hand",
                "projects.services.sign_in.ways_in",
            ],
            "builtins": ["distillhub.templatetags.ui"],
        },
    },
]

# Database -------------------------------------------------------------------------------------


#: Where the network swallows packets, a connection is given up within about half a minute instead
#: of two hours: idle (or waiting for an answer) after two probes, with something unacknowledged
#: after `tcp_user_timeout` milliseconds. libpq leaves out what an operating system has not.
KEEPALIVES = {
    "keepalives": 1,
    "keepalives_idle": 20,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
DATABASE_OPTIONS = {
    *("sslmode", "sslrootcert", "sslcert", "sslkey", "connect_timeout", "options"),
    *KEEPALIVES,
}


def _database(url: str) -> dict[str, object]:
    """`postgres://user:password@host:port/name?sslmode=require`, or SQLite in the home folder."""
    if not url:
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": DISTILLHUB_HOME / "distillhub.sqlite3",
            # A file, so that tests meet the same locks as people do.
            "TEST": {"NAME": DISTILLHUB_HOME / "test.sqlite3"},
            "OPTIONS": {
                # A writer takes the lock when its transaction begins and waits for its turn;
                # without IMMEDIATE, two writers meet "database is locked" in mid-transaction.
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,  # seconds
                "init_command": (
                    "PRAGMA journal_mode=WAL;"
                    "PRAGMA synchronous=NORMAL;"
                    "PRAGMA mmap_size=134217728;"
                    "PRAGMA cache_size=2000;"
                ),
            },
        }
    parts = urlsplit(url)
    if parts.scheme not in {"postgres", "postgresql"}:
        raise env.BadSetting("DATABASE_URL must begin with postgres:// (or be unset, for SQLite).")
    asked = dict(parse_qsl(parts.query))
    is_pooled = asked.pop("pgbouncer", "false") == "true"
    if unknown := sorted(set(asked) - DATABASE_OPTIONS):
        raise env.BadSetting(f"DATABASE_URL has an option that is not known: {unknown[0]}.")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": parts.port or "",
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": True,
        # A pool that lends a connection for a transaction keeps no cursor between two.
        "DISABLE_SERVER_SIDE_CURSORS": is_pooled,
        "OPTIONS": {"connect_timeout": 5} | KEEPALIVES | asked,
    }


DATABASES = {"default": _database(env.text("DATABASE_URL"))}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# People ---------------------------------------------------------------------------------------

AUTH_USER_MODEL = "projects.User"
LOGIN_URL = "projects:sign_in"
LOGIN_REDIRECT_URL = "training:home"
LOGOUT_REDIRECT_URL = "projects:sign_in"
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 10},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]

# The flows are django-allauth's, the pages ours, and guesses are counted before they are tried, by
# django-axes' rules and a handler of our own (docs/decisions/0034-accounts.md).
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AXES_HANDLER = "projects.services.guesses.Handler"
AXES_LOCKOUT_PARAMETERS = ["username", "ip_address"]
AXES_VERBOSE = False
# Our pages and REST say themselves what is locked, and for how long: no middleware of its own.
SILENCED_SYSTEM_CHECKS = ["axes.W002"]
# How many wrong passwords or codes lock a person, and how many of one address (an office) are
# answered, within so many minutes.
DISTILLHUB_GUESSES = env.integer("DISTILLHUB_GUESSES", 10)
DISTILLHUB_GUESSES_OF_ADDRESS = env.integer("DISTILLHUB_GUESSES_OF_ADDRESS", 200)
DISTILLHUB_GUESS_MINUTES = env.integer("DISTILLHUB_GUESS_MINUTES", 15)
# Whose addresses are believed: that which the last proxies of so many in front of us wrote down.
PROXY_COUNT = env.integer("PROXY_COUNT", 1)

# Who may make an account: everybody, whoever is invited, or nobody.
SIGN_UP = env.text("SIGN_UP", "invitation")
if SIGN_UP not in {"open", "invitation", "closed"}:
    raise env.BadSetting(f"SIGN_UP must be open, invitation or closed; it is {SIGN_UP!r}.")
INVITATION_DAYS = env.integer("INVITATION_DAYS", 7)
# Single sign-on by OpenID Connect.
OIDC_ISSUER = env.text("OIDC_ISSUER").rstrip("/")
OIDC_CLIENT_ID = env.text("OIDC_CLIENT_ID")
OIDC_CLIENT_SECRET = env.text("OIDC_CLIENT_SECRET")
OIDC_NAME = env.text("OIDC_NAME", "single sign-on")
OIDC_DOMAINS = [name.lower() for name in env.words("OIDC_DOMAINS")]
if OIDC_ISSUER and not OIDC_CLIENT_ID:
    raise env.BadSetting("OIDC_ISSUER needs OIDC_CLIENT_ID: how the provider knows us.")

_email_set = bool(env.text("EMAIL_URL"))
ACCOUNT_ADAPTER = "projects.services.sign_in.Adapter"
ACCOUNT_FORMS = {
    "signup": "projects.account_forms.SignUpForm",
    "reset_password": "projects.account_forms.ResetForm",
    "reset_password_from_key": "projects.account_forms.NewPasswordForm",
    "reauthenticate": "projects.account_forms.ReauthenticateForm",
}
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "mandatory" if _email_set else "none"
ACCOUNT_CHANGE_EMAIL = True  # the old address stays until the new one is confirmed
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False  # nobody makes us write to strangers
ACCOUNT_EMAIL_NOTIFICATIONS = _email_set
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_LOGIN_ON_EMAIL_CONFIRMATION = True  # in the browser that signed up
ACCOUNT_USERNAME_MIN_LENGTH = 2
ACCOUNT_REAUTHENTICATION_REQUIRED = True  # before another way in is connected
ACCOUNT_REAUTHENTICATION_TIMEOUT = 15 * 60  # seconds
# Guesses are counted by us, over all processes; these are of this process alone.
ACCOUNT_RATE_LIMITS = {"login": None, "login_failed": None, "reauthenticate": None}
SOCIALACCOUNT_ADAPTER = "projects.services.sign_in.SingleSignOnAdapter"
SOCIALACCOUNT_FORMS = {"signup": "projects.account_forms.SingleSignUpForm"}
SOCIALACCOUNT_ONLY = False
SOCIALACCOUNT_AUTO_SIGNUP = True
SOCIALACCOUNT_EMAIL_AUTHENTICATION = True  # by an address that is confirmed on both sides
SOCIALACCOUNT_EMAIL_AUTHENTICATION_AUTO_CONNECT = True
SOCIALACCOUNT_LOGIN_ON_GET = False
SOCIALACCOUNT_STORE_TOKENS = False
SOCIALACCOUNT_REQUESTS_TIMEOUT = 10  # seconds
SOCIALACCOUNT_OPENID_CONNECT_URL_PREFIX = ""
SOCIALACCOUNT_PROVIDERS: dict[str, object] = {}
if OIDC_ISSUER:
    SOCIALACCOUNT_PROVIDERS["openid_connect"] = {
        "OAUTH_PKCE_ENABLED": True,
        "APPS": [
            {
                "provider_id": "oidc",
                "name": OIDC_NAME,
                "client_id": OIDC_CLIENT_ID,
                "secret": OIDC_CLIENT_SECRET,
                "settings": {"server_url": OIDC_ISSUER},
            }
        ],
    }
MFA_ADAPTER = "projects.services.second_factor.Adapter"
MFA_FORMS = {
    "authenticate": "projects.account_forms.CodeForm",
    "reauthenticate": "projects.account_forms.CodeAgainForm",
    "activate_totp": "projects.account_forms.ActivateForm",
}
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_TOTP_ISSUER = "DistillHub"
MFA_TOTP_TOLERANCE = 1  # codes of the 30 seconds before and after are good, too
MFA_ALLOW_UNVERIFIED_EMAIL = not _email_set

# Queue ----------------------------------------------------------------------------------------
# A message is only a wake-up call; the row of a run owns the run (docs/architecture.md).

REDIS_URL = env.text("REDIS_URL")
if REDIS_URL:
    broker.register_redis()
    CELERY_BROKER_URL = REDIS_URL
    CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, object] = {
        "visibility_timeout": 3600,
        # Without these two a lost message is only swept every 100 s, whatever the time-out.
        "unacked_restore_interval": 2,
        "unacked_restore_throttle": 1,
        "socket_timeout": 5,
        "socket_connect_timeout": 5,
        "health_check_interval": 10,
    }
else:
    _broker = DISTILLHUB_HOME / "broker"
    for _folder in ("queue", "control", "processed"):
        (_broker / _folder).mkdir(parents=True, exist_ok=True)
    CELERY_BROKER_URL = broker.register()
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(_broker / "queue"),
        "data_folder_out": str(_broker / "queue"),
        "processed_folder": str(_broker / "processed"),
        "control_folder": str(_broker / "control"),
        "store_processed": False,
        "polling_interval": 0.1,
    }
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0, "interval_max": 0.2}
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TIMEZONE = "UTC"
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BEAT_SCHEDULE_FILENAME = str(DISTILLHUB_HOME / "beat-schedule")
# What a worker holds is another's when it was silent for so long. It says that it lives four times
# within, and three times it is looked who does not.
DISTILLHUB_LEASE_SECONDS = max(5, env.integer("DISTILLHUB_LEASE_SECONDS", 45))
# A session of PostgreSQL that does nothing with its transaction for so long is ended: what froze
# within one holds what others take over when its lease is over. 0: as the server has it.
DISTILLHUB_IDLE_TRANSACTION_SECONDS = env.integer(
    "DISTILLHUB_IDLE_TRANSACTION_SECONDS", max(30, DISTILLHUB_LEASE_SECONDS)
)
# Messages go stale by the clocks of two machines, which may be hours apart.
_stale = {"expires": 3 * 3600}
CELERY_BEAT_SCHEDULE = {
    "requeue lost runs": {
        "task": "training.reap",
        "schedule": DISTILLHUB_LEASE_SECONDS / 3,
        "options": _stale,
    },
    "tell of events, and send what is due": {
        "task": "training.fan_out_events",
        "schedule": 15.0,
        "options": _stale,
    },
    "look at retrainings": {
        "task": "training.look_at_retrainings",
        "schedule": 15.0,
        "options": _stale,
    },
    "free what nothing names": {
        "task": "training.sweep_storage",
        "schedule": 6 * 3600.0,
        "options": _stale,
    },
    "delete what deleted runs measured": {
        "task": "training.sweep_metrics",
        "schedule": 60.0,
        "options": _stale,
    },
    "refresh the planner's statistics": {
        "task": "training.refresh_statistics",
        "schedule": 3600.0,
        "options": _stale,
    },
    "forget abandoned uploads": {
        "task": "projects.forget_uploads",
        "schedule": 3600.0,
        "options": _stale,
    },
    "forget old guesses": {
        "task": "projects.forget_guesses",
        "schedule": 3600.0,
        "options": _stale,
    },
    "requeue lost ingestions": {
        "task": "projects.requeue_ingestions",
        "schedule": DISTILLHUB_LEASE_SECONDS / 3,
        "options": _stale,
    },
}

# How many runs this machine trains at once, and how many CPU threads each may use.
DISTILLHUB_MAX_RUNS = env.integer("DISTILLHUB_MAX_RUNS", max(1, min(2, os.cpu_count() or 1)))
DISTILLHUB_RUN_THREADS = env.integer(
    "DISTILLHUB_RUN_THREADS", max(1, (os.cpu_count() or 1) // max(1, DISTILLHUB_MAX_RUNS))
)
# The most address space one run may take, in MiB; 0 for as much as there is.
DISTILLHUB_RUN_MEMORY_MIB = env.integer("DISTILLHUB_RUN_MEMORY_MIB", 0)
# A training that for so many seconds tells nothing, prints nothing and does nothing hangs, and is
# ended; one that is busy may be silent for twelve times as long. 0: it may hang.
DISTILLHUB_STALL_SECONDS = env.integer("DISTILLHUB_STALL_SECONDS", 1800)
# Predictions: models that this machine keeps warm and what they may take, the seconds after which
# they go when nobody asks, the seconds that an answer may take, and the CPU threads for it.
DISTILLHUB_WARM_MODELS = env.integer("DISTILLHUB_WARM_MODELS", 4)
DISTILLHUB_WARM_MIB = env.integer("DISTILLHUB_WARM_MIB", 2048)
DISTILLHUB_WARM_SECONDS = env.integer("DISTILLHUB_WARM_SECONDS", 600)
DISTILLHUB_PREDICT_SECONDS = env.integer("DISTILLHUB_PREDICT_SECONDS", 60)
DISTILLHUB_PREDICT_THREADS = env.integer(
    "DISTILLHUB_PREDICT_THREADS", max(1, (os.cpu_count() or 1) // 2)
)
# What a run's summary says of energy and cost, where the machine does not measure itself.
DISTILLHUB_WATTS_PER_CORE = env.decimal("DISTILLHUB_WATTS_PER_CORE", 15.0)
DISTILLHUB_PRICE_PER_HOUR = env.decimal("DISTILLHUB_PRICE_PER_HOUR", None)
# Stored teacher answers: how many MiB of them a machine keeps, and for how many days unused; 0 for
# no limit.
DISTILLHUB_TEACHER_OUTPUTS_MIB = env.integer("DISTILLHUB_TEACHER_OUTPUTS_MIB", 20_480)
DISTILLHUB_TEACHER_OUTPUTS_DAYS = env.integer("DISTILLHUB_TEACHER_OUTPUTS_DAYS", 60)
# Maps of rows: for how many days unused they stay; 0 for ever.
DISTILLHUB_MAP_DAYS = env.integer("DISTILLHUB_MAP_DAYS", 60)
# What this machine keeps of a bucket's files, in MiB; 0 for no limit.
DISTILLHUB_CACHE_MIB = env.integer("DISTILLHUB_CACHE_MIB", 20_480)
# Checkpoints in storage, from which another machine goes on (auto, always or off), and the seconds
# between two of a run; for how many days those of ended runs stay, and their folders and journals.
DISTILLHUB_SHARE_CHECKPOINTS = env.text("DISTILLHUB_SHARE_CHECKPOINTS", "auto")
if DISTILLHUB_SHARE_CHECKPOINTS not in {"auto", "always", "off"}:
    raise env.BadSetting(
        "DISTILLHUB_SHARE_CHECKPOINTS must be auto, always or off; "
        f"it is {DISTILLHUB_SHARE_CHECKPOINTS!r}."
    )
DISTILLHUB_SHARE_CHECKPOINTS_SECONDS = env.integer("DISTILLHUB_SHARE_CHECKPOINTS_SECONDS", 60)
DISTILLHUB_ENDED_RUN_DAYS = env.integer("DISTILLHUB_ENDED_RUN_DAYS", 14)
DISTILLHUB_JOURNAL_DAYS = env.integer("DISTILLHUB_JOURNAL_DAYS", 30)
DISTILLHUB_EXPORT_DAYS = env.integer("DISTILLHUB_EXPORT_DAYS", 0)
# The largest upload, in MiB, and the address of the model hub.
DISTILLHUB_MAX_UPLOAD_MIB = env.integer("DISTILLHUB_MAX_UPLOAD_MIB", 2048)
DISTILLHUB_UPLOAD_QUOTA_MIB = env.integer(
    "DISTILLHUB_UPLOAD_QUOTA_MIB", 4 * DISTILLHUB_MAX_UPLOAD_MIB
)
HF_ENDPOINT = env.text("HF_ENDPOINT", "https://huggingface.co")

# Files ----------------------------------------------------------------------------------------

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

# REST -----------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "projects.api.authentication.TokenAuthentication",
        "projects.api.authentication.BrowserSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": [
        "rest_framework.permissions.IsAuthenticated",
        "projects.api.authentication.TokenScopeAllows",
        "projects.api.authentication.TokenProjectAllows",
    ],
    "DEFAULT_RENDERER_CLASSES": ["distillhub.lib.rest.SparseRenderer"],
    "DEFAULT_THROTTLE_CLASSES": ["projects.api.limits.RateLimited"],
    "DEFAULT_PARSER_CLASSES": ["distillhub.lib.rest.SafeJSONParser"],
    "DEFAULT_PAGINATION_CLASS": "distillhub.lib.rest.Cursor",
    "PAGE_SIZE": 100,
    "EXCEPTION_HANDLER": "distillhub.lib.rest.answer_exception",
    "DEFAULT_SCHEMA_CLASS": "distillhub.lib.openapi.ByNoun",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
# Requests a minute, of each token or person; 0: as many as they like.
RATE_LIMIT_READ = max(0, env.integer("RATE_LIMIT_READ", 12_000))
RATE_LIMIT_WRITE = max(0, env.integer("RATE_LIMIT_WRITE", 6_000))
SPECTACULAR_SETTINGS = {
    "TITLE": "DistillHub",
    "DESCRIPTION": "Distil models, and the evidence that it helped.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "MemberRole": "projects.models.project.Role",
        "ModelRole": "projects.models.registry.RegisteredModel.ModelRole",
        "ColumnRole": [
            *("id", "split", "label", "input", "feature", "measure", "source", "extra"),
        ],
        "Problem": ["single_label", "multi_label", "regression"],
        "SplitName": ["train", "validation", "test"],
        "ReviewKind": "projects.models.review.ReviewQueue.Kind",
        "RunStatus": "training.models.run.Run.Status",
        "RunEnd": "training.services.tracking.ENDED",
        "StudyStatus": "training.models.study.Study.Status",
        "DatasetVersionStatus": "projects.models.dataset.DatasetVersion.Status",
        "ModelVersionStatus": "projects.models.registry.ModelVersion.Status",
        "ExportStatus": "training.models.export.Export.Status",
        "AlertSeverity": "training.engine.alerting.SEVERITIES",
        "AlertState": "training.engine.alerting.STATES",
        "AlertChannelKind": "training.models.incident.AlertChannel.Kind",
        "AlertMessageStatus": "training.models.incident.AlertMessage.Status",
        "RetrainingStatus": "training.models.retraining.Retraining.Status",
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "distillhub.lib.openapi.plain_anything",
        "distillhub.lib.openapi.sparse",
        "distillhub.lib.openapi.examples",
        "distillhub.lib.openapi.describe_errors",
    ],
}

# Browser --------------------------------------------------------------------------------------

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF],
        # Plotly draws with style attributes it sets itself; no inline <style> or script is served.
        "style-src": [SELF],
        "style-src-attr": ["'unsafe-inline'"],
        "img-src": [SELF, "data:", "blob:"],
        "media-src": [SELF],
        "font-src": [SELF],
        "connect-src": [SELF],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
HTTPS = env.boolean("HTTPS", SITE_URL.startswith("https://"))
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
SECURE_SSL_REDIRECT = HTTPS and env.boolean("SSL_REDIRECT", True)
# Machines ask for these: without TLS, and uncounted.
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
SECURE_REDIRECT_EXEMPT = [rf"^{address[1:]}$" for address in sorted(PROBES)]
SECURE_HSTS_SECONDS = 31536000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
BEHIND_PROXY = env.boolean("BEHIND_PROXY", False)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_PROXY else None
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_NAME = "distillhub_session"
CSRF_COOKIE_NAME = "distillhub_csrf"
CSRF_FAILURE_VIEW = "distillhub.lib.http.csrf_failure"
X_FRAME_OPTIONS = "DENY"

# E-mail: messages about incidents. Without a server none is sent, and pages say so.
EMAIL_URL = env.text("EMAIL_URL")
EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
if EMAIL_URL:
    _mail = env.mail_server("EMAIL_URL")
    EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    EMAIL_HOST, EMAIL_PORT = _mail.host, _mail.port
    EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = _mail.user, _mail.password
    EMAIL_USE_TLS, EMAIL_USE_SSL = _mail.starttls, _mail.tls
EMAIL_TIMEOUT = 20
DEFAULT_FROM_EMAIL = env.text(
    "EMAIL_FROM", f"DistillHub <distillhub@{urlsplit(SITE_URL).hostname or 'localhost'}>"
)

# Words and logs -------------------------------------------------------------------------------

LANGUAGE_CODE = "en-us"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"

LOG_FORMAT = env.text("LOG_FORMAT", "line")
if LOG_FORMAT not in {"line", "json"}:
    raise env.BadSetting(f"LOG_FORMAT must be line or json; it is {LOG_FORMAT!r}.")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"()": "distillhub.lib.told.Line"},
        "json": {"()": "distillhub.lib.told.Json"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    "root": {"handlers": ["console"], "level": env.text("LOG_LEVEL", "INFO")},
    "loggers": {
        "django.server": {"level": "WARNING"},
        "uvicorn.access": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
        "celery.worker.strategy": {"level": "WARNING"},
        # Whatever LOG_LEVEL is: what they tell of requests is what people ask and sign them with.
        **{
            name: {"level": "WARNING"}
            for name in ("openai", "httpx2", "httpcore2", "boto3", "botocore", "urllib3")
        },
    },
}

# Traces are for whom these name; the rest of OpenTelemetry's variables it reads itself.
DISTILLHUB_TRACES = not env.boolean("OTEL_SDK_DISABLED", False) and bool(
    env.text("OTEL_EXPORTER_OTLP_ENDPOINT") or env.text("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
)

# Who may read /metrics: whoever has the token, or is connected from one of these networks.
METRICS_TOKEN = env.text("METRICS_TOKEN")
METRICS_ALLOW = env.words("METRICS_ALLOW", "" if SECURE_PROXY_SSL_HEADER else "127.0.0.0/8,::1/128")
