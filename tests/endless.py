"""Stan programs whose evaluation comes to no end."""

from __future__ import annotations

NEVER = """
parameters { real x; }
transformed parameters {
  real y = x;
  { int n = 0; while (n < 2) n = 1 - n; }
}
model { x ~ normal(0, 1); }
"""
"""A loop without an end in every evaluation."""

BELOW = """
parameters { real x; }
transformed parameters {
  real y = x;
  { int n = 0; while (x < -2.5 && n < 2) n = 1 - n; }
}
model { x ~ normal(0, 1); }
"""
"""A loop without an end below -2.5, where no chain starts and 1 of 160 draws lies."""
