"""Seals: chains of digests beside the rows. Append-only: triggers in the database refuse updates and deletions."""

from django.db import models
from django.db.models import Q

from annotate.models.project import Project


class Seal(models.Model):
    """A link of the chain of a project, or of the site where `project` is NULL: it vouches for a batch of rows.

    The chain stands beside the rows, because a digest in each row would serialise those who insert rows, and the
    event log refuses to add one later. What is hashed: annotate/seals/chain.py.
    """

    project = models.ForeignKey(Project, null=True, on_delete=models.PROTECT, related_name="seals")
    sequence = models.PositiveBigIntegerField()  # 1, 2, 3, ... without gaps in each chain
    previous = models.CharField(max_length=64)  # the hash of the seal before; sixty-four zeros in the first
    digest = models.CharField(max_length=64)  # SHA-256 of its batch: of all its SealedRows
    hash = models.CharField(max_length=64, unique=True)  # SHA-256 of the columns above; the last one is the head
    n_rows = models.PositiveBigIntegerField()
    # The highest sealed key by leaf, so that what came since is found without reading the chain; no part of the hash.
    reached = models.JSONField(default=dict)
    # False: its rows are older than the chain. Nobody knows what happened to them before it.
    is_vouched = models.BooleanField(default=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "sequence"], name="seal_sequence_once"),
            models.UniqueConstraint(
                fields=["sequence"], condition=Q(project__isnull=True), name="seal_sequence_once_of_site"
            ),
        ]

    def __str__(self) -> str:
        return f"seal {self.sequence}"


class SealedRows(models.Model):
    """What a seal says of rows of one table: a digest of what never changes, and the values of what may change."""

    seal = models.ForeignKey(Seal, on_delete=models.PROTECT, related_name="batches")
    leaf = models.CharField(max_length=30)  # which rows: a name of annotate/seals/leaves.py
    keys = models.BinaryField()  # (n,) int64, little-endian, ascending: the rows' primary keys
    digests = models.BinaryField()  # (n, 32) bytes of SHA-256; empty: sealed before, of the first seal of each row
    states = models.BinaryField()  # deflated JSON, a list of values for each row; empty: nothing of these may change
    is_gone = models.BooleanField(default=False)  # the rows were deleted, as the program may

    def __str__(self) -> str:
        return f"{self.leaf} of {self.seal_id}"
