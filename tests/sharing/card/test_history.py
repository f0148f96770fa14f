"""Extract metrics from a history."""

from audiocraft_export.sharing.card.history import by_importance, metrics_of


def test_only_numbers_with_names_are_metrics():
    history = [{"train": {"ce": 1, "x": "y", 3: 4.0, "nan": float("nan")}, 5: {"ce": 1}}, None, {"train": {"ce": 0.5}}]
    assert metrics_of(history) == {"train": {"ce": {1: 1.0, 3: 0.5}}}


def test_there_are_at_most_eight_stages_and_a_thousand_metrics_in_all():
    many = {f"m{number}": 1.0 for number in range(1500)}
    found = metrics_of([{f"s{number}": many for number in range(20)}, {"new": many, "s0": {"new": 1.0, "m0": 2.0}}])
    assert list(found) == [f"s{number}" for number in range(8)]
    assert all(len(of_stage) == 1000 for of_stage in found.values()) and found["s0"]["m0"] == {1: 1.0, 2: 2.0}


def test_the_metric_of_the_best_epoch_comes_first_and_those_of_parts_last():
    assert by_importance(["ce_q1", "ppl", "ce"], "ce") == ["ce", "ppl", "ce_q1"]
