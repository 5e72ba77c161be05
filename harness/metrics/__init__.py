"""How far draws are from other draws: the METRICS table.

Every metric is a row with all that is known about it, from the function that computes its figure
and Monte Carlo error to the limits and the words that people read. Distances are in units of the
reference's standard deviation. Bad draws never raise and never give a harmless figure: what is not
finite is infinitely far, and what cannot be computed is NaN.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from harness.metrics.bias import BIAS, MEDIAN, TAIL
from harness.metrics.chains import (
    CHAIN_MODES,
    DIVERGENCES,
    EBFMI,
    ESS_BULK,
    ESS_TAIL,
    RHAT,
    TREEDEPTH_HITS,
    chain_shares,
)
from harness.metrics.correlation import conditional_sds, correlation_gap, correlation_nats
from harness.metrics.correlation_error import CORR_ERROR
from harness.metrics.funnels import Funnel, funnel, is_funnel
from harness.metrics.joint import Joint, JointReference
from harness.metrics.metric import JudgeContext, Metric, Scene, Scope, WorstPair
from harness.metrics.missed_mass import FIRST_MODE, MISSED_MASS
from harness.metrics.pairs import copies
from harness.metrics.probability import PROBABILITY
from harness.metrics.sample import Kind, Sample, prepare
from harness.metrics.samples import Reader, of_samples, sample_of, samples_of, unusable
from harness.metrics.seed_spread import SEED_SPREAD, seed_spread
from harness.metrics.shape import Shape, marginal_shapes
from harness.metrics.summaries import SUMMARIES
from harness.metrics.threads import blocks_of, each
from harness.metrics.unconstrained import UNCONSTRAINED_W1
from harness.metrics.wasserstein import SLICED_W1, W1
from harness.metrics.weights import KHAT, divergence, khat, khat_limit
from harness.metrics.width import LOG_SD_RATIO, WIDTH
from harness.metrics.worst_direction import WORST_DIRECTION
from harness.records import NO_ESTIMATE, Estimate, FloatArray

METRICS: dict[str, Metric] = {
    m.id: m
    for m in (
        *SUMMARIES,
        BIAS,
        MEDIAN,
        WIDTH,
        LOG_SD_RATIO,
        W1,
        TAIL,
        MISSED_MASS,
        FIRST_MODE,
        PROBABILITY,
        CORR_ERROR,
        WORST_DIRECTION,
        SLICED_W1,
        UNCONSTRAINED_W1,
        SEED_SPREAD,
        KHAT,
        RHAT,
        ESS_BULK,
        ESS_TAIL,
        CHAIN_MODES,
        DIVERGENCES,
        EBFMI,
        TREEDEPTH_HITS,
    )
}
"""All metrics by id, in the order in which they are computed and listed."""


def of_scope(scope: Scope) -> list[Metric]:
    """Return the metrics of one scope."""
    return [m for m in METRICS.values() if m.scope == scope]


def quantity_metrics(kind: Kind) -> list[Metric]:
    """Return the metrics that compare a quantity of some kind."""
    return [m for m in of_scope("quantity") if kind in m.kinds]


def not_measured(kind: Kind) -> dict[str, Estimate]:
    """Return the judged metrics of a quantity that a run lacks, all NaN."""
    return {m.id: NO_ESTIMATE for m in quantity_metrics(kind) if m.rule is not None}


def measured(scope: Scope, *arguments: object) -> dict[str, Estimate]:
    """Return the metrics of one scope that are defined, by id."""
    found = {m.id: m.measure(*arguments) for m in of_scope(scope)}
    return {metric: e for metric, e in found.items() if e is not None}


def summaries(own: Sample) -> dict[str, Estimate]:
    """Return a sample's summaries; all are NaN where a draw is not finite."""
    return measured("draws", own)


def compare_quantity(own: Sample, reference: Sample) -> dict[str, Estimate]:
    """Compare an approximation's draws of one quantity with the reference's."""
    (found,) = compare_quantities([own], [reference])
    return found


def compare_quantities(
    own: Sequence[Sample], references: Sequence[Sample]
) -> list[dict[str, Estimate]]:
    """Compare draws of quantities with the reference's, samples and references of one shape each.

    Returns the metrics of each quantity that are defined, by id.
    """
    found: list[dict[str, Estimate]] = [{} for _ in own]
    pairs = list(zip(own, references, found, strict=True))
    for metric in of_scope("quantity"):
        rows = [pair for pair in pairs if pair[1].kind in metric.kinds]
        samples = [row[0] for row in rows], [row[1] for row in rows]
        figures = metric.measure(*samples) if metric.many else map(metric.measure, *samples)
        for (_, _, into), figure in zip(rows, figures, strict=True):
            if figure is not None:
                into[metric.id] = figure
    return found


def compare_joint(joint: Joint) -> dict[str, Estimate]:
    """Compare dependence; empty where fewer than two quantities vary in the reference."""
    return measured("joint", joint)


def of_chains(own: Sample) -> dict[str, Estimate]:
    """Return the diagnostics of the chains of one quantity."""
    return measured("chain", own)


def chain_diagnostics(
    chains: Iterable[Mapping[str, Estimate]],
    stats: Mapping[str, FloatArray],
    max_depth: float | None = None,
) -> list[tuple[str, int | None, Estimate]]:
    """Return the diagnostics of a run of Markov chains: metric, column and figure.

    ``chains`` are what :func:`of_chains` gives for each quantity. ``stats`` has ``diverging``,
    ``energy`` and ``tree_depth``, each ``(chain, draw)``; what is missing gives NaN, which no rule
    calls fine.
    The limit on tree depth may also stand there, as ``max_tree_depth``. The sampler's own
    diagnostics have the column None. All but ``chain_modes`` have error 0: their limits are
    meant for the estimates.
    """
    if max_depth is None and "max_tree_depth" in stats:
        max_depth = float(stats["max_tree_depth"].max())
    rows: list[tuple[str, int | None, Estimate]] = [
        (metric, column, estimate)
        for column, found in enumerate(chains)
        for metric, estimate in found.items()
    ]
    return rows + [(m, None, e) for m, e in measured("sampler", stats, max_depth).items()]


__all__ = [
    "KHAT",
    "METRICS",
    "RHAT",
    "TAIL",
    "UNCONSTRAINED_W1",
    "W1",
    "Funnel",
    "Joint",
    "JointReference",
    "JudgeContext",
    "Kind",
    "Metric",
    "Reader",
    "Sample",
    "Scene",
    "Shape",
    "WorstPair",
    "blocks_of",
    "chain_diagnostics",
    "chain_shares",
    "compare_joint",
    "compare_quantities",
    "compare_quantity",
    "conditional_sds",
    "copies",
    "correlation_gap",
    "correlation_nats",
    "divergence",
    "each",
    "funnel",
    "is_funnel",
    "khat",
    "khat_limit",
    "marginal_shapes",
    "measured",
    "not_measured",
    "of_chains",
    "of_samples",
    "of_scope",
    "prepare",
    "quantity_metrics",
    "sample_of",
    "samples_of",
    "seed_spread",
    "summaries",
    "unusable",
]
