"""Connections to LLM servers. They belong to the site, whose owners lend them to projects."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower

from annotate.models.base import PublicIdField
from annotate.models.project import Project
from annotate.models.user import User

LIMIT_NAMES = ("max_tokens", "max_completion_tokens")


class Connection(models.Model):
    """An OpenAI-compatible endpoint with one model and its prices. Its key is stored encrypted and never shown."""

    public_id = PublicIdField()
    name = models.CharField(max_length=100)
    base_url = models.URLField(max_length=500)  # as far as /v1
    key_encrypted = models.BinaryField(blank=True, default=b"")  # empty: the server needs none
    key_hint = models.CharField(max_length=8, blank=True, default="")  # the key's last four characters
    model = models.CharField(max_length=200)
    currency = models.CharField(max_length=3, default="USD")
    # Micro-units of the currency per million tokens. NULL: unknown; a server without prices is not asked.
    input_price_micros = models.PositiveBigIntegerField(null=True)
    output_price_micros = models.PositiveBigIntegerField(null=True)
    max_concurrency = models.PositiveSmallIntegerField(default=8)
    requests_per_minute = models.PositiveIntegerField(null=True, blank=True)  # NULL: no limit but the server's own
    timeout_seconds = models.PositiveSmallIntegerField(default=60)
    n_alternatives = models.PositiveSmallIntegerField(default=20)  # log-probabilities to ask for; a test may lower it
    # Newer models of OpenAI take max_completion_tokens instead of max_tokens, and no temperature.
    limit_name = models.CharField(max_length=30, choices=[(name, name) for name in LIMIT_NAMES], default=LIMIT_NAMES[0])
    sends_temperature = models.BooleanField(default=True)  # 0, so that the answer does not change by chance
    allows_private = models.BooleanField(default=False)  # base_url may lead to a private or link-local address
    is_active = models.BooleanField(default=True)  # False: no further request is sent
    lent_to = models.ManyToManyField(Project, blank=True, related_name="lent_connections")
    created_by = models.ForeignKey(User, null=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(Lower("name"), name="connection_name_once"),
            models.CheckConstraint(
                condition=Q(max_concurrency__gte=1, max_concurrency__lte=64), name="connection_concurrency_bounded"
            ),
            models.CheckConstraint(condition=Q(n_alternatives__lte=20), name="connection_alternatives_bounded"),
            models.CheckConstraint(
                condition=Q(timeout_seconds__gte=1, timeout_seconds__lte=600), name="connection_timeout_bounded"
            ),
        ]

    def __str__(self) -> str:
        return self.name
