from django.urls import URLPattern, path

from training.api import (
    alert_channels,
    alerts,
    compare,
    exports,
    gates,
    incidents,
    inferences,
    lens,
    lineage,
    live_reviews,
    maps,
    methods,
    model_cards,
    models,
    monitor_reports,
    monitors,
    pareto,
    predictions,
    promotion,
    publishing,
    queue,
    recipes,
    reports,
    retrainings,
    run_bulk,
    run_imports,
    run_reviews,
    run_slices,
    runs,
    saved_views,
    serving,
    set_aside,
    storage,
    studies,
    sweeps,
    teacher_outputs,
    tracking,
    workers,
)

MODEL = "projects/<slug:project_slug>/models/<str:model_name>"
VERSION = f"{MODEL}/versions/<int:number>"
ALIAS = f"{MODEL}/aliases/<str:alias>"
EXPORT = f"{VERSION}/exports/<int:export_id>"
DATASET = "projects/<slug:project_slug>/datasets/<str:dataset_name>/versions/<int:number>"
RUNS = "projects/<slug:project_slug>/runs"
STUDIES = "projects/<slug:project_slug>/studies"
REPORTS = "projects/<slug:project_slug>/reports"
MONITORS = "projects/<slug:project_slug>/monitors"
MONITOR = f"{MONITORS}/<str:monitor_name>"
INCIDENTS = "projects/<slug:project_slug>/incidents"
INCIDENT = f"{INCIDENTS}/<int:number>"
CHANNELS = "projects/<slug:project_slug>/alert-channels"
CHANNEL = f"{CHANNELS}/<int:channel_id>"
RUN = f"{RUNS}/<int:number>"
RETRAININGS = "projects/<slug:project_slug>/retrainings"
RETRAINING = f"{RETRAININGS}/<int:number>"
IMPORTS = "projects/<slug:project_slug>/imports"
IMPORT = f"{IMPORTS}/<int:import_id>"

urlpatterns: list[URLPattern] = [
    path("projects/<slug:project_slug>/models/", models.ModelList.as_view(), name="api_models"),
    path(f"{MODEL}/", models.ModelDetail.as_view(), name="api_model"),
    path(f"{MODEL}/versions/", models.VersionList.as_view(), name="api_model_versions"),
    path(f"{VERSION}/", models.VersionDetail.as_view(), name="api_model_version"),
    path(f"{VERSION}/inspect/", models.VersionInspect.as_view(), name="api_model_inspect"),
    path(f"{MODEL}/key/", models.ModelKey.as_view(), name="api_model_key"),
    path(f"{VERSION}/download/", models.VersionDownload.as_view(), name="api_model_download"),
    path(f"{VERSION}/files/<path:name>", models.VersionFile.as_view(), name="api_model_file"),
    path(f"{MODEL}/predict/", serving.ModelPredict.as_view(), name="api_model_predict"),
    path(f"{VERSION}/predict/", serving.VersionPredict.as_view(), name="api_version_predict"),
    path(f"{VERSION}/exports/", exports.ExportList.as_view(), name="api_exports"),
    path(f"{EXPORT}/", exports.ExportDetail.as_view(), name="api_export"),
    path(f"{EXPORT}/download/", exports.ExportDownload.as_view(), name="api_export_download"),
    path(f"{VERSION}/gates/", gates.GateList.as_view(), name="api_gates"),
    path(f"{VERSION}/gates/<int:gate_id>/", gates.GateDetail.as_view(), name="api_gate"),
    path(f"{VERSION}/promote/", promotion.VersionPromote.as_view(), name="api_model_promote"),
    path(f"{MODEL}/promotions/", promotion.PromotionList.as_view(), name="api_promotions"),
    path(f"{ALIAS}/rules/", promotion.AliasRulesDetail.as_view(), name="api_alias_rules"),
    path(f"{ALIAS}/history/", promotion.AliasHistory.as_view(), name="api_alias_history"),
    path(f"{ALIAS}/rollback/", promotion.AliasRollback.as_view(), name="api_alias_rollback"),
    path(f"{VERSION}/card/", model_cards.VersionCard.as_view(), name="api_model_card"),
    path(
        f"{VERSION}/card/edits/",
        model_cards.VersionCardEdits.as_view(),
        name="api_model_card_edits",
    ),
    path(
        f"{VERSION}/card/README.md",
        model_cards.VersionCardDownload.as_view(),
        name="api_model_card_download",
    ),
    path(f"{VERSION}/publications/", publishing.PublicationList.as_view(), name="api_publications"),
    path(
        f"{VERSION}/publications/<int:publication_id>/",
        publishing.PublicationDetail.as_view(),
        name="api_publication",
    ),
    path(f"{MODEL}/hub-token/", publishing.HubToken.as_view(), name="api_hub_token"),
    path(f"{VERSION}/lineage/", lineage.VersionLineage.as_view(), name="api_model_lineage"),
    path(f"{DATASET}/maps/", maps.MapList.as_view(), name="api_maps"),
    path(f"{DATASET}/maps/<int:map_id>/", maps.MapDetail.as_view(), name="api_map"),
    path(f"{DATASET}/maps/<int:map_id>/points/", maps.MapPoints.as_view(), name="api_map_points"),
    path(f"{MODEL}/aliases/", models.AliasList.as_view(), name="api_model_aliases"),
    path(f"{MODEL}/aliases/<str:alias>/", models.AliasDetail.as_view(), name="api_model_alias"),
    path(f"{RUNS}/", runs.RunList.as_view(), name="api_runs"),
    path(f"{RUNS}/preview/", runs.RunPreview.as_view(), name="api_run_preview"),
    path(f"{RUNS}/preflight/", runs.RunPreflight.as_view(), name="api_run_preflight"),
    path(f"{IMPORTS}/", run_imports.RunImportList.as_view(), name="api_imports"),
    path(f"{IMPORT}/", run_imports.RunImportDetail.as_view(), name="api_import"),
    path(f"{IMPORT}/take/", run_imports.RunImportTake.as_view(), name="api_import_take"),
    path(f"{IMPORT}/again/", run_imports.RunImportAgain.as_view(), name="api_import_again"),
    path(f"{RUNS}/bulk/", run_bulk.RunBulk.as_view(), name="api_run_bulk"),
    path(f"{RUNS}/track/", tracking.RunTrack.as_view(), name="api_run_track"),
    path(f"{RUN}/end/", tracking.RunEnd.as_view(), name="api_run_end"),
    path(f"{RUN}/", runs.RunDetail.as_view(), name="api_run"),
    path(f"{RUN}/cancel/", runs.RunCancel.as_view(), name="api_run_cancel"),
    path(f"{RUN}/pause/", runs.RunPause.as_view(), name="api_run_pause"),
    path(f"{RUN}/retry/", runs.RunRetry.as_view(), name="api_run_retry"),
    path(f"{RUN}/move/", runs.RunMove.as_view(), name="api_run_move"),
    path(f"{RUN}/events/", runs.RunEvents.as_view(), name="api_run_events"),
    path(f"{RUN}/resume/", runs.RunResume.as_view(), name="api_run_resume"),
    path(f"{RUN}/clone/", runs.RunClone.as_view(), name="api_run_clone"),
    path(f"{RUN}/metrics/", runs.RunMetrics.as_view(), name="api_run_metrics"),
    path(f"{RUN}/logs/", runs.RunLogs.as_view(), name="api_run_logs"),
    path(f"{RUN}/logs/download/", runs.RunLogsDownload.as_view(), name="api_run_logs_download"),
    path(f"{RUN}/artifacts/", runs.RunArtifacts.as_view(), name="api_run_artifacts"),
    path(
        f"{RUN}/artifacts/<path:name>",
        runs.RunArtifactDownload.as_view(),
        name="api_run_artifact",
    ),
    path(f"{RUN}/evaluation/", runs.RunEvaluation.as_view(), name="api_run_evaluation"),
    path(f"{RUN}/lens/", lens.RunLens.as_view(), name="api_run_lens"),
    path(f"{RUN}/predictions/", predictions.Predictions.as_view(), name="api_run_predictions"),
    path(
        f"{RUN}/predictions/csv/",
        predictions.PredictionsCsv.as_view(),
        name="api_run_predictions_csv",
    ),
    path(f"{RUN}/predict/", serving.RunPredict.as_view(), name="api_run_predict"),
    path(f"{RUN}/reviews/", run_reviews.RunReviews.as_view(), name="api_run_reviews"),
    path(f"{RUN}/slices/", run_slices.RunSlices.as_view(), name="api_run_slices"),
    path(f"{RUN}/lineage/", runs.RunLineage.as_view(), name="api_run_lineage"),
    path(f"{MONITORS}/", monitors.MonitorList.as_view(), name="api_monitors"),
    path(f"{MONITOR}/", monitors.MonitorDetail.as_view(), name="api_monitor"),
    path(
        f"{MONITOR}/reports/",
        monitor_reports.MonitorReports.as_view(),
        name="api_monitor_reports",
    ),
    path(
        f"{MONITOR}/reports/merged/",
        monitor_reports.MonitorReportsMerged.as_view(),
        name="api_monitor_reports_merged",
    ),
    path(
        f"{MONITOR}/reports/<int:number>/",
        monitor_reports.MonitorReportDetail.as_view(),
        name="api_monitor_report",
    ),
    path(
        f"{MONITOR}/retraining/", retrainings.MonitorPolicy.as_view(), name="api_monitor_retraining"
    ),
    path(f"{RETRAININGS}/", retrainings.RetrainingList.as_view(), name="api_retrainings"),
    path(f"{RETRAINING}/", retrainings.RetrainingDetail.as_view(), name="api_retraining"),
    path(
        f"{RETRAINING}/start/", retrainings.RetrainingStart.as_view(), name="api_retraining_start"
    ),
    path(
        f"{RETRAINING}/decide/",
        retrainings.RetrainingDecide.as_view(),
        name="api_retraining_decide",
    ),
    path(
        f"{RETRAINING}/cancel/",
        retrainings.RetrainingCancel.as_view(),
        name="api_retraining_cancel",
    ),
    path(
        f"{RETRAINING}/rollback/",
        retrainings.RetrainingRollback.as_view(),
        name="api_retraining_rollback",
    ),
    path(
        f"{MONITOR}/rows/review/",
        live_reviews.LiveReviews.as_view(),
        name="api_monitor_rows_review",
    ),
    path(f"{MONITOR}/pause/", monitors.MonitorPause.as_view(), name="api_monitor_pause"),
    path(f"{MONITOR}/resume/", monitors.MonitorResume.as_view(), name="api_monitor_resume"),
    path(f"{MONITOR}/refit/", monitors.MonitorRefit.as_view(), name="api_monitor_refit"),
    path(f"{MONITOR}/set-aside/", set_aside.SetAside.as_view(), name="api_monitor_set_aside"),
    path(f"{MONITOR}/alerts/", alerts.MonitorAlerts.as_view(), name="api_monitor_alerts"),
    path(f"{INCIDENTS}/", incidents.IncidentList.as_view(), name="api_incidents"),
    path(f"{INCIDENT}/", incidents.IncidentDetail.as_view(), name="api_incident"),
    path(
        f"{INCIDENT}/acknowledge/",
        incidents.IncidentAcknowledge.as_view(),
        name="api_incident_acknowledge",
    ),
    path(f"{INCIDENT}/snooze/", incidents.IncidentSnooze.as_view(), name="api_incident_snooze"),
    path(
        f"{INCIDENT}/comments/",
        incidents.IncidentComments.as_view(),
        name="api_incident_comments",
    ),
    path(f"{INCIDENT}/owner/", incidents.IncidentOwner.as_view(), name="api_incident_owner"),
    path(f"{INCIDENT}/close/", incidents.IncidentClose.as_view(), name="api_incident_close"),
    path(f"{CHANNELS}/", alert_channels.ChannelList.as_view(), name="api_alert_channels"),
    path(f"{CHANNEL}/", alert_channels.ChannelDetail.as_view(), name="api_alert_channel"),
    path(f"{CHANNEL}/test/", alert_channels.ChannelTest.as_view(), name="api_alert_channel_test"),
    path(
        f"{CHANNEL}/messages/",
        alert_channels.MessageList.as_view(),
        name="api_alert_messages",
    ),
    path(
        f"{CHANNEL}/messages/<int:message_id>/redeliver/",
        alert_channels.MessageRedeliver.as_view(),
        name="api_alert_redeliver",
    ),
    path(f"{STUDIES}/", studies.StudyList.as_view(), name="api_studies"),
    path(f"{MONITOR}/inferences/", inferences.Inferences.as_view(), name="api_inferences"),
    path(f"{MONITOR}/rows/", inferences.Rows.as_view(), name="api_inference_rows"),
    path(f"{MONITOR}/labels/", inferences.Labels.as_view(), name="api_inference_labels"),
    path(
        f"{MONITOR}/teacher-answers/",
        inferences.TeacherAnswers.as_view(),
        name="api_inference_answers",
    ),
    path("projects/<slug:project_slug>/pareto/", pareto.ParetoView.as_view(), name="api_pareto"),
    path(f"{REPORTS}/", reports.ReportList.as_view(), name="api_reports"),
    path(f"{REPORTS}/<int:number>/", reports.ReportDetail.as_view(), name="api_report"),
    path(f"{REPORTS}/<int:number>/share/", reports.ReportShare.as_view(), name="api_report_share"),
    path(f"{STUDIES}/<int:number>/", studies.StudyDetail.as_view(), name="api_study"),
    path(f"{STUDIES}/<int:number>/trials/", sweeps.StudyTrials.as_view(), name="api_study_trials"),
    path(f"{STUDIES}/<int:number>/stop/", sweeps.StudyStop.as_view(), name="api_study_stop"),
    path(f"{STUDIES}/<int:number>/resume/", sweeps.StudyResume.as_view(), name="api_study_resume"),
    path(f"{STUDIES}/<int:number>/best/", sweeps.StudyBest.as_view(), name="api_study_best"),
    path(f"{STUDIES}/<int:number>/cancel/", studies.StudyCancel.as_view(), name="api_study_cancel"),
    path("projects/<slug:project_slug>/compare/", compare.Compare.as_view(), name="api_compare"),
    path(
        "projects/<slug:project_slug>/compare/curves/",
        compare.CompareCurves.as_view(),
        name="api_compare_curves",
    ),
    path(
        "projects/<slug:project_slug>/compare/disagreement/",
        compare.CompareDisagreement.as_view(),
        name="api_compare_disagreement",
    ),
    path(
        "projects/<slug:project_slug>/views/",
        saved_views.SavedViewList.as_view(),
        name="api_saved_views",
    ),
    path(
        "projects/<slug:project_slug>/views/<int:view_id>/",
        saved_views.SavedViewDetail.as_view(),
        name="api_saved_view",
    ),
    path("methods/", methods.Methods.as_view(), name="api_methods"),
    path("recipes/", recipes.RecipeList.as_view(), name="api_recipes"),
    path("recipes/translate/", recipes.RecipeTranslate.as_view(), name="api_recipe_translate"),
    path("queue/", queue.QueueList.as_view(), name="api_queue"),
    path("storage/", storage.Storage.as_view(), name="api_storage"),
    path("storage/<int:use_id>/free/", storage.StorageFree.as_view(), name="api_storage_free"),
    path(
        "projects/<slug:project_slug>/storage/",
        storage.ProjectStorage.as_view(),
        name="api_project_storage",
    ),
    path(
        "projects/<slug:project_slug>/checkpoints/",
        storage.ProjectCheckpoints.as_view(),
        name="api_project_checkpoints",
    ),
    path(
        "workers/teacher-outputs/",
        teacher_outputs.TeacherOutputsList.as_view(),
        name="api_teacher_outputs",
    ),
    path(
        "workers/teacher-outputs/<int:entry_id>/",
        teacher_outputs.TeacherOutputsDetail.as_view(),
        name="api_teacher_output",
    ),
    path("workers/", workers.WorkerList.as_view(), name="api_workers"),
    path(
        "workers/<int:worker_id>/load/", workers.WorkerLoadHistory.as_view(), name="api_worker_load"
    ),
    path("workers/<int:worker_id>/drain/", workers.WorkerDrain.as_view(), name="api_worker_drain"),
    path(
        "workers/<int:worker_id>/resume/", workers.WorkerResume.as_view(), name="api_worker_resume"
    ),
]
