"""Every page and action, by name `page-verb`. Project pages are under /p/<slug>/."""

from django.urls import path

from annotate.web import accounts, exports, health, items, labeling, overview, people, projects, runs, theme

urlpatterns = [
    path("", projects.list_projects, name="projects-list"),
    path("healthz", health.healthz, name="healthz"),
    path("sign-in", accounts.sign_in, name="sign-in"),
    path("sign-out", accounts.sign_out, name="sign-out"),
    path("password", accounts.change_password, name="password-change"),
    path("invitation/<str:token>", accounts.accept_invitation, name="invitation-accept"),
    path("theme", theme.set_theme, name="theme-set"),
    path("p/<slug:slug>/", overview.show, name="overview-show"),
    path("p/<slug:slug>/guidelines", overview.guidelines, name="guidelines-show"),
    path("p/<slug:slug>/label/", labeling.work, name="labeling-work"),
    path("p/<slug:slug>/label/next", labeling.next_items, name="labeling-next"),
    path("p/<slug:slug>/label/submit", labeling.submit, name="labeling-submit"),
    path("p/<slug:slug>/label/change", labeling.change, name="labeling-change"),
    path("p/<slug:slug>/label/renew", labeling.renew, name="labeling-renew"),
    path("p/<slug:slug>/label/release", labeling.release, name="labeling-release"),
    path("p/<slug:slug>/label/draft", labeling.draft, name="labeling-draft"),
    path("p/<slug:slug>/label/reveal", labeling.reveal, name="labeling-reveal"),
    path("p/<slug:slug>/label/why", labeling.why, name="labeling-why"),
    path("p/<slug:slug>/label/history", labeling.history, name="labeling-history"),
    path("p/<slug:slug>/items/skipped", items.skipped, name="items-skipped"),
    path("p/<slug:slug>/items/flagged", items.flagged, name="items-flagged"),
    path("p/<slug:slug>/items/quarantined", items.quarantined, name="items-quarantined"),
    path("p/<slug:slug>/people", people.list_people, name="people-list"),
    path("p/<slug:slug>/people/invite", people.invite, name="people-invite"),
    path("p/<slug:slug>/people/<str:person>/set", people.set_member, name="people-set"),
    path("p/<slug:slug>/people/<str:person>/remove", people.remove, name="people-remove"),
    path("p/<slug:slug>/invitations/<str:invitation>/revoke", people.revoke, name="invitation-revoke"),
    path("p/<slug:slug>/exports", exports.list_exports, name="exports-list"),
    path("p/<slug:slug>/exports/<str:run>/<str:name>", exports.download, name="exports-download"),
    path("p/<slug:slug>/runs", runs.list_runs, name="runs-list"),
    path("p/<slug:slug>/runs/start", runs.start, name="runs-start"),
    path("p/<slug:slug>/runs/<str:run>", runs.show, name="runs-show"),
]
