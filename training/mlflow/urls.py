"""Every address that MLflow's clients ask, under `/mlflow/<slug>/`."""

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path, re_path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from projects.models import Role
from training.mlflow import experiments, files, logged_models, registry, runs
from training.mlflow.endpoint import Bytes, Endpoint, Handler, unknown

SPOKEN = "3.17.2"  # the version of MLflow whose protocol this is
ROOT = "mlflow/<slug:project_slug>"
API = f"{ROOT}/api/2.0/mlflow"
FILES = f"{ROOT}/api/2.0/mlflow-artifacts/artifacts"

app_name = "mlflow"


@login_not_required
@require_safe
def health(request: HttpRequest, project_slug: str) -> HttpResponse:
    return HttpResponse("OK", content_type="text/plain")


@login_not_required
@require_safe
def version(request: HttpRequest, project_slug: str) -> HttpResponse:
    return HttpResponse(SPOKEN, content_type="text/plain")


@login_not_required
@require_safe
def root(request: HttpRequest, project_slug: str) -> HttpResponse:
    """The address that clients print for people. What stands behind its # a browser carries on."""
    return redirect("training:mlflow_connect", project_slug)


def _at(address: str, name: str, *, reads: bool = False, **handlers: Handler) -> URLPattern:
    """`reads` says of a POST that it changes nothing."""
    roles = dict.fromkeys(handlers, Role.VIEWER) if reads else {}
    view = Endpoint.as_view(handlers=handlers, roles=roles, only_reads=reads)
    found: URLPattern = path(f"{API}/{address}", view, name=name)
    return found


LOGGED = "logged-models/<str:key>"

urlpatterns = [
    path(f"{ROOT}/", root, name="root"),
    path(f"{ROOT}/health", health, name="health"),
    path(f"{ROOT}/version", version, name="version"),
    # Experiments
    _at("experiments/get", "experiment_get", GET=experiments.get),
    _at("experiments/get-by-name", "experiment_get_by_name", GET=experiments.get_by_name),
    _at("experiments/create", "experiment_create", POST=experiments.create),
    _at(
        "experiments/search",
        "experiment_search",
        reads=True,
        GET=experiments.search,
        POST=experiments.search,
    ),
    _at("experiments/list", "experiment_list", GET=experiments.search),
    _at("experiments/update", "experiment_update", POST=experiments.update),
    _at("experiments/delete", "experiment_delete", POST=experiments.delete),
    _at("experiments/restore", "experiment_restore", POST=experiments.restore),
    _at("experiments/set-experiment-tag", "experiment_tag", POST=experiments.tag),
    _at("experiments/delete-experiment-tag", "experiment_untag", POST=experiments.untag),
    # Runs
    _at("runs/create", "run_create", POST=runs.create),
    _at("runs/get", "run_get", GET=runs.get),
    _at("runs/update", "run_update", POST=runs.update),
    _at("runs/delete", "run_delete", POST=runs.delete),
    _at("runs/restore", "run_restore", POST=runs.restore),
    _at("runs/search", "run_search", reads=True, POST=runs.search),
    _at("runs/log-metric", "run_log_metric", POST=runs.log_metric),
    _at("runs/log-parameter", "run_log_parameter", POST=runs.log_parameter),
    _at("runs/log-batch", "run_log_batch", POST=runs.log_batch),
    _at("runs/log-inputs", "run_log_inputs", POST=runs.log_inputs),
    _at("runs/outputs", "run_outputs", POST=runs.log_outputs),
    _at("runs/set-tag", "run_tag", POST=runs.set_tag),
    _at("runs/delete-tag", "run_untag", POST=runs.delete_tag),
    _at("metrics/get-history", "metric_history", GET=runs.history),
    _at("artifacts/list", "artifact_list", GET=runs.list_artifacts),
    # Logged models
    _at("logged-models", "logged_model_create", POST=logged_models.create),
    _at("logged-models/search", "logged_model_search", reads=True, POST=logged_models.search),
    _at(
        LOGGED,
        "logged_model",
        GET=logged_models.get,
        PATCH=logged_models.finish,
        DELETE=logged_models.delete,
    ),
    _at(f"{LOGGED}/params", "logged_model_params", POST=logged_models.log_params),
    _at(f"{LOGGED}/tags", "logged_model_tag", PATCH=logged_models.tag),
    _at(f"{LOGGED}/tags/<path:tag>", "logged_model_untag", DELETE=logged_models.untag),
    _at(f"{LOGGED}/artifacts/directories", "logged_model_files", GET=files.of_model),
    # Registered models
    _at("registered-models/create", "model_create", POST=registry.create),
    _at("registered-models/get", "model_get", GET=registry.get),
    _at("registered-models/search", "model_search", GET=registry.search),
    _at("registered-models/list", "model_list", GET=registry.search),
    _at("registered-models/update", "model_update", PATCH=registry.update),
    _at("registered-models/rename", "model_rename", POST=registry.rename),
    _at("registered-models/delete", "model_delete", DELETE=registry.delete),
    _at(
        "registered-models/get-latest-versions",
        "model_latest",
        reads=True,
        GET=registry.latest,
        POST=registry.latest,
    ),
    _at("registered-models/set-tag", "model_tag", POST=registry.tag),
    _at("registered-models/delete-tag", "model_untag", DELETE=registry.untag),
    _at(
        "registered-models/alias",
        "model_alias",
        GET=registry.at_alias,
        POST=registry.set_alias,
        DELETE=registry.remove_alias,
    ),
    _at("model-versions/create", "version_create", POST=registry.create_version),
    _at("model-versions/get", "version_get", GET=registry.get_version),
    _at("model-versions/update", "version_update", PATCH=registry.update_version),
    _at("model-versions/delete", "version_delete", DELETE=registry.delete_version),
    _at("model-versions/search", "version_search", GET=registry.search_versions),
    _at("model-versions/get-download-uri", "version_download_uri", GET=registry.download_uri),
    _at("model-versions/transition-stage", "version_move", POST=registry.move),
    _at("model-versions/set-tag", "version_tag", POST=registry.tag_version),
    _at("model-versions/delete-tag", "version_untag", DELETE=registry.untag_version),
    # Files
    path(FILES, Endpoint.as_view(handlers={"GET": files.listing}), name="files"),
    path(
        f"{FILES}/<path:path>",
        Endpoint.as_view(
            handlers={"GET": files.get, "PUT": files.put, "DELETE": files.delete},
            parser_classes=(Bytes,),
        ),
        name="file",
    ),
    re_path(r"^mlflow/(?P<rest>.*)$", csrf_exempt(login_not_required(unknown)), name="unknown"),
]
