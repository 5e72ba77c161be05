"""ADVI on batches of rows, for models that say how their data split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.methods.bridged import on_bridge
from harness.methods.method import SOLID, Look, Method
from harness.methods.settings import Options, real, whole
from harness.records import Model


@dataclass(frozen=True)
class MinibatchOptions(Options):
    """The options."""

    rows: int = whole(500, 1)  # of a batch
    # Two stages agree if no mean differs by more sds of q, and no log sd by more.
    tolerance_mean: float = real(0.02, above=0)
    tolerance_log_sd: float = real(0.04, above=0)
    stages: int = whole(7, 1)  # at most
    elbo_pairs: int = whole(50, 2)  # of draws that estimate the ELBO of all rows
    batch: Mapping[str, Any] | None = None  # the model's [batch] table


def _unfit(model: Model) -> str | None:
    """Say why a model's data cannot be split."""
    said = "model.toml has no [batch] table that says how the data split by rows"
    return None if model.batch else said


MINIBATCH = Method(
    name="minibatch",
    title="minibatch ADVI",
    what="mean-field ADVI on batches of rows",
    kind="stochastic gradients",
    fit=on_bridge("fits:batches"),
    options=MinibatchOptions(),
    look=Look("#00798c", SOLID, ">"),
    bridge=True,
    rebinds=True,
    family="meanfield",
    unfit=_unfit,
)
