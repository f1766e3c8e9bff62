from django.urls import URLPattern, path

from projects.views import accounts, projects

app_name = "projects"

urlpatterns: list[URLPattern] = [
    path("sign-in/", accounts.sign_in, name="sign_in"),
    path("sign-in/link/<str:token>/", accounts.sign_in_link, name="sign_in_link"),
    path("sign-out/", accounts.sign_out, name="sign_out"),
    path("account/", accounts.account, name="account"),
    path("account/password/", accounts.change_password, name="change_password"),
    path("account/tokens/", accounts.tokens, name="tokens"),
    path("account/tokens/<int:pk>/revoke/", accounts.token_revoke, name="token_revoke"),
    path("projects/new/", projects.project_new, name="project_new"),
    path("p/<slug:project_slug>/settings/", projects.project_settings, name="project_settings"),
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
    path(
        "p/<slug:project_slug>/settings/archive/", projects.project_archive, name="project_archive"
    ),
    path(
        "p/<slug:project_slug>/settings/restore/", projects.project_restore, name="project_restore"
    ),
]
