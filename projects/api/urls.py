from django.urls import URLPattern, path

from projects.api import (
    completions,
    dataset_diffs,
    datasets,
    me,
    projects,
    prompts,
    resumable,
    tokens,
)

urlpatterns: list[URLPattern] = [
    path("me/", me.Me.as_view(), name="api_me"),
    path("tokens/", tokens.TokenList.as_view(), name="api_tokens"),
    path("tokens/<int:pk>/", tokens.TokenDetail.as_view(), name="api_token"),
    path("uploads/", resumable.UploadList.as_view(), name="api_uploads"),
    path("uploads/<uuid:resumable_id>/", resumable.UploadDetail.as_view(), name="api_upload"),
    path("projects/", projects.ProjectList.as_view(), name="api_projects"),
    path("projects/<slug:project_slug>/", projects.ProjectDetail.as_view(), name="api_project"),
    path(
        "projects/<slug:project_slug>/members/",
        projects.MemberList.as_view(),
        name="api_members",
    ),
    path(
        "projects/<slug:project_slug>/members/<str:username>/",
        projects.MemberDetail.as_view(),
        name="api_member",
    ),
    path(
        "projects/<slug:project_slug>/completions/",
        completions.CompletionList.as_view(),
        name="api_completions",
    ),
    path(
        "projects/<slug:project_slug>/completions/promote/",
        completions.Promotion.as_view(),
        name="api_completions_promote",
    ),
    path(
        "projects/<slug:project_slug>/completions/<str:key>/",
        completions.CompletionDetail.as_view(),
        name="api_completion",
    ),
    # OpenAI's client puts no slash at the end.
    path(
        "projects/<slug:project_slug>/openai/v1/chat/completions",
        completions.OpenAIList.as_view(),
        name="api_openai_completions",
    ),
    path(
        "projects/<slug:project_slug>/openai/v1/chat/completions/<str:key>",
        completions.OpenAIDetail.as_view(),
        name="api_openai_completion",
    ),
    path(
        "projects/<slug:project_slug>/openai/v1/chat/completions/<str:key>/messages",
        completions.OpenAIMessages.as_view(),
        name="api_openai_messages",
    ),
    path(
        "projects/<slug:project_slug>/datasets/",
        datasets.DatasetList.as_view(),
        name="api_datasets",
    ),
    path(
        "projects/<slug:project_slug>/datasets/<str:dataset_name>/",
        datasets.DatasetDetail.as_view(),
        name="api_dataset",
    ),
    path(
        "projects/<slug:project_slug>/datasets/<str:dataset_name>/versions/",
        datasets.VersionList.as_view(),
        name="api_dataset_versions",
    ),
    path(
        "projects/<slug:project_slug>/datasets/<str:dataset_name>/estimate/",
        datasets.OperationEstimate.as_view(),
        name="api_dataset_estimate",
    ),
    path(
        "projects/<slug:project_slug>/datasets/<str:dataset_name>/versions/<int:number>/",
        datasets.VersionDetail.as_view(),
        name="api_dataset_version",
    ),
    path(
        "projects/<slug:project_slug>/datasets/<str:dataset_name>/versions/<int:number>/rows/",
        datasets.RowList.as_view(),
        name="api_dataset_rows",
    ),
    path(
        "projects/<slug:project_slug>/datasets/<str:dataset_name>/versions/<int:number>/rows/"
        "<int:row_id>/image/",
        datasets.RowImage.as_view(),
        name="api_dataset_image",
    ),
    path(
        "projects/<slug:project_slug>/datasets/<str:dataset_name>/versions/<int:number>/rows/"
        "<int:row_id>/sound/",
        datasets.RowSound.as_view(),
        name="api_dataset_sound",
    ),
    path(
        "projects/<slug:project_slug>/datasets/<str:dataset_name>/versions/<int:number>/download/",
        datasets.Download.as_view(),
        name="api_dataset_download",
    ),
    path(
        "projects/<slug:project_slug>/datasets/<str:dataset_name>/versions/<int:number>/diff/",
        dataset_diffs.VersionDiff.as_view(),
        name="api_dataset_diff",
    ),
    path(
        "projects/<slug:project_slug>/templates/", prompts.PromptList.as_view(), name="api_prompts"
    ),
    path(
        "projects/<slug:project_slug>/templates/<str:prompt_name>/",
        prompts.PromptDetail.as_view(),
        name="api_prompt",
    ),
    path(
        "projects/<slug:project_slug>/templates/<str:prompt_name>/versions/",
        prompts.PromptVersionList.as_view(),
        name="api_prompt_versions",
    ),
]
