"""Remedies, each tried before it is offered: plan the trials, judge them, say what they brought.

Nothing here runs anything: :func:`propose` says which runs are wanted, :func:`tried` judges them.
"""

from __future__ import annotations

from harness.trials.changes import MENDABLE
from harness.trials.judging import Present, not_tried, tried
from harness.trials.plan import LIMIT_S, MOST_SEEDS, ORDER, Proposal, propose, trial_seeds
from harness.trials.reweight import reweighted
from harness.trials.start import Start, start_from
from harness.trials.words import known, remedy_words

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
