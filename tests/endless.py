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

HUNGRY = """
parameters { real x; }
transformed parameters {
  real y = 0;
  while (x < -2.5 && y < 1e9) y += 1;
}
model { x ~ normal(0, 1); }
"""
"""Every step of the loop keeps some twenty bytes for the gradient: it would take 20 GB."""
