"""What the audit log calls the acts behind every address, and which of them it leaves out.

A page and a REST view of the same act have the same name, `noun.verb`, so that one filter finds
both. An address that is not named here is recorded nevertheless, by a name made of the address's:
forgetting a line here makes a name less pretty, and loses nothing.
"""

#: Addresses (by the names of their routes) that change rows and are not recorded, and why.
UNRECORDED: dict[str, str] = {
    # What machines send by the thousand.
    "api_run_metrics": "points of a run, by the thousand",
    "api_run_logs": "lines of a run, by the thousand",
    "api_inferences": "live rows, by the thousand; forgetting them is recorded",
    "api_inference_labels": "late labels, by the thousand",
    "api_inference_answers": "a teacher's answers, by the thousand",
    "api_completions": "calls of an application, by the thousand; forgetting them is recorded",
    "api_openai_completion": "the same, through OpenAI's own client",
    "api_upload": "pieces of a file; what is made of it is recorded",
    "api_uploads": "an empty place for a file; what is made of it is recorded",
    # What asks, and changes nothing that others see.
    "api_version_predict": "asks a model",
    "api_model_predict": "asks a model",
    "api_run_predict": "asks a model",
    "api_run_preview": "resolves a configuration",
    "api_run_preflight": "estimates a run",
    "api_dataset_estimate": "estimates an operation",
    "api_recipe_translate": "translates settings",
    "training:playground": "asks a model",
    "training:report_preview": "shows a draft",
    # A draft, or a place in a queue, that is its author's alone until it is applied.
    "projects:dataset_edits": "a draft; applying it is recorded",
    "projects:dataset_row": "a draft; applying it is recorded",
    "projects:dataset_edits_discard": "a draft",
    "projects:dataset_discard": "a file that waits for its columns to be named",
    "api_pending": "a draft; applying it is recorded",
    "api_pending_change": "a draft; applying it is recorded",
    "api_review_take": "a place in a queue",
    # Recorded where they are carried out, which knows more than the request.
    "projects:sign_in": "as sign_in.done, sign_in.failed or sign_in.locked",
    "projects:sign_out": "as sign_out.done",
}

#: What is recorded of them all the same.
ALL_THE_SAME: dict[tuple[str, str], str] = {
    ("api_inferences", "DELETE"): "inferences.forget",
    ("api_completions", "DELETE"): "completion.delete",
    ("api_openai_completion", "DELETE"): "completion.delete",
}

#: The name of the act, by route; by method, too, where an address takes several.
ACTS: dict[str, str | dict[str, str]] = {
    # People
    "projects:account": "account.change",
    "projects:change_password": "account.password",
    "projects:tokens": "token.create",
    "projects:token_revoke": "token.revoke",
    "projects:token_rotate": "token.rotate",
    "api_me": "account.change",
    "api_tokens": "token.create",
    "api_token": "token.revoke",
    "api_token_rotate": "token.rotate",
    # Projects
    "projects:project_new": "project.create",
    "projects:project_settings": "project.change",
    "projects:project_archive": "project.archive",
    "projects:project_restore": "project.restore",
    "projects:member_add": "member.add",
    "projects:member_change": "member.change",
    "projects:member_remove": "member.remove",
    "projects:project_tokens": "project_token.create",
    "projects:project_token_revoke": "project_token.revoke",
    "projects:project_token_rotate": "project_token.rotate",
    "api_projects": "project.create",
    "api_project": {"PATCH": "project.change", "DELETE": "project.archive"},
    "api_members": "member.add",
    "api_member": {"PATCH": "member.change", "DELETE": "member.remove"},
    "api_project_tokens": "project_token.create",
    "api_project_token": "project_token.revoke",
    "api_project_token_rotate": "project_token.rotate",
    # Calls of applications, and what is said of answers
    "projects:completions_promote": "completions.promote",
    "projects:feedback_promote": "feedback.promote",
    "projects:feedback_delete": "feedback.delete",
    "training:playground_feedback": "feedback.create",
    "api_completion": "completion.delete",
    "api_completions_promote": "completions.promote",
    "api_feedback_list": "feedback.create",
    "api_feedback_promote": "feedback.promote",
    "api_feedback": "feedback.delete",
    # Datasets
    "projects:dataset_new": "dataset.create",
    "projects:dataset_mapping": "dataset.create",
    "projects:dataset_new_version": "dataset_version.create",
    "projects:dataset_change": "dataset_version.create",
    "projects:dataset_try_again": "dataset_version.try_again",
    "projects:dataset_version_delete": "dataset_version.delete",
    "projects:dataset_delete": "dataset.delete",
    "projects:dataset_slices": "slice.create",
    "projects:dataset_slice_delete": "slice.delete",
    "projects:dataset_edits_apply": "dataset_version.edit",
    "training:dataset_map": "map.create",
    "training:dataset_map_remove": "map.delete",
    "api_datasets": "dataset.create",
    "api_dataset": "dataset.delete",
    "api_dataset_versions": "dataset_version.create",
    "api_dataset_version": "dataset_version.delete",
    "api_dataset_slices": "slice.create",
    "api_dataset_slice": "slice.delete",
    "api_pending_apply": "dataset_version.edit",
    "api_maps": "map.create",
    "api_map": "map.delete",
    # Templates and reviews
    "projects:prompt_new": "template.create",
    "projects:prompt_detail": "template.change",
    "projects:review_new": "review.create",
    "projects:review_work": "review.say",
    "projects:review_row": "review.say",
    "projects:review_close": "review.close",
    "projects:review_delete": "review.delete",
    "training:compare_review": "review.create",
    "training:run_review": "review.create",
    "training:run_rows": "review.create",
    "training:monitor_rows_collect": "review.create",
    "api_prompts": "template.create",
    "api_prompt_versions": "template.change",
    "api_reviews": "review.create",
    "api_review": "review.delete",
    "api_review_verdicts": "review.say",
    "api_review_undo": "review.undo",
    "api_review_close": "review.close",
    "api_compare_disagreement": "review.create",
    "api_run_reviews": "review.create",
    # Models
    "training:model_new": "model.create",
    "training:model_edit": "model.change",
    "training:model_inspect": "model_version.inspect",
    "training:model_key": "model.key",
    "training:model_alias": "alias.set",
    "training:alias_rules": "alias.rules",
    "training:alias_rollback": "alias.rollback",
    "training:model_promotion": "model_version.promote",
    "training:model_card": "model_card.change",
    "training:model_publish": "model_version.publish",
    "training:model_bundle": "export.create",
    "training:model_exports": "export.create",
    "training:export_keep": "model_version.create",
    "training:model_gates": "gate.create",
    "api_models": "model.create",
    "api_model": "model.change",
    "api_model_versions": "model_version.create",
    "api_model_inspect": "model_version.inspect",
    "api_model_key": "model.key",
    "api_model_alias": {"PUT": "alias.set", "DELETE": "alias.delete"},
    "api_alias_rules": {"PUT": "alias.rules", "DELETE": "alias.rules_delete"},
    "api_alias_rollback": "alias.rollback",
    "api_model_promote": "model_version.promote",
    "api_model_card": "model_card.change",
    "api_publications": "model_version.publish",
    "api_hub_token": "model.forget_hub_token",
    "api_exports": "export.create",
    "api_gates": "gate.create",
    # Runs
    "training:run_new": "run.create",
    "training:run_cancel": "run.cancel",
    "training:run_pause": "run.pause",
    "training:run_resume": "run.resume",
    "training:run_retry": "run.retry",
    "training:run_move": "run.move",
    "training:run_priority": "run.change",
    "training:run_edit": "run.change",
    "training:run_slices": "run.slices",
    "training:run_delete": "run.delete",
    "training:run_more_seeds": "study.create",
    "api_runs": "run.create",
    "api_run": {"PATCH": "run.change", "DELETE": "run.delete"},
    "api_run_cancel": "run.cancel",
    "api_run_pause": "run.pause",
    "api_run_resume": "run.resume",
    "api_run_retry": "run.retry",
    "api_run_move": "run.move",
    "api_run_clone": "run.create",
    "api_run_track": "run.track",
    "api_run_end": "run.end",
    "api_run_slices": "run.slices",
    # Studies, views, reports
    "training:sweep_new": "study.create",
    "training:sweep_stop": "study.stop",
    "training:sweep_resume": "study.resume",
    "training:sweep_add": "study.add_trial",
    "training:sweep_best": "study.best",
    "training:study_edit": "study.change",
    "training:study_cancel": "study.cancel",
    "training:view_save": "view.save",
    "training:view_delete": "view.delete",
    "training:report_new": "report.create",
    "training:report_edit": "report.change",
    "training:report_delete": "report.delete",
    "training:report_share": "report.share",
    "training:report_unshare": "report.unshare",
    "api_studies": "study.create",
    "api_study": "study.change",
    "api_study_trials": "study.add_trial",
    "api_study_stop": "study.stop",
    "api_study_resume": "study.resume",
    "api_study_best": "study.best",
    "api_study_cancel": "study.cancel",
    "api_saved_views": "view.save",
    "api_saved_view": "view.delete",
    "api_reports": "report.create",
    "api_report": {"PATCH": "report.change", "DELETE": "report.delete"},
    "api_report_share": {"POST": "report.share", "DELETE": "report.unshare"},
    # Monitors, incidents, retraining
    "training:monitor_new": "monitor.create",
    "training:monitor_settings": "monitor.change",
    "training:monitor_pause": "monitor.pause",
    "training:monitor_resume": "monitor.resume",
    "training:monitor_refit": "monitor.refit",
    "training:monitor_set_aside": "monitor.set_aside",
    "training:monitor_delete": "monitor.delete",
    "training:monitor_alerts": "monitor.change",
    "training:monitor_mute": "monitor.mute",
    "training:monitor_retraining": "monitor.retraining",
    "training:retraining_begin": "retraining.create",
    "training:retraining_start": "retraining.start",
    "training:retraining_decide": "retraining.decide",
    "training:retraining_cancel": "retraining.cancel",
    "training:retraining_rollback": "retraining.rollback",
    "training:incident_acknowledge": "incident.acknowledge",
    "training:incident_snooze": "incident.snooze",
    "training:incident_comment": "incident.comment",
    "training:incident_own": "incident.own",
    "training:incident_close": "incident.close",
    "training:alert_channel_list": "alert_channel.create",
    "training:alert_channel_detail": "alert_channel.change",
    "training:alert_channel_test": "alert_channel.test",
    "training:alert_channel_delete": "alert_channel.delete",
    "training:alert_redeliver": "alert_channel.redeliver",
    "api_monitors": "monitor.create",
    "api_monitor": {"PATCH": "monitor.change", "DELETE": "monitor.delete"},
    "api_monitor_pause": "monitor.pause",
    "api_monitor_resume": "monitor.resume",
    "api_monitor_refit": "monitor.refit",
    "api_monitor_set_aside": "monitor.set_aside",
    "api_monitor_alerts": "monitor.mute",
    "api_monitor_retraining": "monitor.retraining",
    "api_retrainings": "retraining.create",
    "api_retraining_start": "retraining.start",
    "api_retraining_decide": "retraining.decide",
    "api_retraining_cancel": "retraining.cancel",
    "api_retraining_rollback": "retraining.rollback",
    "api_incident_acknowledge": "incident.acknowledge",
    "api_incident_snooze": "incident.snooze",
    "api_incident_comments": "incident.comment",
    "api_incident_owner": "incident.own",
    "api_incident_close": "incident.close",
    "api_alert_channels": "alert_channel.create",
    "api_alert_channel": {"PATCH": "alert_channel.change", "DELETE": "alert_channel.delete"},
    "api_alert_channel_test": "alert_channel.test",
    "api_alert_redeliver": "alert_channel.redeliver",
    # Machines and storage
    "training:worker_drain": "worker.drain",
    "training:worker_resume": "worker.resume",
    "training:teacher_output_free": "storage.free_answers",
    "training:storage_free": "storage.free",
    "training:project_storage": "storage.change",
    "api_worker_drain": "worker.drain",
    "api_worker_resume": "worker.resume",
    "api_teacher_output": "storage.free_answers",
    "api_storage_free": "storage.free",
    "api_project_storage": "storage.change",
    "api_project_checkpoints": "storage.free_checkpoints",
}

CHANGING = ("POST", "PUT", "PATCH", "DELETE")
VERBS = {"POST": "create", "PUT": "set", "PATCH": "change", "DELETE": "delete"}


def act(route: str, method: str) -> str:
    """The name of what a request asks for; empty where it is not recorded."""
    if (route, method) in ALL_THE_SAME:
        return ALL_THE_SAME[route, method]
    if route in UNRECORDED:
        return ""
    named = ACTS.get(route)
    if isinstance(named, dict):
        named = named.get(method)
    return named or _made_up(route, method)


def _made_up(route: str, method: str) -> str:
    """`training:comment_delete` and `DELETE api_comment` are comment.delete, `POST api_comments`
    is comment.create, and so on."""
    space, _, bare = route.rpartition(":")
    if space == "admin":  # projects_user_change: by Django's own pages
        return f"admin.{bare.rpartition('_')[2]}"
    words = bare.removeprefix("api_").split("_")
    if method == "POST" and len(words) > 1:
        return f"{'_'.join(words[:-1])}.{words[-1]}"
    noun = "_".join(words)
    return f"{noun.removesuffix('s')}.{VERBS.get(method, method.lower())}"
