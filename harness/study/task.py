"""What an analysis takes and gives, light enough for the process that only hands it out.

The work itself is done in worker processes by :mod:`harness.study.analysis`, which loads ArviZ and
matplotlib; a comparison of which everything is known already needs neither.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.methods import METHODS
from harness.models.data import data_hash
from harness.records import WITHOUT_DRAWS, Model, ModelComparison, RunResult
from harness.study.store import digest

if TYPE_CHECKING:
    from harness.why.remedies import Proposal

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
    explain: bool = False
    """Whether causes are wanted."""
    library: Path | None = None
    """The program behind the bridge, without which there are no causes."""
    library_error: str = ""
    propose: bool = False
    """Whether remedies are to be proposed."""
    trials: tuple[tuple[Proposal, tuple[RunResult, ...]], ...] = ()
    """Remedies with the results of their runs, without arrays."""
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Options by method that the user set."""
    timeout_s: float = 600.0


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
    proposals: tuple[Proposal, ...] = ()
    """Remedies that are worth a trial, where they were asked for."""


EXPLAINING = ("why", "vi", "stan", "metrics", "judge", "methods", "models", "records", "study")
"""The code that explanations rest on: other changes let those that are kept stand."""


@cache
def code_hash(parts: tuple[str, ...] = ()) -> str:
    """Return the hash of this package's code: figures and verdicts of old code are not reused.

    With ``parts`` only that of these folders and files.
    """
    root = Path(__file__).parents[1]
    h = hashlib.sha256()
    roots = [root / part for part in parts] or [root]
    found = [p for r in roots for p in ([r] if r.is_file() else r.rglob("*"))]
    for path in sorted(p for p in found if p.suffix in {".py", ".j2", ".css", ".js", ".cpp"}):
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
            "data": data_hash(task.model),
            "runs": [[r.key, r.status, r.message, repr(r.cost.seconds)] for r in task.results],
            "reference": hashlib.sha256(supplied.read_bytes()).hexdigest()
            if task.reference not in {"auto", "nuts"}
            else task.reference,
            "judged": task.judged,
            "notes": task.notes,
            "draws_folder": task.draws_folder is not None,
            "may_extend": task.may_extend,
            "figures": task.figures,
            "explain": [task.explain, task.library_error, task.timeout_s],
            "propose": task.propose,
            "trials": [
                [repr(p), [[r.key, r.status, repr(r.cost.seconds)] for r in results]]
                for p, results in task.trials
            ],
            "options": task.options,
        }
    )


def explanation_key(
    model: Model, results: Sequence[RunResult], reference: str, bridge_version: str
) -> str:
    """Return the key of an explanation: the runs, the program, its data, the code."""
    supplied = Path(reference)
    return digest(
        {
            "explanation": code_hash(EXPLAINING),
            "model": [model.name, model.reference, list(model.quantities), dict(model.limits)],
            "program": model.stan_file.read_text(encoding="utf-8"),
            "data": data_hash(model),
            "runs": [[r.key, r.status] for r in results],
            "reference": hashlib.sha256(supplied.read_bytes()).hexdigest()
            if reference not in {"auto", "nuts"}
            else reference,
            "bridge": bridge_version,
        }
    )


def explainable(results: Sequence[RunResult]) -> bool:
    """Tell whether some run has a Gaussian q whose distance could be split."""
    return any(
        r.status not in WITHOUT_DRAWS and METHODS[r.spec.method].family_of(r.spec.options)
        for r in results
    )
