"""The benchmark of the training loop prints what is documented."""

import json

from benchmarks import training


def test_it_prints_a_line_per_model(capsys):
    training.main(["--items", "200", "--epochs", "1", "--repeats", "2"])
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(record["model"], record["device"]) for record in found] == [("linear", "cpu"), ("words", "cpu")]
    for record in found:
        assert record["samples_per_s"] > 0 and record["low"] <= record["ratio_to_plain"] <= record["high"]
