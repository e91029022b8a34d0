"""Routes of the site. What is not public by name (annotate/web/http/guards.py) asks for a sign-in."""

from django.urls import include, path

urlpatterns = [path("", include("annotate.web.urls")), path("", include("annotate.api.urls"))]

handler400 = "annotate.web.http.errors.bad_request"
handler403 = "annotate.web.http.errors.denied"
handler404 = "annotate.web.http.errors.not_found"
handler500 = "annotate.web.http.errors.crashed"
