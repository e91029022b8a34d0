"""The product's only Django app."""

from django.apps import AppConfig


class AnnotateConfig(AppConfig):
    name = "annotate"
    verbose_name = "Goldloop"

    def ready(self) -> None:
        from annotate import checks  # noqa: F401  (registers the system checks)
