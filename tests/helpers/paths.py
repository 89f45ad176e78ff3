"""Where things of the repository are."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
BENCHMARKS = ROOT / "benchmarks"
SCHEMA_1 = Path(__file__).parent / "schema_1"
"""Run files, recordings and states as the first version of evsim wrote them."""
