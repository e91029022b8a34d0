"""Charts: what is drawn equals what is stored, and nothing in them can run or restyle."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from django.template.loader import render_to_string

from annotate.reports.confusion import Confusion
from annotate.web import charts

EVIL = "<script>alert(1)</script>"


def row(estimand, index, value, low, high, n=50, schema=1):
    figure = {"estimand": estimand, "value": value, "low": low, "high": high, "n": n}
    return SimpleNamespace(
        **figure, round=SimpleNamespace(index=index), delivered_version=SimpleNamespace(schema_id=schema)
    )


def make_confusion(labels, counts):
    counts = np.array(counts)
    n = counts.sum(axis=1, keepdims=True)
    share = (counts + 5 / counts.shape[1]) / (n + 5)
    return Confusion(labels, counts, share, share * 0.5, np.minimum(1, share * 1.5))


def value_at(chart, y):
    """What the axis says of a height, from its own ticks."""
    low, high = chart.y_ticks[0], chart.y_ticks[-1]
    floor, top = (float(tick.text.rstrip("%")) / 100 for tick in (low, high))
    return floor + (low.at - y) / (low.at - high.at) * (top - floor)


class TestLines:
    def test_heights_are_the_values(self):
        rows = [row("llm", 1, 0.752, 0.638, 0.836), row("delivered", 1, 0.897, 0.811, 0.948)]
        chart = charts.accuracy_chart(rows)
        for line, of in zip(chart.lines, rows, strict=True):
            (point,) = line.points
            assert value_at(chart, point.y) == pytest.approx(of.value, abs=0.002)
            assert value_at(chart, point.y_low) == pytest.approx(of.low, abs=0.002)
            assert value_at(chart, point.y_high) == pytest.approx(of.high, abs=0.002)

    def test_without_a_figure_there_is_no_chart(self):
        assert charts.accuracy_chart([]) is None
        assert charts.accuracy_chart([row("llm", 1, None, None, None)]) is None

    def test_names_at_the_end_do_not_cover_each_other(self):
        rows = [row(name, 1, 0.9, 0.8, 0.95) for name in ("llm", "model", "delivered")]
        at = sorted(line.label_y for line in charts.accuracy_chart(rows).lines)
        assert min(np.diff(at)) >= 12
        assert at[-1] <= charts.HEIGHT

    def test_every_point_is_inside(self):
        rows = [row("delivered", index, 0.5 + index / 100, 0.0, 1.0) for index in range(1, 41)]
        chart = charts.accuracy_chart(rows)
        for point in chart.lines[0].points:
            assert chart.left <= point.x <= chart.right
            assert 0 <= point.y_high <= point.y <= point.y_low <= chart.bottom
        assert len(chart.x_ticks) <= 8
        assert chart.x_ticks[-1].text == "40"

    def test_no_line_joins_two_versions_of_the_labels(self):
        rows = [row("delivered", index, 0.9, 0.8, 0.95, schema=1 + (index > 2)) for index in (1, 2, 2.5, 3)]
        (line,) = charts.accuracy_chart(rows).lines
        assert [len(path.split()) for path in line.paths] == [2, 2]
        html = render_to_string("annotate/overview/_chart.html", {"chart": charts.accuracy_chart(rows)})
        assert html.count("<polyline") == 2

    def test_series_differ_without_colour(self):
        assert len({(marker, dash) for _, _, marker, dash in charts.SERIES}) == len(charts.SERIES)

    def test_it_is_drawn_with_a_table_and_without_style(self):
        chart = charts.accuracy_chart([row("delivered", 2, 0.93149, 0.91, 0.95, n=1234)])
        html = render_to_string("annotate/overview/_chart.html", {"chart": chart})
        assert "style=" not in html
        assert "<title" in html
        assert "93.1 %" in html
        assert "1,234" in html.split("<table")[1]


class TestHeatMap:
    def test_cells_hold_counts_and_shares(self):
        confusion = make_confusion(["a", "b"], [[9, 1, 0], [2, 6, 0]])
        heat = charts.heat_map(confusion)
        assert [cell.text for cell in heat.cells] == ["9", "1", "", "2", "6", ""]
        assert heat.cells[1].title.startswith("a → b: 1 of 10; estimated ")
        assert heat.cells[0].opacity == pytest.approx(0.45 * confusion.share[0, 0], abs=0.001)

    def test_both_axes_say_the_labels_and_the_table_says_them_whole(self):
        names = ["refund", "a label whose name is far too long for an axis", "クレジットカードの紛失"]
        heat = charts.heat_map(make_confusion(names, np.eye(3, 4, dtype=int) * 9))
        said = ["1 refund", "2 a label whose…", "3 クレジットカ…"]
        assert [tick.text for tick in heat.lines] == said
        assert [tick.text for tick in heat.columns] == [*said, "no valid answer"]
        html = render_to_string("annotate/overview/_confusion.html", {"heat": heat})
        head = html.split("<thead")[1].split("</thead>")[0]
        assert all(f">{name}</th>" in head for name in [*names, "no valid answer"])
        assert all(html.count(f"<title>{name}</title>") == 2 for name in names)

    def test_names_have_room_beside_the_map(self):
        heat = charts.heat_map(make_confusion(["m" * 40, "b"], [[9, 1, 0], [2, 6, 0]]))
        assert heat.left < heat.width / 3
        assert min(cell.x for cell in heat.cells) >= heat.left > heat.names_x

    def test_pairs_are_those_seen_most_often(self):
        heat = charts.heat_map(make_confusion(["a", "b"], [[9, 1, 0], [2, 6, 3]]))
        assert [(pair.truth, pair.machine, pair.count, pair.n) for pair in heat.pairs] == [
            ("b", "no valid answer", 3, 11),
            ("b", "a", 2, 11),
            ("a", "b", 1, 10),
        ]

    def test_a_row_with_too_little_gold_says_so(self):
        heat = charts.heat_map(make_confusion(["a", "b"], [[4, 0, 0], [0, 5, 0]]))
        assert [row.is_scarce for row in heat.rows] == [True, False]
        assert heat.n < heat.wanted == 50

    def test_with_many_labels_only_what_was_seen_is_drawn(self):
        k = 77
        counts = np.zeros((k, k + 1), int)
        counts[np.arange(k), np.arange(k)] = 3
        heat = charts.heat_map(make_confusion([f"label {i}" for i in range(k)], counts))
        assert len(heat.cells) == k
        assert not any(cell.text for cell in heat.cells)
        assert len(heat.columns) <= 16
        assert heat.wanted == 385

    def test_cells_stay_inside(self):
        heat = charts.heat_map(make_confusion(["a", "b"], [[9, 1, 0], [2, 6, 0]]))
        assert all(cell.x + heat.size <= heat.width + 0.1 for cell in heat.cells)
        assert all(cell.y + heat.size <= heat.height for cell in heat.cells)

    def test_names_cannot_run(self):
        heat = charts.heat_map(make_confusion([EVIL, 'b" onload="x'], [[9, 1, 0], [2, 6, 0]]))
        html = render_to_string("annotate/overview/_confusion.html", {"heat": heat})
        assert "<script>" not in html
        assert 'onload="x' not in html
        assert not re.search(r"\sstyle=", html)
