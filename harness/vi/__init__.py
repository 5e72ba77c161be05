"""Variational inference on any log density: plain numerics, no Stan, no files.

Everything works on the unconstrained scale ``z`` of a :class:`~harness.vi.target.Target`;
densities are in nats, Jacobian included. What knows Stan programs is in ``harness.methods``.
"""
