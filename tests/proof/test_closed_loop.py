"""The load generator counts as it says."""

from proof.harness.closed_loop import Load, Probe, rate


def test_a_rate_counts_from_answer_to_answer() -> None:
    # Batches of two at 1, 2, 3 and 4; the window cuts into the first and the last interval.
    answered = [1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0]
    assert rate(answered, 1.5, 3.9) == 2.0


def test_no_answers_are_a_rate_of_zero() -> None:
    assert rate([], 1.0, 2.0) == 0


def test_percentiles_tell_a_probe_that_waited_from_a_server_that_did() -> None:
    probes = [Probe(0.001, 0.001)] * 95 + [Probe(0.101, 0.001)] * 5
    assert Load(1, probes, 0, 0).p99_ms() == (101, 1)
