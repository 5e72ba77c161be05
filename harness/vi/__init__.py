"""Variational inference on any log density: plain numerics, without Stan and without files.

Everything works on the unconstrained scale ``z`` of a :class:`~harness.vi.target.Target`;
densities are in nats and include the Jacobian. ``harness.methods`` connects this to Stan.
"""
