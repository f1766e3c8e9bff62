"""What the product tells of itself: logs, traces, metrics."""

from distillhub.lib import env
from distillhub.settings.browser import SECURE_PROXY_SSL_HEADER

LOG_FORMAT = env.one_of("LOG_FORMAT", ["line", "json"], "line")
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
