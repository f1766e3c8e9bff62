from django.urls import URLPattern, path

from projects.api import me, projects, tokens

urlpatterns: list[URLPattern] = [
    path("me/", me.Me.as_view(), name="api_me"),
    path("tokens/", tokens.TokenList.as_view(), name="api_tokens"),
    path("tokens/<int:pk>/", tokens.TokenDetail.as_view(), name="api_token"),
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
]
