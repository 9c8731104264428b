"""How long a batch takes, learnt while serving."""


class BatchTimeModel:
    """Online fit of batch time = a·n + b by least squares that forgets old batches.

    Times are in seconds. Before the first batch it knows nothing and predicts 0.
    """

    def __init__(self, memory_batches: float = 100.0) -> None:
        self._keep = 1 - 1 / memory_batches
        # Sums of 1, n, t, n² and n·t. Replaced as one, since the event loop predicts while the
        # device thread observes.
        self._sums: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.0)

    def observe(self, size: int, seconds: float) -> None:
        """Learn from one batch of `size` items."""
        seen = (1.0, size, seconds, size * size, size * seconds)
        self._sums = tuple(
            old * self._keep + new for old, new in zip(self._sums, seen, strict=True)
        )

    def predict(self, size: int) -> float:
        """Expected seconds for a batch of `size` items."""
        weight, *sums = self._sums
        if not weight:
            return 0.0
        mean_n, mean_t, mean_nn, mean_nt = (total / weight for total in sums)
        variance = mean_nn - mean_n**2
        if variance < 1e-9:
            # Only one size seen so far: assume that time grows with it.
            return mean_t * size / mean_n
        slope = max(0.0, (mean_nt - mean_n * mean_t) / variance)
        return max(0.0, mean_t + slope * (size - mean_n))
