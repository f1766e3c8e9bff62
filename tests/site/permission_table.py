"""Who may do what at every address. A route without a rule here fails test_permission_table.py.

A rule names, for each method the route answers, the least that is needed; every other method must
be refused with 405. HEAD follows GET, OPTIONS is answered by REST alone.
"""

from enum import IntEnum


class Needs(IntEnum):
    NOTHING = 0  # public
    ACCOUNT = 1  # signed in, whoever it is
    VIEWER = 2
    EDITOR = 3
    OWNER = 4


PUBLIC, ACCOUNT, VIEWER, EDITOR, OWNER = Needs

READ = {"GET": VIEWER}
EDIT_FORM = {"GET": EDITOR, "POST": EDITOR}
EDIT = {"POST": EDITOR}
MANAGE = {"POST": OWNER}
INSTALLATION = {"POST": OWNER}  # of every project there is; others see workers, and are forbidden

PAGES: dict[str, dict[str, Needs]] = {
    "healthz": {"GET": PUBLIC},
    "readyz": {"GET": PUBLIC},
    "metrics": {"GET": PUBLIC},  # by address or token: tests/site/test_telemetry.py
    "schema": {"GET": PUBLIC},
    "api_docs": {"GET": PUBLIC},
    # People
    "projects:sign_in": {"GET": PUBLIC, "POST": PUBLIC},
    "projects:sign_in_link": {"GET": PUBLIC},
    "projects:sign_out": {"POST": PUBLIC},
    "projects:account": {"GET": ACCOUNT, "POST": ACCOUNT},
    "projects:change_password": {"GET": ACCOUNT, "POST": ACCOUNT},
    "projects:tokens": {"GET": ACCOUNT, "POST": ACCOUNT},
    "projects:token_revoke": {"POST": ACCOUNT},
    # Projects
    "projects:project_new": {"GET": ACCOUNT, "POST": ACCOUNT},
    "projects:project_settings": {"GET": VIEWER, "POST": OWNER},
    "projects:member_add": MANAGE,
    "projects:member_change": MANAGE,
    "projects:member_remove": MANAGE,
    "projects:project_archive": MANAGE,
    "projects:project_restore": MANAGE,
    # Calls of applications
    "projects:completion_list": READ,
    "projects:completion_detail": READ,
    "projects:completions_promote": EDIT,
    # Datasets
    "projects:dataset_list": READ,
    "projects:dataset_new": EDIT_FORM,
    "projects:dataset_mapping": EDIT_FORM,
    "projects:dataset_discard": EDIT,
    "projects:dataset_try_again": EDIT,
    "projects:dataset_detail": READ,
    "projects:dataset_version": READ,
    "projects:dataset_download": READ,
    "projects:dataset_new_version": EDIT_FORM,
    "projects:dataset_change": EDIT_FORM,
    "projects:dataset_version_delete": MANAGE,
    "projects:dataset_delete": MANAGE,
    "projects:dataset_diff": READ,
    "projects:prompt_list": READ,
    "projects:prompt_new": EDIT_FORM,
    "projects:prompt_detail": {"GET": VIEWER, "POST": EDITOR},
    "projects:dataset_image": READ,
    "projects:dataset_sound": READ,
    "projects:dataset_upload_sound": {"GET": EDITOR},
    "projects:dataset_upload_waveform": {"GET": EDITOR},
    "projects:dataset_waveform": READ,
    "projects:dataset_row": {"GET": VIEWER, "POST": EDITOR},
    "projects:dataset_edits": EDIT_FORM,
    "projects:dataset_edits_apply": EDIT,
    "projects:dataset_edits_discard": EDIT,
    # Models
    "training:teacher_list": READ,
    "training:student_list": READ,
    "training:model_new": EDIT_FORM,
    "training:model_detail": READ,
    "training:model_edit": EDIT,
    "training:model_version": READ,
    "training:model_download": READ,
    "training:model_file": READ,
    "training:model_alias": EDIT,
    "training:model_exports": {"GET": VIEWER, "POST": EDITOR},
    "training:export_download": READ,
    "training:export_keep": EDIT,
    "training:model_gates": {"GET": VIEWER, "POST": EDITOR},
    "training:model_inspect": EDIT,
    "training:model_key": EDIT,
    # Runs
    "training:home": {"GET": ACCOUNT},
    "training:project_overview": READ,
    "training:run_list": READ,
    "training:run_new": EDIT_FORM,
    "training:run_detail": READ,
    "training:run_live": READ,
    "training:run_cancel": EDIT,
    "training:run_pause": EDIT,
    "training:run_resume": EDIT,
    "training:run_retry": EDIT,
    "training:run_move": EDIT,
    "training:run_priority": EDIT,
    "training:run_edit": EDIT,
    "training:run_delete": MANAGE,
    "training:artifact_download": READ,
    "training:worker_list": {"GET": ACCOUNT},
    "training:worker_live": {"GET": ACCOUNT},
    "training:worker_drain": INSTALLATION,
    "training:worker_resume": INSTALLATION,
    "training:queue": {"GET": ACCOUNT},
    "training:teacher_output_free": MANAGE,
    "training:storage": {"GET": ACCOUNT},
    "training:storage_free": MANAGE,
    "training:project_storage": MANAGE,
    "training:recipes": {"GET": ACCOUNT},
    "training:patterns": {"GET": ACCOUNT},
}

REST: dict[str, dict[str, Needs]] = {
    "api_me": {"GET": ACCOUNT, "PATCH": ACCOUNT},
    "api_tokens": {"GET": ACCOUNT, "POST": ACCOUNT},
    "api_token": {"DELETE": ACCOUNT},
    "api_uploads": {"GET": ACCOUNT, "POST": ACCOUNT},
    "api_upload": {"GET": ACCOUNT, "PATCH": ACCOUNT, "DELETE": ACCOUNT},
    "api_projects": {"GET": ACCOUNT, "POST": ACCOUNT},
    "api_project": {"GET": VIEWER, "PATCH": OWNER, "DELETE": OWNER},
    "api_members": {"GET": VIEWER, "POST": OWNER},
    "api_member": {"GET": VIEWER, "PATCH": OWNER, "DELETE": OWNER},
    # Datasets
    "api_completions": {"GET": VIEWER, "POST": EDITOR, "DELETE": EDITOR},
    "api_completion": {"GET": VIEWER, "DELETE": EDITOR},
    "api_completions_promote": EDIT,
    "api_openai_completions": READ,
    "api_openai_completion": {"GET": VIEWER, "POST": EDITOR, "DELETE": EDITOR},
    "api_openai_messages": READ,
    "api_datasets": {"GET": VIEWER, "POST": EDITOR},
    "api_dataset": {"GET": VIEWER, "DELETE": OWNER},
    "api_dataset_versions": {"GET": VIEWER, "POST": EDITOR},
    "api_dataset_estimate": {"POST": EDITOR},
    "api_dataset_version": {"GET": VIEWER, "DELETE": OWNER},
    "api_dataset_diff": READ,
    "api_prompts": {"GET": VIEWER, "POST": EDITOR},
    "api_prompt": READ,
    "api_prompt_versions": {"GET": VIEWER, "POST": EDITOR},
    "api_dataset_rows": READ,
    "api_dataset_image": READ,
    "api_dataset_sound": READ,
    "api_dataset_download": READ,
    # Models
    "api_models": {"GET": VIEWER, "POST": EDITOR},
    "api_model": {"GET": VIEWER, "PATCH": EDITOR},
    "api_model_versions": {"GET": VIEWER, "POST": EDITOR},
    "api_model_version": READ,
    "api_model_download": READ,
    "api_model_file": READ,
    "api_exports": {"GET": VIEWER, "POST": EDITOR},
    "api_export": READ,
    "api_export_download": READ,
    "api_gates": {"GET": VIEWER, "POST": EDITOR},
    "api_gate": READ,
    "api_model_inspect": EDIT,
    "api_model_key": {"PUT": EDITOR},
    "api_model_aliases": READ,
    "api_model_alias": {"PUT": EDITOR, "DELETE": EDITOR},
    # Runs
    "api_runs": {"GET": VIEWER, "POST": EDITOR},
    "api_run_preview": EDIT,
    "api_run_preflight": EDIT,
    "api_run": {"GET": VIEWER, "PATCH": EDITOR, "DELETE": OWNER},
    "api_run_cancel": EDIT,
    "api_run_pause": EDIT,
    "api_run_resume": EDIT,
    "api_run_retry": EDIT,
    "api_run_move": EDIT,
    "api_run_events": READ,
    "api_run_clone": EDIT,
    "api_run_metrics": READ,
    "api_run_logs": READ,
    "api_run_logs_download": READ,
    "api_run_artifacts": READ,
    "api_run_artifact": READ,
    "api_run_evaluation": READ,
    "api_run_lineage": READ,
    "api_methods": {"GET": ACCOUNT},
    "api_recipes": {"GET": ACCOUNT},
    "api_recipe_translate": {"POST": ACCOUNT},
    "api_queue": {"GET": ACCOUNT},
    "api_workers": {"GET": ACCOUNT},
    "api_worker_load": {"GET": ACCOUNT},
    "api_worker_drain": INSTALLATION,
    "api_worker_resume": INSTALLATION,
    "api_storage": {"GET": ACCOUNT},
    "api_storage_free": MANAGE,
    "api_project_storage": {"GET": VIEWER, "PATCH": OWNER},
    "api_project_checkpoints": {"DELETE": OWNER},
    "api_teacher_outputs": {"GET": ACCOUNT},
    "api_teacher_output": {"DELETE": OWNER},
}

#: Answers 404 to everybody: any address under /api/v1/ that is none of the above.
NOWHERE = "api_unknown"
