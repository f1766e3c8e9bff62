from django.urls import URLPattern, path

from projects.views import (
    accounts,
    activity,
    audit,
    comments,
    completions,
    dataset_changes,
    dataset_diffs,
    dataset_edits,
    dataset_slices,
    dataset_uploads,
    datasets,
    favourites,
    feedback,
    invitations,
    notifications,
    people,
    projects,
    prompts,
    reviews,
    tokens,
    webhooks,
)

app_name = "projects"

urlpatterns: list[URLPattern] = [
    path("sign-in/", accounts.sign_in, name="sign_in"),
    path("sign-in/link/<str:token>/", accounts.sign_in_link, name="sign_in_link"),
    path("sign-out/", accounts.sign_out, name="sign_out"),
    path("invitations/", invitations.invitation, name="invitation"),
    path("invitations/<str:token>/", invitations.invitation_link, name="invitation_link"),
    path("account/", accounts.account, name="account"),
    path("account/picture/", accounts.avatar_change, name="avatar_change"),
    path("account/picture/remove/", accounts.avatar_remove, name="avatar_remove"),
    path("people/", people.people_list, name="people"),
    path("people/<str:username>/picture/", people.avatar, name="avatar"),
    path("people/<str:username>/shut-out/", people.person_deactivate, name="person_deactivate"),
    path("people/<str:username>/let-in/", people.person_activate, name="person_activate"),
    path(
        "people/<str:username>/administrator/",
        people.person_make_administrator,
        name="person_make_administrator",
    ),
    path(
        "people/<str:username>/ordinary/",
        people.person_make_ordinary,
        name="person_make_ordinary",
    ),
    path(
        "people/<str:username>/second-factor/",
        people.person_reset_second_factor,
        name="person_reset_second_factor",
    ),
    path("people/<str:username>/link/", people.person_link, name="person_link"),
    path("account/password/", accounts.change_password, name="change_password"),
    path("account/browsers/", accounts.sessions_list, name="sessions"),
    path("account/browsers/<int:pk>/end/", accounts.session_end, name="session_end"),
    path("account/browsers/end-others/", accounts.sessions_end_others, name="sessions_end_others"),
    path("account/tokens/", accounts.tokens, name="tokens"),
    path("account/tokens/<int:pk>/revoke/", accounts.token_revoke, name="token_revoke"),
    path("account/tokens/<int:pk>/rotate/", tokens.token_rotate, name="token_rotate"),
    path("audit/", audit.audit_log, name="audit"),
    path("audit/export/", audit.audit_export, name="audit_export"),
    path("projects/new/", projects.project_new, name="project_new"),
    path("p/<slug:project_slug>/settings/", projects.project_settings, name="project_settings"),
    path(
        "p/<slug:project_slug>/settings/invitations/",
        invitations.invitation_new,
        name="invitation_new",
    ),
    path(
        "p/<slug:project_slug>/settings/invitations/<int:pk>/renew/",
        invitations.invitation_renew,
        name="invitation_renew",
    ),
    path(
        "p/<slug:project_slug>/settings/invitations/<int:pk>/revoke/",
        invitations.invitation_revoke,
        name="invitation_revoke",
    ),
    path("p/<slug:project_slug>/settings/members/", projects.member_add, name="member_add"),
    path(
        "p/<slug:project_slug>/settings/members/<str:username>/role/",
        projects.member_change,
        name="member_change",
    ),
    path(
        "p/<slug:project_slug>/settings/members/<str:username>/remove/",
        projects.member_remove,
        name="member_remove",
    ),
    path("p/<slug:project_slug>/settings/tokens/", tokens.project_tokens, name="project_tokens"),
    path(
        "p/<slug:project_slug>/settings/tokens/<int:token_id>/revoke/",
        tokens.project_token_revoke,
        name="project_token_revoke",
    ),
    path(
        "p/<slug:project_slug>/settings/tokens/<int:token_id>/rotate/",
        tokens.project_token_rotate,
        name="project_token_rotate",
    ),
    path("p/<slug:project_slug>/settings/audit/", audit.project_audit, name="project_audit"),
    path(
        "p/<slug:project_slug>/settings/audit/export/",
        audit.project_audit_export,
        name="project_audit_export",
    ),
    path(
        "p/<slug:project_slug>/settings/archive/", projects.project_archive, name="project_archive"
    ),
    path(
        "p/<slug:project_slug>/settings/restore/", projects.project_restore, name="project_restore"
    ),
    path("p/<slug:project_slug>/activity/", activity.activity, name="activity"),
    path("p/<slug:project_slug>/settings/webhooks/", webhooks.webhook_list, name="webhook_list"),
    path(
        "p/<slug:project_slug>/settings/webhooks/<int:webhook_id>/",
        webhooks.webhook_detail,
        name="webhook_detail",
    ),
    path(
        "p/<slug:project_slug>/settings/webhooks/<int:webhook_id>/test/",
        webhooks.webhook_test,
        name="webhook_test",
    ),
    path(
        "p/<slug:project_slug>/settings/webhooks/<int:webhook_id>/rotate/",
        webhooks.webhook_rotate,
        name="webhook_rotate",
    ),
    path(
        "p/<slug:project_slug>/settings/webhooks/<int:webhook_id>/delete/",
        webhooks.webhook_delete,
        name="webhook_delete",
    ),
    path(
        "p/<slug:project_slug>/settings/webhooks/<int:webhook_id>/redeliver/",
        webhooks.webhook_redeliver,
        name="webhook_redeliver",
    ),
    path(
        "p/<slug:project_slug>/settings/webhooks/<int:webhook_id>/deliveries/<int:delivery_id>/"
        "redeliver/",
        webhooks.delivery_redeliver,
        name="delivery_redeliver",
    ),
    path("account/notifications/", notifications.notification_rules, name="notification_rules"),
    path("notifications/", notifications.notification_list, name="notification_list"),
    path("notifications/unread/", notifications.notifications_unread, name="notifications_unread"),
    path("notifications/read/", notifications.notifications_read, name="notifications_read"),
    path(
        "notifications/unsubscribe/<str:token>/",
        notifications.notifications_unsubscribe,
        name="notifications_unsubscribe",
    ),
    path("p/<slug:project_slug>/star/", favourites.star, name="star"),
    path("p/<slug:project_slug>/comments/", comments.comment_thread, name="comment_thread"),
    path(
        "p/<slug:project_slug>/comments/<int:comment_id>/",
        comments.comment_edit,
        name="comment_edit",
    ),
    path(
        "p/<slug:project_slug>/comments/<int:comment_id>/delete/",
        comments.comment_delete,
        name="comment_delete",
    ),
    path("p/<slug:project_slug>/inbox/", completions.completion_list, name="completion_list"),
    path(
        "p/<slug:project_slug>/inbox/promote/",
        completions.completions_promote,
        name="completions_promote",
    ),
    path(
        "p/<slug:project_slug>/inbox/<str:key>/",
        completions.completion_detail,
        name="completion_detail",
    ),
    path("p/<slug:project_slug>/feedback/", feedback.feedback_list, name="feedback_list"),
    path(
        "p/<slug:project_slug>/feedback/promote/",
        feedback.feedback_promote,
        name="feedback_promote",
    ),
    path(
        "p/<slug:project_slug>/feedback/<int:feedback_id>/delete/",
        feedback.feedback_delete,
        name="feedback_delete",
    ),
    path(
        "p/<slug:project_slug>/feedback/<int:feedback_id>/file/",
        feedback.feedback_file,
        name="feedback_file",
    ),
    path("p/<slug:project_slug>/datasets/", datasets.dataset_list, name="dataset_list"),
    path("p/<slug:project_slug>/datasets/new/", dataset_uploads.dataset_new, name="dataset_new"),
    path(
        "p/<slug:project_slug>/datasets/uploads/<uuid:upload_id>/",
        dataset_uploads.dataset_mapping,
        name="dataset_mapping",
    ),
    path(
        "p/<slug:project_slug>/datasets/uploads/<uuid:upload_id>/sounds/<int:file>/<int:place>/",
        dataset_uploads.dataset_upload_sound,
        name="dataset_upload_sound",
    ),
    path(
        "p/<slug:project_slug>/datasets/uploads/<uuid:upload_id>/sounds/<int:file>/<int:place>/"
        "waveform/",
        dataset_uploads.dataset_upload_waveform,
        name="dataset_upload_waveform",
    ),
    path(
        "p/<slug:project_slug>/datasets/uploads/<uuid:upload_id>/discard/",
        dataset_uploads.dataset_discard,
        name="dataset_discard",
    ),
    path(
        "p/<slug:project_slug>/datasets/<str:dataset_name>/",
        datasets.dataset_detail,
        name="dataset_detail",
    ),
    path(
        "p/<slug:project_slug>/datasets/<str:dataset_name>/new-version/",
        dataset_uploads.dataset_new_version,
        name="dataset_new_version",
    ),
    path(
        "p/<slug:project_slug>/datasets/<str:dataset_name>/<int:number>/",
        datasets.dataset_version,
        name="dataset_version",
    ),
    path(
        "p/<slug:project_slug>/datasets/<str:dataset_name>/<int:number>/download/",
        datasets.dataset_download,
        name="dataset_download",
    ),
    path(
        "p/<slug:project_slug>/datasets/<str:dataset_name>/<int:number>/change/<slug:operation>/",
        dataset_changes.dataset_change,
        name="dataset_change",
    ),
    path(
        "p/<slug:project_slug>/datasets/<str:dataset_name>/<int:number>/delete/",
        dataset_changes.dataset_version_delete,
        name="dataset_version_delete",
    ),
    path(
        "p/<slug:project_slug>/datasets/<str:dataset_name>/delete/",
        dataset_changes.dataset_delete,
        name="dataset_delete",
    ),
    path(
        "p/<slug:project_slug>/datasets/<str:dataset_name>/diff/",
        dataset_diffs.dataset_diff,
        name="dataset_diff",
    ),
    path("p/<slug:project_slug>/templates/", prompts.prompt_list, name="prompt_list"),
    path("p/<slug:project_slug>/templates/new/", prompts.prompt_new, name="prompt_new"),
    path(
        "p/<slug:project_slug>/templates/<str:prompt_name>/",
        prompts.prompt_detail,
        name="prompt_detail",
    ),
    path(
        "p/<slug:project_slug>/datasets/<str:dataset_name>/<int:number>/try-again/",
        dataset_uploads.dataset_try_again,
        name="dataset_try_again",
    ),
    path(
        "p/<slug:project_slug>/datasets/<str:dataset_name>/<int:number>/slices/",
        dataset_slices.dataset_slices,
        name="dataset_slices",
    ),
    path(
        "p/<slug:project_slug>/datasets/<str:dataset_name>/<int:number>/slices/delete/",
        dataset_slices.dataset_slice_delete,
        name="dataset_slice_delete",
    ),
    path(
        "p/<slug:project_slug>/datasets/<str:dataset_name>/<int:number>/edits/",
        dataset_edits.dataset_edits,
        name="dataset_edits",
    ),
    path(
        "p/<slug:project_slug>/datasets/<str:dataset_name>/<int:number>/edits/apply/",
        dataset_edits.dataset_edits_apply,
        name="dataset_edits_apply",
    ),
    path(
        "p/<slug:project_slug>/datasets/<str:dataset_name>/<int:number>/edits/discard/",
        dataset_edits.dataset_edits_discard,
        name="dataset_edits_discard",
    ),
    path(
        "p/<slug:project_slug>/datasets/<str:dataset_name>/<int:number>/rows/<int:row_id>/",
        dataset_edits.dataset_row,
        name="dataset_row",
    ),
    path(
        "p/<slug:project_slug>/datasets/<str:dataset_name>/<int:number>/rows/<int:row_id>/image/",
        datasets.dataset_image,
        name="dataset_image",
    ),
    path(
        "p/<slug:project_slug>/datasets/<str:dataset_name>/<int:number>/rows/<int:row_id>/sound/",
        datasets.dataset_sound,
        name="dataset_sound",
    ),
    path(
        "p/<slug:project_slug>/datasets/<str:dataset_name>/<int:number>/rows/<int:row_id>/"
        "waveform/",
        datasets.dataset_waveform,
        name="dataset_waveform",
    ),
    path("p/<slug:project_slug>/reviews/", reviews.review_list, name="review_list"),
    path(
        "p/<slug:project_slug>/reviews/<int:queue_id>/", reviews.review_detail, name="review_detail"
    ),
    path(
        "p/<slug:project_slug>/reviews/<int:queue_id>/rows/",
        reviews.review_work,
        name="review_work",
    ),
    path(
        "p/<slug:project_slug>/reviews/<int:queue_id>/rows/<int:row_id>/",
        reviews.review_row,
        name="review_row",
    ),
    path(
        "p/<slug:project_slug>/reviews/<int:queue_id>/assign/",
        reviews.review_assign,
        name="review_assign",
    ),
    path(
        "p/<slug:project_slug>/reviews/<int:queue_id>/close/",
        reviews.review_close,
        name="review_close",
    ),
    path(
        "p/<slug:project_slug>/reviews/<int:queue_id>/delete/",
        reviews.review_delete,
        name="review_delete",
    ),
    path(
        "p/<slug:project_slug>/reviews/<int:queue_id>/preferences/",
        reviews.review_preferences,
        name="review_preferences",
    ),
    path(
        "p/<slug:project_slug>/datasets/<str:dataset_name>/<int:number>/review/",
        reviews.review_new,
        name="review_new",
    ),
    path(
        "p/<slug:project_slug>/datasets/<str:dataset_name>/<int:number>/preferences/",
        reviews.dataset_preferences,
        name="dataset_preferences",
    ),
]
