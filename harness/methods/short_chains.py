"""Short chains as a method: an ensemble that starts from deterministic ADVI and replaces it."""

from __future__ import annotations

from dataclasses import dataclass

from harness.methods.bridged import on_bridge
from harness.methods.dadvi import DadviOptions
from harness.methods.method import DASHED, Look, Method
from harness.methods.settings import real, whole


@dataclass(frozen=True)
class ChainsOptions(DadviOptions):
    """The options of ``short_chains``; those of the fit concern what it starts from."""

    chains: int = whole(256, 128, 10**5)  # at least; twice as many in some doubts
    # Far starts, which look for other regions; twice as many where something is in doubt.
    far: int = whole(256, 128, 10**5)
    # Seconds that gradients may take; where they would take longer, far starts and chains are
    # halved, the chains of more draws than usual first.
    chains_s: float = real(60.0)


SHORT_CHAINS = Method(
    name="short_chains",
    title="Short chains",
    what="at least 256 chains from weighted draws of deterministic ADVI, checked by far starts",
    kind="short chains",
    fit=on_bridge("short_chains_fit:fit"),
    # As many starts as dadvi_basins: chains do not move between modes. They forget the error of an
    # optimum, and fewer base draws do.
    options=ChainsOptions(starts=24, error=0.2),
    look=Look("#1f8a70", DASHED, "$s$"),
    draws=5120,
    version=18,
    bridge=True,
    repairable=False,
    one_mode="none of its starts, near or far, led to another",
)
