"""What proofs, benches and tests share: server processes, callers, load, a faulty engine."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The repository."""
