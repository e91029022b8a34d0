"""What can go wrong, named as facts; each message is a sentence a person can act on. Knows no database."""


class GoldloopError(Exception):
    """Expected failure: its text is shown to people, never a trace."""


class AccessDenied(GoldloopError):
    """The acting person may not do this in this project."""


class NotFound(GoldloopError):
    """No such thing, or none that the acting person may know of."""


class InvalidInput(GoldloopError):
    """What was given cannot be used; the message says what and where."""


class Conflict(GoldloopError):
    """The state of the project does not allow this now."""


class LeaseLost(GoldloopError):
    """The item is no longer held for this annotator."""


class RunLost(GoldloopError):
    """Another attempt took this run over; this one must stop writing."""


class RunBusy(Conflict):
    """A run of this kind is alive in this project."""


class RunPaused(GoldloopError):
    """The run stops here and can go on later: somebody asked for that, or a cap was reached."""


class RunCancelled(GoldloopError):
    """Somebody cancelled the run; what was finished is kept."""


class FileDamaged(GoldloopError):
    """A stored file does not have the checksum that its row records."""


class BudgetReached(Conflict):
    """The next attempt is not paid for: a cap stands in the way, or none was set, or somebody stopped spending."""
