"""A rate of requests, in the two forms in which it is counted: evenly spaced, and in a window of whole seconds."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Rate:
    """`per_second` requests in the long run, `burst` of them at once; 0 a second: no limit."""

    per_second: float
    burst: int

    @property
    def gap(self) -> float:
        """Seconds between two requests that come evenly."""
        return 1 / self.per_second

    @property
    def window_seconds(self) -> int:
        """In this time a burst recovers; whole seconds, which is what the counter in Redis takes."""
        return max(1, math.ceil(round(self.burst / self.per_second, 6)))

    @property
    def per_window(self) -> int:
        return max(self.burst, int(self.per_second * self.window_seconds))
