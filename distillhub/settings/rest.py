"""The REST API and its description."""

from distillhub.lib import env

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "projects.api.authentication.TokenAuthentication",
        "projects.api.authentication.BrowserSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": [
        "rest_framework.permissions.IsAuthenticated",
        "projects.api.authentication.TokenScopeAllows",
        "projects.api.authentication.TokenProjectAllows",
        "distillhub.lib.queries.ParametersAreKnown",
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
