"""`python -m k8s.prometheus_rule`: Prometheus' rules as the operator's PrometheusRule.

Kustomize cannot put a file into an object's field, so the object is written down, from the one
source of the rules; a test compares the two.
"""

from pathlib import Path
from textwrap import indent

ROOT = Path(__file__).resolve().parent.parent
RULES = ROOT / "docker" / "prometheus" / "alerts.yml"
OBJECT = ROOT / "k8s" / "components" / "monitoring" / "prometheusrule.yaml"
HEADER = """\
# Written by `python -m k8s.prometheus_rule` from docker/prometheus/alerts.yml: change that.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: lwbafa
  labels:
    app.kubernetes.io/name: lwbafa
spec:
"""


def render(rules: str) -> str:
    """A rule file's text as the object that holds it, comments included."""
    return HEADER + indent(rules, "  ")


def main() -> None:
    """Command line: write the object."""
    OBJECT.write_text(render(RULES.read_text()))


if __name__ == "__main__":
    main()
