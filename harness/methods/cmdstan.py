"""CmdStan's own methods through cmdstanpy: NUTS and ADVI.

cmdstanpy 1.3.2 starts CmdStan and knows its command line; its readers are not used, because
they cannot read ``adapt engaged=0`` output and return the mean where draws are asked for. The
CSV files, the console text and the exit code are read here.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.records import Cost, Draws, Method, RunContext, RunResult, RunSpec, Status, Trace
from harness.stan import console
from harness.stan.csv import CsvError, read_elbo, read_stan_csv

if TYPE_CHECKING:
    import cmdstanpy

ADVI_DEFAULTS: Mapping[str, Any] = {
    "iter": 10_000,
    "grad_samples": 1,
    "elbo_samples": 100,
    "eta": 1.0,
    "adapt_engaged": True,
    "adapt_iter": 50,
    "tol_rel_obj": 0.01,
    "eval_elbo": 100,
}
"""CmdStan's defaults, written out: a default that changes between versions is then seen."""

ADVI_TUNED: Mapping[str, Any] = {
    **ADVI_DEFAULTS,
    "iter": 30_000,
    "grad_samples": 20,
    "eta": 0.1,
    "adapt_engaged": False,
    "tol_rel_obj": 1e-5,
}
"""As a careful user would set them: a small fixed step size, many gradient samples."""

NUTS_DEFAULTS: Mapping[str, Any] = {
    "chains": 4,
    "warmup": 1000,
    "samples": 1000,
    "adapt_delta": 0.8,
    "max_treedepth": 10,
}

SIGNIFICANT_DIGITS = 18
"""Enough to read back the double: at CmdStan's 6 digits k-hat changes."""


@contextmanager
def _exit_codes() -> Iterator[list[int]]:
    """Collect the exit codes that cmdstanpy logs and its exceptions may lose."""
    codes: list[int] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            args = record.args
            if isinstance(args, tuple) and "error: code" in str(record.msg):
                codes.extend(a for a in args if isinstance(a, int))

    logger = logging.getLogger("cmdstanpy")
    listener, level, propagate = Listener(), logger.level, logger.propagate
    handlers = list(logger.handlers)
    logger.handlers = [listener]
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    try:
        yield codes
    finally:
        logger.handlers = handlers
        logger.setLevel(level)
        logger.propagate = propagate


def _model(context: RunContext) -> cmdstanpy.CmdStanModel:
    import cmdstanpy

    cmdstanpy.set_cmdstan_path(str(context.program.cmdstan))
    return cmdstanpy.CmdStanModel(exe_file=str(context.program.executable))


def _attempt(start: Callable[[], object]) -> tuple[Status | None, str, list[int], float]:
    """Run cmdstanpy; return (status if it is plain already, its words, exit codes, seconds)."""
    begin = time.perf_counter()
    status: Status | None = None
    words = ""
    with _exit_codes() as codes:
        try:
            start()
        except TimeoutError:
            status = "timed_out"
        except Exception as error:  # noqa: BLE001 - whatever cmdstanpy raises, the files decide
            words = str(error)
    seconds = time.perf_counter() - begin
    if status is None and any(c < 0 for c in codes):
        status = "killed"
    elif status is None and any(c != 0 for c in codes):
        status = "failed"
    return status, words, codes, seconds


def _without_draws(
    spec: RunSpec,
    context: RunContext,
    status: Status,
    message: str,
    seconds: float,
    text: str,
    trace: Trace | None = None,
    diagnostics: Mapping[str, float] | None = None,
) -> RunResult:
    return RunResult(
        spec=spec,
        key="",
        status=status,
        message=message,
        draws=None,
        trace=trace,
        diagnostics=diagnostics or {},
        cost=Cost(seconds),
        versions=context.program.versions,
        console=text,
    )


def _console_text(scratch: Path) -> str:
    return "\n".join(
        p.read_text(encoding="utf-8", errors="replace") for p in sorted(scratch.glob("*.txt"))
    )


def _why_ended(status: Status, text: str, words: str, codes: list[int], timeout_s: float) -> str:
    if status == "timed_out":
        return f"stopped after the time limit of {timeout_s:g} s; a longer one: --timeout"
    if status == "killed":
        signals = ", ".join(str(-c) for c in codes if c < 0)
        return f"the process was killed (signal {signals}); often the machine is out of memory"
    said = console.error_text(text)
    return said or words.strip().split("\n")[0] or f"exit code {codes[0] if codes else '?'}"


def run_variational(spec: RunSpec, context: RunContext, scratch: Path, algorithm: str) -> RunResult:
    """Run CmdStan's ADVI once.

    Returns
    -------
    RunResult
        Draws (constrained) with ``log_p`` (unconstrained scale, Jacobian and constants
        included) and ``log_q`` without its constant, which importance ratios do not need;
        trace of the ELBO; ``eta``, ``iterations``.
    """
    options = dict(spec.options)

    def start() -> object:
        return _model(context).variational(
            data=None if context.data_file is None else str(context.data_file),
            seed=context.cmdstan_seed,
            algorithm=algorithm,
            draws=spec.draws,
            output_dir=str(scratch),
            save_diagnostics=True,
            require_converged=False,
            sig_figs=SIGNIFICANT_DIGITS,
            timeout=context.timeout_s,
            **options,
        )

    status, words, codes, seconds = _attempt(start)
    text = _console_text(scratch)
    trace = read_elbo(scratch)
    said = console.read_advi(text)
    eta = said.eta if options["adapt_engaged"] else float(options["eta"])
    diagnostics: dict[str, float] = {"cmdstan_seed": context.cmdstan_seed}
    if trace is not None and trace.iteration.size:
        diagnostics["iterations"] = float(trace.iteration[-1])
        diagnostics["elbo"] = float(trace.elbo[-1])
    if eta is not None:
        diagnostics["eta"] = eta
    if status is None:
        try:
            table = read_stan_csv(_single_csv(scratch))
            # Row 0 is the transform of q's mean, not a draw.
            if len(table.values) != spec.draws + 1:
                msg = f"{len(table.values)} rows where {spec.draws + 1} were asked for: truncated"
                raise CsvError(msg)
            log_p, log_g = table.column("log_p__")[1:], table.column("log_g__")[1:]
        except (CsvError, OSError) as error:
            status, words = "failed", f"CmdStan's output: {error}"
    if status is not None:
        message = _why_ended(status, text, words, codes, context.timeout_s)
        return _without_draws(
            spec, context, status, message, seconds, console.excerpt(text), trace, diagnostics
        )
    return RunResult(
        spec=spec,
        key="",
        status=said.status,
        message=said.message,
        draws=Draws(
            names=table.quantities,
            values=table.quantity_values()[None, 1:, :],
            log_p=log_p[None, :],
            log_q=log_g[None, :],
        ),
        trace=trace,
        diagnostics=diagnostics,
        cost=Cost(seconds, None, said.gradient_evaluations(options, diagnostics)),
        versions=context.program.versions,
        console=console.excerpt(text),
    )


def _single_csv(scratch: Path) -> Path:
    found = [p for p in scratch.glob("*.csv") if not p.stem.endswith("diagnostic")]
    if len(found) != 1:
        msg = f"expected one output file, found {len(found)}"
        raise CsvError(msg)
    return found[0]


def _beginning(options: Mapping[str, Any], chains: int, scratch: Path) -> dict[str, Any]:
    """Write where chains start and their inverse metric as JSON; return cmdstanpy's arguments.

    Raises
    ------
    ValueError
        If there are not as many starts as chains, or the metric is no vector or matrix.
    """
    found: dict[str, Any] = {}
    start = options.get("start")
    if start is not None:
        starts = [start] * chains if isinstance(start, Mapping) else list(start)
        if len(starts) != chains:
            msg = (
                f"start has {len(starts)} points for {chains} chains; allowed: one a chain, or one"
            )
            raise ValueError(msg)
        paths = [scratch / f"start_{i + 1}.json" for i in range(chains)]
        for path, point in zip(paths, starts, strict=True):
            path.write_text(json.dumps(point), encoding="utf-8")
        found["inits"] = [str(path) for path in paths]
    metric = options.get("inv_metric")
    if metric is not None:
        kinds = {1: "diag_e", 2: "dense_e"}
        dimensions = np.ndim(metric)
        if dimensions not in kinds:
            msg = f"inv_metric has {dimensions} dimensions; allowed: d variances, or d × d numbers"
            raise ValueError(msg)
        path = scratch / "inv_metric.json"
        path.write_text(json.dumps({"inv_metric": metric}), encoding="utf-8")
        found |= {"metric": kinds[dimensions], "inv_metric": str(path)}
    return found


def run_nuts(spec: RunSpec, context: RunContext, scratch: Path) -> RunResult:
    """Run NUTS, its chains one after the other on one core.

    Other runs keep the other cores busy, and the seconds are then one core's seconds. Beyond
    its defaults it takes two options, as plain lists and mappings:

    ``start``
        Where chains start: values by parameter on the constrained scale (CmdStan's inits), of
        one point for all chains or a list of one for each.
    ``inv_metric``
        The inverse metric that adaptation starts from: d variances on the unconstrained scale
        (diagonal), or a d × d covariance (dense).
    """
    options = dict(spec.options)
    chains, samples = int(options["chains"]), int(options["samples"])
    try:
        beginning = _beginning(options, chains, scratch)
    except (TypeError, ValueError) as error:
        return _without_draws(spec, context, "failed", str(error), 0.0, "")

    def start() -> object:
        return _model(context).sample(
            data=None if context.data_file is None else str(context.data_file),
            seed=context.cmdstan_seed,
            chains=chains,
            parallel_chains=1,
            iter_warmup=int(options["warmup"]),
            iter_sampling=samples,
            adapt_delta=float(options["adapt_delta"]),
            max_treedepth=int(options["max_treedepth"]),
            output_dir=str(scratch),
            sig_figs=SIGNIFICANT_DIGITS,
            show_progress=False,
            timeout=context.timeout_s,
            **beginning,
        )

    status, words, codes, seconds = _attempt(start)
    text = _console_text(scratch)
    if status is None:
        try:
            tables = [read_stan_csv(p) for p in sorted(scratch.glob("*.csv"))]
            if len(tables) != chains or any(len(t.values) != samples for t in tables):
                got = [len(t.values) for t in tables]
                msg = f"{got} draws by chain where {chains} × {samples} were asked for: truncated"
                raise CsvError(msg)
        except (CsvError, OSError) as error:
            status, words = "failed", f"CmdStan's output: {error}"
    if status is not None:
        message = _why_ended(status, text, words, codes, context.timeout_s)
        return _without_draws(spec, context, status, message, seconds, console.excerpt(text))

    def stacked(name: str) -> Any:
        return np.stack([t.column(name) for t in tables])

    return RunResult(
        spec=spec,
        key="",
        status="ok",
        message=console.sampler_warning(text),
        draws=Draws(
            names=tables[0].quantities,
            values=np.stack([t.quantity_values() for t in tables]),
            log_p=stacked("lp__"),
            stats={
                "diverging": stacked("divergent__"),
                "energy": stacked("energy__"),
                "tree_depth": stacked("treedepth__"),
                "n_steps": stacked("n_leapfrog__"),
                "step_size": stacked("stepsize__"),
                "acceptance_rate": stacked("accept_stat__"),
            },
            iid=False,
        ),
        trace=None,
        diagnostics={
            "cmdstan_seed": context.cmdstan_seed,
            "iterations": float(chains * (int(options["warmup"]) + samples)),
            "max_tree_depth": float(options["max_treedepth"]),
            "sampling_leapfrogs": float(stacked("n_leapfrog__").sum()),
        },
        # Leapfrog steps of the warm-up are not saved, so the gradients are not known.
        cost=Cost(seconds),
        versions=context.program.versions,
        console=console.excerpt(text),
    )


def run_meanfield(spec: RunSpec, context: RunContext, scratch: Path) -> RunResult:
    """Run mean-field ADVI: q is a Gaussian with diagonal covariance, unconstrained scale."""
    return run_variational(spec, context, scratch, "meanfield")


def run_fullrank(spec: RunSpec, context: RunContext, scratch: Path) -> RunResult:
    """Run full-rank ADVI: q is a Gaussian with any covariance, unconstrained scale."""
    return run_variational(spec, context, scratch, "fullrank")


NUTS = Method("nuts", run_nuts, 1, NUTS_DEFAULTS, draws=4000, seeds=1, approximate=False)
MEANFIELD = Method(
    "meanfield",
    run_meanfield,
    1,
    ADVI_DEFAULTS,
    10_000,
    10,
    approximate=True,
    family="meanfield",
)
FULLRANK = Method(
    "fullrank",
    run_fullrank,
    1,
    ADVI_DEFAULTS,
    10_000,
    10,
    approximate=True,
    family="fullrank",
)
MEANFIELD_TUNED = Method(
    "meanfield_tuned",
    run_meanfield,
    1,
    ADVI_TUNED,
    10_000,
    10,
    approximate=True,
    family="meanfield",
)
FULLRANK_TUNED = Method(
    "fullrank_tuned",
    run_fullrank,
    1,
    ADVI_TUNED,
    10_000,
    10,
    approximate=True,
    family="fullrank",
)


def preflight(context: RunContext, scratch: Path) -> str | None:
    """Start the program once and draw a single point; return what kept it from starting.

    Data that do not fit, and a log density that is −inf everywhere, are found here once
    instead of in every run.
    """
    said = ""
    for attempt in range(3):
        folder = scratch / str(attempt)
        folder.mkdir()

        def start(folder: Path = folder, attempt: int = attempt) -> object:
            return _model(context).sample(
                data=None if context.data_file is None else str(context.data_file),
                seed=context.cmdstan_seed + attempt,
                chains=1,
                iter_warmup=0,
                iter_sampling=1,
                adapt_engaged=False,
                max_treedepth=1,
                output_dir=str(folder),
                show_progress=False,
                timeout=context.timeout_s,
            )

        status, words, codes, _ = _attempt(start)
        if status is None:
            return None
        said = _why_ended(status, _console_text(folder), words, codes, context.timeout_s)
        if not re.search(r"[Ii]nitial", said):
            return said
    return said
