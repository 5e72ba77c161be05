"""Remedies, each tried before it is offered: plan the trials, judge them, say what they brought.

Nothing here runs anything: :func:`propose` says which runs are wanted, :func:`tried` judges them.
"""

from __future__ import annotations

from harness.why.remedies.changes import MENDABLE
from harness.why.remedies.judge import Present, not_tried, tried
from harness.why.remedies.nuts_start import Start, start_from
from harness.why.remedies.propose import LIMIT_S, MOST_SEEDS, ORDER, Proposal, propose, trial_seeds
from harness.why.remedies.reweight import reweighted
from harness.why.remedies.sentences import known, remedy_words

__all__ = [
    "LIMIT_S",
    "MENDABLE",
    "MOST_SEEDS",
    "ORDER",
    "Present",
    "Proposal",
    "Start",
    "known",
    "not_tried",
    "propose",
    "remedy_words",
    "reweighted",
    "start_from",
    "trial_seeds",
    "tried",
]
