"""What an analysis takes and gives, light enough for the process that only hands it out.

The work itself is :mod:`harness.analysis`'s, in worker processes: it loads ArviZ and matplotlib,
and a comparison of which everything is known already needs neither.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from harness import registry
from harness.records import Model, ModelComparison, RunResult
from harness.store import digest

MAX_DRAWS = 100_000
"""Up to here an undecided comparison takes more draws of q by itself."""

MAX_NUTS_SAMPLES = 4_000
"""Up to here, per chain, an undecided comparison lets NUTS go on by itself."""


@dataclass(frozen=True, slots=True)
class AnalysisTask:
    """What an analysis needs. Plain data; ``results`` are without arrays."""

    model: Model
    results: tuple[RunResult, ...]
    reference: str
    """``auto``, ``nuts`` or the path of a supplied reference (NetCDF)."""
    judged: tuple[str, ...]
    """The methods whose verdicts are wanted, in order; NUTS may be run only as reference."""
    notes: tuple[str, ...]
    store_root: Path
    draws_folder: Path | None
    may_extend: bool = True
    figures: bool = True


@dataclass(frozen=True, slots=True)
class Want:
    """More draws that would decide an undecided comparison."""

    method: str
    seed: int
    draws: int


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """A judged model without its arrays, its figures, and what would decide more."""

    comparison: ModelComparison
    figures: tuple[Any, ...]
    wants: tuple[Want, ...]
    said: tuple[str, ...] = ()


@cache
def code_hash() -> str:
    """Return the hash of this package's code: figures and verdicts of old code are not reused."""
    root = Path(__file__).parent
    h = hashlib.sha256()
    for path in sorted(p for p in root.rglob("*") if p.suffix in {".py", ".j2", ".css", ".js"}):
        if "__pycache__" not in path.parts and "_stan" not in path.parts:
            h.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return h.hexdigest()


def analysis_key(task: AnalysisTask) -> str:
    """Return the key of an analysis: the runs, the model's description, the code."""
    supplied = Path(task.reference)
    return digest(
        {
            "code": code_hash(),
            "model": dataclasses.asdict(task.model),
            "program": task.model.stan_file.read_text(encoding="utf-8"),
            "data": registry.data_hash(task.model),
            "runs": [[r.key, r.status, r.message, repr(r.cost.seconds)] for r in task.results],
            "reference": hashlib.sha256(supplied.read_bytes()).hexdigest()
            if task.reference not in {"auto", "nuts"}
            else task.reference,
            "judged": task.judged,
            "notes": task.notes,
            "draws_folder": task.draws_folder is not None,
            "may_extend": task.may_extend,
            "figures": task.figures,
        }
    )
