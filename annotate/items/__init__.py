"""Items after their import: how they are looked up, withdrawn, brought back and corrected. None is ever deleted."""

from annotate.items.correction import CORRECTIONS, correct, is_correctable
from annotate.items.lookup import HAS, Found, Search, find, search
from annotate.items.withdrawal import WithdrawalImpact, bring_back, withdraw, withdrawal_impact

__all__ = [
    "CORRECTIONS",
    "HAS",
    "Found",
    "Search",
    "WithdrawalImpact",
    "bring_back",
    "correct",
    "find",
    "is_correctable",
    "search",
    "withdraw",
    "withdrawal_impact",
]
