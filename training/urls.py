from django.urls import URLPattern, path

from training.views import (
    exports,
    gates,
    home,
    maps,
    models,
    patterns,
    queue,
    recipes,
    run_actions,
    run_form,
    run_reviews,
    runs,
    storage,
    studies,
    workers,
)

app_name = "training"

MODEL = "p/<slug:project_slug>/models/<str:model_name>"
VERSION = f"{MODEL}/<int:number>"
DATASET = "p/<slug:project_slug>/datasets/<str:dataset_name>/<int:number>"
STUDY = "p/<slug:project_slug>/studies/<int:number>"
RUN = "p/<slug:project_slug>/runs/<int:number>"

urlpatterns: list[URLPattern] = [
    path("", home.home, name="home"),
    path("workers/", workers.worker_list, name="worker_list"),
    path("workers/live/", workers.worker_live, name="worker_live"),
    path("workers/<int:worker_id>/drain/", workers.worker_drain, name="worker_drain"),
    path("workers/<int:worker_id>/resume/", workers.worker_resume, name="worker_resume"),
    path(
        "workers/teacher-outputs/<int:entry_id>/free/",
        workers.teacher_output_free,
        name="teacher_output_free",
    ),
    path("queue/", queue.queue, name="queue"),
    path("storage/", storage.storage, name="storage"),
    path("storage/<int:use_id>/free/", storage.storage_free, name="storage_free"),
    path("p/<slug:project_slug>/storage/", storage.project_storage, name="project_storage"),
    path("recipes/", recipes.recipes, name="recipes"),
    path("patterns/", patterns.patterns, name="patterns"),
    path("p/<slug:project_slug>/", home.project_overview, name="project_overview"),
    path("p/<slug:project_slug>/teachers/", models.teacher_list, name="teacher_list"),
    path("p/<slug:project_slug>/students/", models.student_list, name="student_list"),
    path("p/<slug:project_slug>/models/new/", models.model_new, name="model_new"),
    path(f"{MODEL}/", models.model_detail, name="model_detail"),
    path(f"{MODEL}/edit/", models.model_edit, name="model_edit"),
    path(f"{VERSION}/", models.model_version, name="model_version"),
    path(f"{VERSION}/download/", models.model_download, name="model_download"),
    path(f"{VERSION}/files/<path:name>", models.model_file, name="model_file"),
    path(f"{VERSION}/aliases/", models.model_alias, name="model_alias"),
    path(f"{VERSION}/exports/", exports.model_exports, name="model_exports"),
    path(f"{VERSION}/gates/", gates.model_gates, name="model_gates"),
    path(f"{VERSION}/exports/<int:export_id>/keep/", exports.export_keep, name="export_keep"),
    path(
        f"{VERSION}/exports/<int:export_id>/download/",
        exports.export_download,
        name="export_download",
    ),
    path(f"{DATASET}/map/", maps.dataset_map, name="dataset_map"),
    path(f"{DATASET}/map/<int:map_id>/remove/", maps.dataset_map_remove, name="dataset_map_remove"),
    path(f"{DATASET}/rows/<int:row_id>/neighbours/", maps.row_neighbours, name="row_neighbours"),
    path(f"{VERSION}/key/", models.model_key, name="model_key"),
    path(f"{VERSION}/inspect/", models.model_inspect, name="model_inspect"),
    path("p/<slug:project_slug>/studies/", studies.study_list, name="study_list"),
    path(f"{STUDY}/", studies.study_detail, name="study_detail"),
    path(f"{STUDY}/edit/", studies.study_edit, name="study_edit"),
    path(f"{STUDY}/cancel/", studies.study_cancel, name="study_cancel"),
    path(f"{RUN}/seeds/", studies.run_more_seeds, name="run_more_seeds"),
    path("p/<slug:project_slug>/runs/", runs.run_list, name="run_list"),
    path("p/<slug:project_slug>/runs/new/", run_form.run_new, name="run_new"),
    path(f"{RUN}/", runs.run_detail, name="run_detail"),
    path(f"{RUN}/live/", runs.run_live, name="run_live"),
    path(f"{RUN}/cancel/", run_actions.run_cancel, name="run_cancel"),
    path(f"{RUN}/pause/", run_actions.run_pause, name="run_pause"),
    path(f"{RUN}/retry/", run_actions.run_retry, name="run_retry"),
    path(f"{RUN}/move/", run_actions.run_move, name="run_move"),
    path(f"{RUN}/priority/", run_actions.run_priority, name="run_priority"),
    path(f"{RUN}/review/", run_reviews.run_review, name="run_review"),
    path(f"{RUN}/slices/", run_actions.run_slices, name="run_slices"),
    path(f"{RUN}/resume/", run_actions.run_resume, name="run_resume"),
    path(f"{RUN}/edit/", run_actions.run_edit, name="run_edit"),
    path(f"{RUN}/delete/", run_actions.run_delete, name="run_delete"),
    path(f"{RUN}/artifacts/<path:name>", run_actions.artifact_download, name="artifact_download"),
]
