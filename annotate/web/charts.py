"""Decides where the marks of a chart lie: coordinates for SVG templates, computed from stored figures."""

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate.models import Estimate
from annotate.reports.confusion import Confusion

_KIND = Estimate.Estimand

# Units of the SVG's viewBox. On a 320 px screen they shrink by a fifth, so letters of 12 stay readable.
WIDTH, HEIGHT = 380, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 38, 96, 12, 36
_LINE_HEIGHT = 15  # least distance of two names at the right end
_APART = 4.0  # horizontal distance of two series at one round, so that whiskers do not overlap

# Series differ also without colour: by marker, dash and the name at the line's end.
SERIES: tuple[tuple[str, Promise, str, str], ...] = (
    (_KIND.LLM, gettext_lazy("LLM"), "circle", "2 3"),
    (_KIND.MODEL, gettext_lazy("model"), "square", "7 3"),
    (_KIND.DELIVERED, gettext_lazy("delivered"), "diamond", ""),
)


@dataclass(frozen=True)
class Point:
    """A figure with its interval, as coordinates."""

    x: float
    y: float
    y_low: float
    y_high: float
    round: int
    value: float
    low: float
    high: float
    n: int
    schema: int  # the version of the labels that the figure speaks of, by its primary key


@dataclass(frozen=True)
class Line:
    """One series: its points, and how it is drawn."""

    key: str
    name: str
    marker: str
    dash: str
    points: list[Point]
    label_y: float

    @property
    def paths(self) -> list[str]:
        """Coordinates of the strokes: one for each version of the labels, because figures of two are not comparable."""
        parts = (list(part) for _, part in groupby(self.points, key=lambda point: point.schema))
        return [" ".join(f"{point.x:g},{point.y:g}" for point in part) for part in parts]

    @property
    def last(self) -> Point:
        return self.points[-1]


@dataclass(frozen=True)
class Tick:
    """A label of an axis and its place; `name` says it in full where the text is shortened."""

    at: float
    text: str
    name: str = ""


@dataclass(frozen=True)
class LineChart:
    """All that the template of a line chart draws."""

    lines: list[Line]
    y_ticks: list[Tick]
    x_ticks: list[Tick]
    rounds: list[int]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    label_x: int = WIDTH - _RIGHT + 12
    bottom: int = HEIGHT - _BOTTOM
    ticks_y: int = HEIGHT - _BOTTOM + 16
    axis_y: int = HEIGHT - 4


def accuracy_chart(history: Sequence[Estimate]) -> LineChart | None:
    """The chart of accuracies over rounds, with intervals; None if no round has a figure."""
    rows = [row for row in history if row.round and None not in (row.value, row.low, row.high)]
    rounds = sorted({row.round.index for row in rows if row.round})
    if not rounds:
        return None
    floor = floor_of(min(row.low or 0.0 for row in rows))
    lines = []
    for place, (key, name, marker, dash) in enumerate(SERIES):
        of_this = [row for row in rows if row.estimand == key]
        points = [_point(row, rounds, floor, (place - 1) * _APART) for row in of_this]
        if points:
            lines.append(Line(key, str(name), marker, dash, points, 0.0))
    steps = [floor + step * (1 - floor) / 4 for step in range(5)]
    return LineChart(
        lines=apart(lines),
        y_ticks=[Tick(y_at(step, floor), f"{step:.0%}") for step in steps],
        x_ticks=[Tick(x_at(index, rounds), str(index)) for index in few(rounds)],
        rounds=rounds,
    )


def _point(row: Estimate, rounds: list[int], floor: float, beside: float) -> Point:
    assert row.round is not None
    assert row.value is not None
    assert row.low is not None
    assert row.high is not None
    return Point(
        x=round(x_at(row.round.index, rounds) + beside, 1),
        y=y_at(row.value, floor),
        y_low=y_at(row.low, floor),
        y_high=y_at(row.high, floor),
        round=row.round.index,
        value=row.value,
        low=row.low,
        high=row.high,
        n=row.n,
        schema=row.delivered_version.schema_id,
    )


def floor_of(lowest: float) -> float:
    """The lowest value of the axis: a multiple of 20 points, so that its four steps have round numbers."""
    return max(0.0, min(0.8, math.floor(lowest * 5) / 5))


def y_at(value: float, floor: float) -> float:
    """The height of a value on an axis from `floor` to 1."""
    return round(HEIGHT - _BOTTOM - (value - floor) / (1 - floor) * (HEIGHT - _BOTTOM - _TOP), 1)


def x_at(index: int, rounds: list[int]) -> float:
    """The horizontal place of a round among the drawn rounds."""
    width = WIDTH - _LEFT - _RIGHT
    if len(rounds) == 1:
        return _LEFT + width / 2
    return _LEFT + 10 + (width - 20) * (index - rounds[0]) / (rounds[-1] - rounds[0])


def few(rounds: list[int], most: int = 8) -> list[int]:
    """At most `most` of the rounds, evenly, with the last one: those that the axis names."""
    step = math.ceil(len(rounds) / most)
    return rounds[::-1][::step][::-1]


def apart(lines: list[Line]) -> list[Line]:
    """Move the lines' names at the right end down and then up, until none covers another and all are inside."""
    order = sorted(range(len(lines)), key=lambda place: lines[place].last.y)
    at: dict[int, float] = {}
    above = float(_TOP)
    for place in order:
        above = at[place] = max(lines[place].last.y, above)
        above += _LINE_HEIGHT
    below = float(HEIGHT - _BOTTOM)
    for place in reversed(order):
        below = at[place] = min(at[place], below)
        below -= _LINE_HEIGHT
    return [
        Line(line.key, line.name, line.marker, line.dash, line.points, round(at[place], 1))
        for place, line in enumerate(lines)
    ]


# The heat map of Ĉ: rows are true labels, columns the machine's.

TEXT_UP_TO = 20  # labels; with more, numbers in cells would be unreadable, and the table below the map has them
TOO_LITTLE = 5  # reference gold items of a row; with fewer, the prior weighs more than the counts
_MAP = 380.0
_NAME = 16  # letters of a name beside the map; the rest is in its title and in the table
_LETTER = 6.6  # width of a letter of that size, about
_STRONGEST = 0.45  # opacity of a cell of probability 1: text stays readable on it in both themes


@dataclass(frozen=True)
class Cell:
    """One entry of Ĉ as a square of the map."""

    x: float
    y: float
    opacity: float
    title: str
    count: int
    text: str
    is_right: bool


@dataclass(frozen=True)
class ConfusionRow:
    """One true label with its counts, as a row of the table beside the map."""

    number: int
    name: str
    n: int
    counts: list[int]
    n_right: int
    right: float  # Ĉ on the diagonal
    low: float
    high: float

    @property
    def is_scarce(self) -> bool:
        """Whether the row has too little reference gold to trust its counts."""
        return self.n < TOO_LITTLE


@dataclass(frozen=True)
class Pair:
    """A frequent error: what the machine says of items of another label."""

    truth: str
    machine: str
    count: int
    n: int
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class HeatMap:
    """All that the template of a heat map draws."""

    rows: list[ConfusionRow]
    cells: list[Cell]
    columns: list[Tick]
    lines: list[Tick]  # names of the rows
    pairs: list[Pair]
    size: float
    width: float
    height: float
    left: float
    top: float
    n: int
    wanted: int
    has_text: bool

    @property
    def inner_width(self) -> float:
        return round(self.width - self.left, 1)

    @property
    def inner_height(self) -> float:
        return round(self.height - self.top - 2, 1)

    @property
    def names_x(self) -> float:
        """Where the names of rows end; those of columns end as far above the map."""
        return self.left - 4

    @property
    def font(self) -> float:
        return round(min(12.0, self.size * 0.55), 1)

    @property
    def dx(self) -> float:
        return round(self.size / 2, 2)

    @property
    def dy(self) -> float:
        return round(self.size / 2 + self.font * 0.35, 2)

    @property
    def n_scarce(self) -> int:
        return sum(row.is_scarce for row in self.rows)


def heat_map(confusion: Confusion) -> HeatMap:
    """The heat map of Ĉ, a cell per entry; with many labels only entries that were counted at least once."""
    k = len(confusion.labels)
    has_text = k <= TEXT_UP_TO
    names = [*confusion.labels, _("no valid answer")]
    shown = [*(short(f"{place} {name}") for place, name in enumerate(confusion.labels, 1)), short(names[-1])]
    left = top = round(8 + _LETTER * max(map(_width, shown)), 1)
    size = round((_MAP - left) / (k + 1), 2)
    cells = [
        _cell(confusion, names, at=(i, j), corner=(left + j * size, top + i * size), has_text=has_text)
        for i in range(k)
        for j in range(k + 1)
        if has_text or confusion.counts[i, j]
    ]
    step = 1 if has_text else math.ceil(k / 15)
    columns = [Tick(round(left + (j + 0.5) * size, 1), shown[j], names[j]) for j in [*range(0, k, step), k]]
    return HeatMap(
        rows=[_row(confusion, i) for i in range(k)],
        cells=cells,
        lines=[Tick(round(top + (i + 0.5) * size, 1), shown[i], names[i]) for i in range(0, k, step)],
        columns=columns,
        pairs=[_pair(confusion, names, i, j) for i, j in confusion.pairs(10)],
        size=size,
        width=_MAP,
        height=round(top + k * size + 2, 1),
        left=left,
        top=top,
        n=int(confusion.n.sum()),
        wanted=confusion.wanted,
        has_text=has_text,
    )


def short(name: str) -> str:
    """The beginning of a name that has no room; letters of East Asian scripts are as wide as two others."""
    if _width(name) <= _NAME:
        return name
    while _width(name) >= _NAME:
        name = name[:-1]
    return f"{name.rstrip()}…"


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def _cell(
    confusion: Confusion, names: list[str], *, at: tuple[int, int], corner: tuple[float, float], has_text: bool
) -> Cell:
    """The entry `at` (truth, machine) with its upper left corner in the picture."""
    (i, j), (x, y) = at, corner
    share, count, n = confusion.share[i, j], int(confusion.counts[i, j]), int(confusion.n[i])
    title = _("%(truth)s → %(machine)s: %(count)s of %(n)s; estimated %(share)s %% (%(low)s–%(high)s)") % {
        "truth": names[i],
        "machine": names[j],
        "count": count,
        "n": n,
        "share": f"{100 * share:.0f}",
        "low": f"{100 * confusion.low[i, j]:.0f}",
        "high": f"{100 * confusion.high[i, j]:.0f}",
    }
    text = str(count) if has_text and count else ""
    return Cell(round(x, 2), round(y, 2), round(_STRONGEST * float(share), 3), title, count, text, i == j)


def _row(confusion: Confusion, i: int) -> ConfusionRow:
    return ConfusionRow(
        number=i + 1,
        name=confusion.labels[i],
        n=int(confusion.n[i]),
        counts=[int(count) for count in confusion.counts[i]],
        n_right=int(confusion.counts[i, i]),
        right=float(confusion.share[i, i]),
        low=float(confusion.low[i, i]),
        high=float(confusion.high[i, i]),
    )


def _pair(confusion: Confusion, names: list[str], i: int, j: int) -> Pair:
    return Pair(
        names[i],
        names[j],
        int(confusion.counts[i, j]),
        int(confusion.n[i]),
        float(confusion.share[i, j]),
        float(confusion.low[i, j]),
        float(confusion.high[i, j]),
    )
