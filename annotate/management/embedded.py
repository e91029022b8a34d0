"""Decides how the worker without a broker fills its lanes: so many runs of each at a time, each in a child process.

One thread does it all. Threads would gain nothing, because the work is done by the children, and a child is killed by
Linux when the thread that started it ends, not only when the process does.
"""

from collections.abc import Sequence

from annotate.management.performer import Performance, Performer
from annotate.runs import lanes, lifecycle


class Lanes:
    """The lanes that this worker serves, with what is at work in each."""

    def __init__(self, performer: Performer, names: Sequence[str]) -> None:
        self._performer = performer
        self._at_work: dict[str, list[Performance]] = {name: [] for name in names}

    @property
    def are_empty(self) -> bool:
        """Whether nothing is at work, and so nothing waited when they were filled last."""
        return not any(self._at_work.values())

    def clear(self) -> None:
        """Let go of the runs whose children have ended, or must."""
        for name, performances in self._at_work.items():
            over = [one for one in performances if self._performer.is_over(one)]
            self._performer.end(*over)
            self._at_work[name] = [one for one in performances if one not in over]

    def fill(self) -> None:
        """Begin runs that wait, in each lane as many as it has places for."""
        for name, performances in self._at_work.items():
            n_places = lanes.n_at_once(name)
            most = lanes.most_of_a_project(n_places)
            while len(performances) < n_places:
                run = self._performer.patiently(
                    lambda name=name, most=most: lifecycle.claim_next([name], most_of_a_project=most)  # type: ignore[misc]
                )
                if run is None:
                    break
                performances.append(self._performer.begin(run))

    def stop(self) -> None:
        """Stop all that is at work, at once."""
        self._performer.end(*(one for performances in self._at_work.values() for one in performances))
