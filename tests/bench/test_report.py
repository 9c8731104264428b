"""Tables and their JSON hold what was measured."""

import json

from bench.report import Report, Spread, interleaved


def test_a_spread_is_median_least_and_greatest() -> None:
    assert Spread.of([3.0, 1.0, 2.0, 9.0, 2.5]) == (2.5, 1.0, 9.0)


def test_ratios_are_taken_within_each_round() -> None:
    # The second round ran on a machine of half the speed.
    assert Spread.of_ratios([20.0, 10.0], [10.0, 5.0]) == (2.0, 2.0, 2.0)


def test_rounds_alternate_their_order() -> None:
    order: list[str] = []

    def measurement(name: str) -> float:
        order.append(name)
        return float(len(order))

    values = interleaved(2, {n: lambda n=n: measurement(n) for n in "ab"}, "test")  # type: ignore[misc]
    assert order == ["a", "b", "b", "a"]
    assert values == {"a": [1.0, 4.0], "b": [2.0, 3.0]}


def test_text_and_json_hold_every_cell() -> None:
    report = Report(
        "Title", "A note.", [{"": "a", "speed": Spread(2, 1, 3), "size": 4.5, "why": "so"}]
    )
    text = report.as_text()
    for part in ("Title", "A note.", "speed", "2 (1–3)", "4.5", "so"):
        assert part in text
    (row,) = json.loads(json.dumps(report.as_json()))["rows"]
    assert row["speed"] == {"median": 2, "low": 1, "high": 3}
    assert row["size"] == 4.5
