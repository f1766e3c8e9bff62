"""E-mail: without a server none is sent, and pages say so."""

from urllib.parse import urlsplit

from distillhub.lib import env
from distillhub.settings.base import SITE_URL

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
