"""What a caller would rather have."""

from collections.abc import Sequence
from contextlib import suppress

JSON = "application/json"


def preferred(accept: Sequence[str], offered: Sequence[str]) -> str:
    """Which of the offered media types the Accept headers rank first (RFC 9110, 12.5.1).

    The first of them where it ranks none higher.
    """
    ranges: dict[str, float] = {}
    for entry in ",".join(accept).lower().split(","):
        media_range, *parameters = (part.strip() for part in entry.split(";"))
        values = [p.removeprefix("q=") for p in parameters if p.startswith("q=")]
        with suppress(ValueError):
            ranges[media_range] = float(values[0]) if values else 1.0

    def quality(media_type: str) -> float:
        """By the most specific range that names it."""
        kind = media_type.split("/")[0]
        named = (r for r in (media_type, f"{kind}/*", "*/*") if r in ranges)
        return ranges.get(next(named, ""), 0.0)

    return max(offered, key=quality)
