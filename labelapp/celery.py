"""The Celery app: how processes on other machines hear of new runs. Nobody needs it where REDIS_URL is not set.

`celery -A labelapp worker -Q llm`, `-Q io` and `-Q ml` start workers, one for each lane (docs/operations.md). Web
processes import this only to ring, and only where there is a broker; labelapp/__init__.py must not, or every process
would pay for it.
"""

import os

from celery import Celery
from django.core.exceptions import ImproperlyConfigured

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "labelapp.settings")


def _made() -> Celery:
    from django.conf import settings

    if not settings.REDIS_URL:  # else Celery would look for RabbitMQ on this machine
        raise ImproperlyConfigured("Celery needs REDIS_URL; without it `manage.py worker` does all work.")
    made = Celery("goldloop")
    made.config_from_object("django.conf:settings", namespace="CELERY")
    return made


app = _made()
