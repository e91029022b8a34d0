"""The only Django app of the product."""

from django.apps import AppConfig


class AnnotateConfig(AppConfig):
    name = "annotate"
    verbose_name = "Goldloop"

    def ready(self) -> None:
        from annotate import checks  # noqa: F401  (registers the system checks)
