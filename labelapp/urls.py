"""Routes of the site. None yet: the loop runs through commands, and what is not listed is denied."""

from django.urls import URLPattern, URLResolver

urlpatterns: list[URLPattern | URLResolver] = []
