"""Names what can go wrong; each error's message is a sentence that a person can act on. Imports no models."""


class GoldloopError(Exception):
    """An expected failure. People are shown its message, and never a traceback."""


class AccessDenied(GoldloopError):
    """The acting person may not do this in this project."""


class NotFound(GoldloopError):
    """There is no such thing, or the acting person may not know that there is."""


class InvalidInput(GoldloopError):
    """The input cannot be used; the message says which part of it and why."""


class Conflict(GoldloopError):
    """The present state of the project does not allow this action."""


class NotStored(GoldloopError):
    """What this needs to store cannot be stored now; nothing was changed, and the same may be tried again."""


class LeaseLost(GoldloopError):
    """The annotator no longer holds the lease of the question."""


class RunLost(GoldloopError):
    """Another attempt took over the run; the attempt that gets this error must stop writing."""


class RunBusy(Conflict):
    """A run of the same kind is queued, running or paused in the project; only one may be."""


class RunPaused(GoldloopError):
    """The run pauses and can be resumed later: somebody asked for it, or a budget's cap was reached."""


class RunCancelled(GoldloopError):
    """Somebody cancelled the run; the work that was committed before is kept."""


class FileDamaged(GoldloopError):
    """A stored file does not have the checksum that its row records."""


class BudgetReached(Conflict):
    """Nothing more can be reserved from the budget: its cap is reached, it has no cap, or somebody stopped spending."""


class Busy(GoldloopError):
    """Too much of this is being done at this moment; `seconds` later it may be tried again."""

    def __init__(self, sentence: str, seconds: int) -> None:
        super().__init__(sentence)
        self.seconds = seconds


class QuotaReached(GoldloopError):
    """No more of this is taken today; `seconds` later it is."""

    def __init__(self, sentence: str, seconds: int) -> None:
        super().__init__(sentence)
        self.seconds = seconds


class NotRecorded(GoldloopError):
    """Who sees what machines say is recorded first; that was not possible, so nothing is shown."""
