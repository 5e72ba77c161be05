"""The words that need explaining: one table, and links from where each first stands in a page."""

from __future__ import annotations

import re
from typing import NamedTuple

_STAN = "https://mc-stan.org/docs/"
_ARXIV = "https://arxiv.org/abs/"


class Term(NamedTuple):
    """A term of the field: how pages write it, in plain words, what it means, where more is."""

    id: str
    """As it is written, and its anchor in the page."""
    plain: str
    """The plain words first, the term behind them."""
    meaning: str
    link: str
    pattern: str = ""
    """A regular expression of its forms, where it has several; word boundaries are added."""


TERMS = (
    Term("NUTS", "Stan's sampler (NUTS)",
         "the No-U-Turn sampler: Markov chains that follow gradients of the log density. Given "
         "time, its draws come from the posterior itself.", f"{_ARXIV}1111.4246"),
    Term("ADVI", "automatic variational inference (ADVI)",
         "fits a normal distribution q, on the unconstrained scale, to the posterior by "
         "stochastic gradients of the ELBO.", f"{_ARXIV}1603.00788"),
    Term("DADVI", "ADVI with fixed base draws (DADVI)",
         "the same objective with one set of base draws, so that an ordinary optimiser can find "
         "its optimum.", f"{_ARXIV}2304.05527"),
    Term("LR", "linear-response widths (LR)",
         "standard deviations from how the optimum moves when the target is tilted a little. They "
         "repair the widths of a mean-field fit, not its means.", f"{_ARXIV}2304.05527"),
    Term("PSIS", "smoothed importance weights (PSIS)",
         "Pareto-smoothed importance sampling: draws of q are weighted by p/q; a fitted Pareto "
         "tail replaces the largest weights.", f"{_ARXIV}1507.02646"),
    Term("mean-field", "independent normals (mean-field)",
         "q is a product of one normal per parameter, on the unconstrained scale: it has no "
         "correlations.", f"{_STAN}cmdstan-guide/variational_config.html"),
    Term("full-rank", "one joint normal (full-rank)",
         "q is one normal with all correlations, on the unconstrained scale.",
         f"{_STAN}cmdstan-guide/variational_config.html"),
    Term("Pathfinder", "normals along an optimiser's path (Pathfinder)",
         "of the normals along paths of L-BFGS it takes those with the best ELBO, and resamples "
         "their draws by weight.", f"{_ARXIV}2108.03782"),
    Term("Laplace", "a normal at the mode (Laplace)",
         "its covariance is the inverse curvature of the log density at the mode.",
         f"{_STAN}cmdstan-guide/laplace_sampler_config.html"),
    Term("SVGD", "Stein variational gradient descent (SVGD)",
         "moves a set of particles together towards the posterior.", f"{_ARXIV}1608.04471"),
    Term("CAVI", "coordinate ascent (CAVI)",
         "updates one factor of q at a time by formulas derived by hand.", f"{_ARXIV}1601.00670"),
    Term("ELBO", "what variational inference maximises (ELBO)",
         "the evidence lower bound: the log evidence less the divergence KL(q‖p), in nats.",
         f"{_ARXIV}1601.00670"),
    Term("KL", "divergence (KL)",
         "the Kullback-Leibler divergence of q from the posterior p: the mean of log q − log p "
         "under q. It is 0 only where they are equal.",
         "https://en.wikipedia.org/wiki/Kullback%E2%80%93Leibler_divergence"),
    Term("nat", "unit of log densities (nat)",
         "a divergence of 0.1 nats is small, one of 1 nat is not; one nat is 1.44 bits.",
         "https://en.wikipedia.org/wiki/Nat_(unit)", r"nats?"),
    Term("k-hat", "tail of the importance weights (k-hat)",
         "the shape of the Pareto tail of p/q. Above 0.7, weights cannot correct q; a small k-hat "
         "does not certify q, because it only sees regions that q samples.",
         "https://mc-stan.org/loo/reference/pareto-k-diagnostic.html"),
    Term("W1", "distance of draws (W1)",
         "how far, on average, draws have to be moved to become those of the reference: the "
         "Wasserstein distance, in sds of the reference.",
         "https://en.wikipedia.org/wiki/Wasserstein_metric"),
    Term("basin", "region of one optimum (basin)",
         "all places from which the optimiser ends in the same optimum.",
         "https://en.wikipedia.org/wiki/Attractor#Basins_of_attraction", r"basins?"),
    Term("R-hat", "agreement of chains (R-hat)",
         "compares the variance between chains with the variance within them; 1 where all sample "
         "the same distribution.", f"{_ARXIV}1903.08008"),
    Term("ESS", "effective sample size (ESS)",
         "how many independent draws would have the same Monte Carlo error.",
         f"{_ARXIV}1903.08008"),
    Term("divergences", "steps that went astray (divergences)",
         "NUTS could not follow the log density there, so regions may be missing.",
         "https://mc-stan.org/learn-stan/diagnostics-warnings.html",
         r"divergen(?:ces|t transitions)"),
    Term("E-BFMI", "how freely chains change energy (E-BFMI)",
         "below 0.3, chains explore the tails too slowly.",
         "https://mc-stan.org/learn-stan/diagnostics-warnings.html"),
    Term("sd", "standard deviation (sd)",
         "of the reference where no other is named: the unit of errors in this report.",
         "https://en.wikipedia.org/wiki/Standard_deviation", r"sds?"),
)  # fmt: skip
"""Every term that a page explains, in the order of the page's list."""

_PIECES = re.compile(
    r"<(script|style|svg|pre|code|title|h1|a|button|summary|thead|aside|caption|dl)\b.*?</\1>"
    r"|<[^>]*>|[^<]+",
    re.DOTALL,
)
"""Text, tags, and elements whose text is left as it is: the answer stands again below its heading,
and tables' headings are buttons."""


def linked(page: str) -> str:
    """Link each term of a page to its explanation, once: where it first stands in the text."""
    left = {term.id: term for term in TERMS}

    def piece(found: re.Match[str]) -> str:
        text = found.group()
        return text if text.startswith("<") else _linked_text(text, left)

    return _PIECES.sub(piece, page)


def _linked_text(text: str, left: dict[str, Term]) -> str:
    """Link the terms that are ``left``, which shrinks; ``text`` is HTML without tags."""
    for term in tuple(left.values()):
        # Not inside a longer name such as DADVI-like, nor in a character's code (&nats;).
        found = re.search(rf"(?<![\w&#-])(?:{term.pattern or term.id})(?![\w-])", text)
        if found:
            del left[term.id]
            link = (
                f'<a class="term" href="#word-{term.id}" aria-describedby="word-{term.id}">'
                f"{found.group()}</a>"
            )
            before, after = text[: found.start()], text[found.end() :]
            return _linked_text(before, left) + link + _linked_text(after, left)
    return text
