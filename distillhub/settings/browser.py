"""What browsers are told: content security, HTTPS and cookies."""

from csp.constants import NONE, SELF

from distillhub.lib import env
from distillhub.settings.base import SITE_URL

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
