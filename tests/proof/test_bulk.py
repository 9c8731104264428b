"""A short version of `python -m proof.bulk`: real nodes, real kills; times are not judged."""

from pathlib import Path

import pytest

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'lwbafa[ray]'")

from proof.bulk.__main__ import FAMILIES  # noqa: E402
from proof.bulk.memory import Sample, growth_mib  # noqa: E402
from proof.bulk.setup import Setup  # noqa: E402
from proof.promises.promises import Family, Plan, as_markdown, missed  # noqa: E402

SHORT = Plan(short=True)

# Ray's and pandas' own warnings, of which nothing here can be changed.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.mark.parametrize("name", FAMILIES)
def test_promises_are_kept_in(name: str, tmp_path: Path) -> None:
    setup = Setup(tmp_path, photographs=240, shard_size=12, kills=7, sample=40)
    family = Family(name, 0.0, FAMILIES[name](SHORT, setup))
    assert not missed([family], SHORT), f"\n{as_markdown([family], SHORT)}\n{family.promises}"


def test_growth_is_of_all_processes_and_of_that_time() -> None:
    samples = [Sample(at, {"actors": 10.0 * at, "driver": 5.0}) for at in range(100)]
    assert growth_mib(samples, 0, 39) == pytest.approx(300)
    assert growth_mib(samples, 40, 79) == pytest.approx(300)
    assert growth_mib([], 0, 1) == 0
