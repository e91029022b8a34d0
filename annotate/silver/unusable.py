"""Decides when a paid pre-labeling pauses because too many answers name no label: each of them costs, none helps."""

from dataclasses import dataclass

from django.conf import settings
from django.utils.translation import gettext as _

from models_ml.types import Failure, Judgement


@dataclass
class UnusableAnswers:
    """Counts the answers of one attempt at a run; a run that somebody resumes counts from zero.

    The settings say after how many in a row, and from which share of how many, it is enough (docs/operations.md).
    """

    why: str | None = None  # the reason to pause, once there is one
    _n: int = 0
    _n_unusable: int = 0
    _n_in_a_row: int = 0

    def record(self, answer: Judgement | Failure) -> None:
        """Count an answer that the server gave and charged for."""
        self._n += 1
        is_unusable = isinstance(answer, Failure)
        self._n_unusable += is_unusable
        self._n_in_a_row = self._n_in_a_row + 1 if is_unusable else 0
        self.why = self.why or self._reason()

    def room(self, n_out: int) -> int | None:
        """How many more may be asked while `n_out` answers are on their way; None: as many as one likes.

        Until a first answer is usable, no more are out than may fail in a row: so no more are paid for, however many
        requests the server takes at once.
        """
        most = settings.PRELABEL_UNUSABLE_IN_A_ROW
        if not most or self._n_unusable < self._n:
            return None
        return max(0, most - self._n_in_a_row - n_out)

    def _reason(self) -> str | None:
        if 0 < settings.PRELABEL_UNUSABLE_IN_A_ROW <= self._n_in_a_row:
            counts = {"n": self._n_in_a_row}
            return _("The last %(n)d answers in a row named no label, so nothing more is asked.") % counts + _advice()
        is_enough = self._n >= settings.PRELABEL_UNUSABLE_LEAST
        if is_enough and self._n_unusable > settings.PRELABEL_UNUSABLE_SHARE * self._n:
            counts = {"n": self._n_unusable, "all": self._n}
            return _("%(n)d of %(all)d answers named no label, so nothing more is asked.") % counts + _advice()
        return None


def _advice() -> str:
    return " " + _(
        "Look on the page Pre-label at what was replied. Then resume as it is, or cancel and change the connection or "
        "the guidelines; what failed can be asked again."
    )
