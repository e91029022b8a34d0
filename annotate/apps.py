"""The only Django app of the product."""

from django.apps import AppConfig


class AnnotateConfig(AppConfig):
    name = "annotate"
    verbose_name = "Goldloop"

    def ready(self) -> None:
        from django.db.backends.signals import connection_created

        from annotate import checks  # noqa: F401  (registers the system checks)
        from annotate.models import letter_case

        connection_created.connect(letter_case.give_sqlite_its_functions)  # Django has no other place for it
