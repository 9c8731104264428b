"""What a service's `/metrics` says, read by Prometheus' own parser."""

from prometheus_client.parser import text_string_to_metric_families


def metric(text: str, name: str, /, **labels: str) -> float:
    """The sum of a metric's samples that have these labels; 0 if nothing was observed with them.

    `text` is what `/metrics` answers, `name` a sample's: `lwbafa_batch_faces_count`. Raises
    LookupError if the service exports no such metric.
    """
    families = [f for f in text_string_to_metric_families(text) if name.startswith(f.name)]
    if not families:
        raise LookupError(f"there is no metric {name}")
    return sum(
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )
