"""Why a fit is not the posterior, in nats and with evidence, and what helps.

:mod:`harness.why.explain` splits KL(q ‖ p) of every run of a Gaussian family into a family gap and
an optimiser gap. :data:`harness.why.causes.CAUSES` is the table of causes,
:data:`harness.why.remedies.REMEDIES` that of remedies, and :mod:`harness.why.words` writes both for
people. See Yao et al. 2018, *Yes, but did it work?*, for why neither the ELBO nor k-hat alone can
tell the two gaps apart.
"""

VERSION = 5
"""Raised when explanations are no longer comparable with stored ones."""
