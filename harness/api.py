"""The same comparison from Python."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import stan
from harness.intake import files_of, is_fit, take
from harness.methods import METHODS
from harness.methods.method import Method
from harness.methods.options import checked, refuse_unused
from harness.methods.own import OwnFit, own_method
from harness.metrics.measure import REFERENCE
from harness.models import folders
from harness.models.data import ModelError, check_data, load_data, write_data
from harness.records import CHOICES, Model, Program
from harness.study import arguments, comparing, engines, progress
from harness.study.engines import Wanted
from harness.study.plan import QUICK, Plan, methods_run
from harness.study.result import ComparisonResult

if TYPE_CHECKING:
    from harness.intake import Taken
    from harness.methods.bridged import BridgeTarget


def compare(
    program: str | Path,
    data: Mapping[str, Any] | str | Path | None = None,
    *,
    methods: Sequence[str] | Mapping[str, OwnFit | None] | None = None,
    seeds: int | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    reference: Any = "auto",
    reference_iid: bool = False,
    quantities: Sequence[str] = (),
    generated: bool = True,
    jobs: int | None = None,
    timeout_s: float = 600.0,
    compile_timeout_s: float = 1800.0,
    memory_gb: float | None = None,
    seed: int = 1,
    why: bool | None = None,
    remedies: bool = False,
    engine: Wanted = "auto",
    quick: bool = False,
    quiet: bool = True,
    dask: str = "",
) -> ComparisonResult:
    """Compare variational inference with NUTS on a Stan program.

    Parameters
    ----------
    program
        A ``.stan`` file, a lecture model's name, or a model folder.
    data
        A mapping of numbers, lists and arrays, or a JSON file; None for a program without data
        or for a model that brings its own.
    methods
        Names, as on the command line; or a mapping that has functions of your own by a name of
        yours, ``{"mine": fit, "dadvi_psis": None}``, and None for a method of the harness.
        ``fit(target, rng, draws)`` returns draws on the unconstrained scale, shape
        ``(draws, target.dimension)``, or these and the log density of q at each, shape
        ``(draws,)``, nats. ``target`` is a :class:`harness.vi.target.Target`. It is judged, timed
        and counted like any method, in a worker process; a fit that raises is a failed run. It is
        called in every comparison: its runs are not kept.
    seeds, reference_iid, quantities, jobs, timeout_s, seed
        As on the command line; ``timeout_s`` is the time limit of one run, in seconds.
    generated
        Whether generated quantities are computed and compared: ``--gq`` or ``--no-gq``. Where
        ``quantities`` are chosen, generated ones that are not among them have no draws.
    compile_timeout_s, memory_gb
        ``--compile-timeout`` and ``--memory``: the time limit of compiling, in seconds, and the
        memory of one process, in GB; None for the machine's, divided by the jobs.
    reference
        ``"auto"``, ``"nuts"``, files as on the command line, or draws of your own: what
        :func:`judge` takes as its reference, but no approximation.
    options
        By method: ``{"advi": {"iterations": 20_000}}``.
    why
        Whether to split the divergence of each Gaussian fit into family and optimiser gap; None
        leaves it out with ``quick``.
    remedies
        Whether remedies are tried for methods that fail or warn. It needs ``why``.
    engine, quick
        As on the command line: ``"auto"``, ``"embedded"`` (no CmdStan) or ``"cmdstan"`` (no
        embedded engine); with ``quick`` no NUTS, and only methods that end in seconds.
    quiet
        Whether to show no progress; False shows it with the time left, in notebooks too.
    dask
        Address of a Dask scheduler whose workers make the runs, such as
        ``cluster.scheduler_address``, or a scheduler file; empty makes them on this machine.

    Returns
    -------
    ComparisonResult
        Of the methods that had finished if Ctrl-C ended the others (``.complete`` is then False).
        Shows its table of verdicts in a notebook and when printed; with ``.summary()`` and
        ``.table`` (pandas), ``.verdicts``, ``.plot("theta")``, ``.plot_cost()``,
        ``.draws["meanfield"]`` and ``.to_datatree()`` (ArviZ), and ``.to_html(path)``.

    Raises
    ------
    harness.ModelError
        If the model is unknown or the data are unusable.
    harness.OptionError
        If an option is unknown, or has a value its method does not take; if a number of seeds,
        jobs, seconds or GB is out of range.
    harness.ToolchainError
        If the engine that is wanted is not there and cannot be installed.
    harness.NothingToRunError
        If the program cannot be run at all; the message says why.
    harness.StoreError
        If the cache cannot be written.
    OSError
        If no Dask scheduler answers, it is gone, or its workers have other versions.
    harness.Interrupted
        On Ctrl-C before any method has finished, or pressed again while what has finished is
        judged; finished runs are kept.
    TypeError
        If the reference is nothing that can be taken, a method of your own is no function, or an
        argument has another type than it must have.
    ValueError
        If a method is unknown, one of your own has a name that is taken, ``remedies`` are wanted
        without ``why``, ``quick`` on CmdStan, or the reference cannot be read or is an
        approximation's.
    """
    arguments.checked(
        seeds=seeds, jobs=jobs, timeout_s=timeout_s, compile_timeout_s=compile_timeout_s,
        memory_gb=memory_gb, seed=seed, engine=engine, quick=quick, why=why, remedies=remedies,
        reference_iid=reference_iid, quiet=quiet, dask=dask, generated=generated,
    )  # fmt: skip
    arguments.by_method(options)
    quantities = arguments.names("quantities", quantities)
    if isinstance(reference, (str, Path)):
        if str(reference) not in CHOICES:
            files_of(str(reference))
    else:
        from harness.study import handed

        reference = handed.kept(take(reference, role="reference"))
    if quick and engine == "cmdstan":
        raise ValueError("quick=True runs on the embedded engine; drop it or engine='cmdstan'")
    why = (not quick or remedies) if why is None else why
    if remedies and not why:
        msg = "remedies=True needs the causes that why=False leaves out; drop one of them"
        raise ValueError(msg)
    own = _own(methods) if isinstance(methods, Mapping) else {}
    names = None if methods is None else arguments.names("methods", methods)
    if names == ():
        raise ValueError(f"methods is empty; known: {', '.join(METHODS)}")
    unknown = [m for m in names or () if m not in METHODS and m not in own]
    if unknown:
        raise ValueError(f"unknown methods {unknown}; known: {', '.join(METHODS)}")
    model = dataclasses.replace(_model(program, data), generated=generated)
    if quantities:
        model = dataclasses.replace(model, quantities=quantities)
    given = checked(options)
    if quick:
        engine = engines.quick(dask) if engine == "auto" else engine
        names, seeds = names or QUICK, seeds or 1
    refuse_unused(given, methods_run((model,), names, nuts=not quick))
    plan = Plan(
        models=(model,),
        methods=names,
        engine=engine,
        nuts=not quick,
        seeds=seeds,
        reference=str(reference),
        reference_iid=reference_iid,
        jobs=jobs,
        timeout_s=timeout_s,
        compile_timeout_s=compile_timeout_s,
        memory_gb=memory_gb,
        first_seed=seed,
        options=given,
        explain=why,
        remedies=remedies,
        own=own,
        dask=dask,
        command=f"harness.compare({str(program)!r}, …)",
    )
    display = progress.choose(quiet=quiet)
    try:
        return ComparisonResult(*comparing.compare(plan, display, partial=True))
    finally:
        display.close()


def _own(methods: Mapping[str, OwnFit | None]) -> dict[str, Method]:
    """Return the functions among methods as rows; those of the harness are None."""
    rows = {}
    for name, fit in methods.items():
        if fit is None:
            continue
        if name in METHODS or name == REFERENCE:
            raise ValueError(f"{name!r} is a name of the harness; give your method another one")
        if not name.isidentifier():
            raise ValueError(f"a method cannot be called {name!r}; allowed: letters, digits and _")
        if not callable(fit):
            raise TypeError(f"{name} is {type(fit).__name__}; allowed: fit(target, rng, draws)")
        rows[name] = own_method(name, fit)
    return rows


def judge(
    approximation: Any,
    reference: Any,
    *,
    program: str | Path | None = None,
    data: Mapping[str, Any] | str | Path | None = None,
    quantities: Sequence[str] = (),
    reference_iid: bool = False,
    why: bool = True,
    timeout_s: float = 600.0,
) -> ComparisonResult:
    """Judge fits that exist by draws that exist. Nothing is run.

    Parameters
    ----------
    approximation
        What :func:`harness.intake.take` takes: a fit of cmdstanpy, an ArviZ tree, a pandas table,
        a dict of arrays (chain, draw, …), ``(draws, log_p, log_q)``, or a path to files. A list
        holds runs of one method, a seed each; a dict of fits has a row for each name. Draws are
        on the constrained scale.
    reference
        Draws of the posterior, of the same kinds. They are judged first; those of an
        approximation are never trusted.
    program, data
        As for :func:`compare`. With them the causes are looked for, and remedies that need no run
        are tried.
    quantities
        The variables to judge; by default all that both sides have. What has no partner is listed.
    reference_iid
        Whether the reference's draws are independent. Others count as Markov chains.
    why
        Whether causes are wanted, where there is a program.
    timeout_s
        Time limit of the search for causes, in seconds.

    Returns
    -------
    ComparisonResult
        As of :func:`compare`.

    Raises
    ------
    TypeError
        If something is none of what can be taken.
    ValueError
        If draws cannot be read, or the two sides have no quantity in common.
    harness.ModelError
        If the model is unknown or the data are unusable.
    """
    from harness.study import judging, judging_apart

    arguments.checked(timeout_s=timeout_s, why=why, reference_iid=reference_iid)
    if data is not None and program is None:
        raise ValueError("data belong to a program; name it with program=")
    if isinstance(reference, str) and reference in CHOICES:
        raise ValueError(f"judge runs nothing, so reference={reference!r} cannot be made")
    (truth, *more) = take(reference, independent=reference_iid, role="reference")
    if more:
        raise ValueError(f"{1 + len(more)} fits are no reference; give one")
    request = judging.Request(
        approximations=_rows(approximation),
        reference=truth,
        reference_iid=reference_iid,
        model=None if program is None else _model(program, data),
        quantities=arguments.names("quantities", quantities),
        why=why,
        timeout_s=timeout_s,
        command="harness.judge(…)",
    )
    found = judging_apart.judge(request)
    return ComparisonResult(found.comparison, found.figures, found.draws, truth.draws)


def _rows(given: Any) -> Mapping[str, Sequence[Taken]]:
    """Return fits by the name of their row."""
    from harness.study import handed

    by_name = isinstance(given, dict) and bool(given) and all(is_fit(v) for v in given.values())
    if not by_name:
        return handed.rows_of([("", taken) for taken in take(given, role="approximation")])
    fits = [
        (str(name), taken)
        for name, value in given.items()
        for taken in take(value, role="approximation")
    ]
    return handed.rows_of(fits)


def target(program: str | Path, data: Mapping[str, Any] | str | Path | None = None) -> BridgeTarget:
    """Return a Stan program's posterior as a target of :mod:`harness.vi`: density and gradient.

    Points are unconstrained; ``.model`` has the names, transforms and generated quantities, and
    ``.model.engine`` names the engine. The embedded engine serves the program if it can, with all
    constants; else CmdStan compiles it. Without CmdStan, ``.model.constants`` says whether a
    constant is missing. ``program`` and ``data`` are as for :func:`compare`.

    Raises
    ------
    harness.ModelError
        If the model is unknown or the data are unusable.
    harness.ToolchainError
        If the embedded engine cannot serve it, and there is no CmdStan and none can be installed.
    harness.ProgramError
        If the program does not compile.
    harness.BridgeError
        If the program refuses the data.
    """
    from harness.methods.bridged import BridgeTarget, arrays
    from harness.models.sizes import check_sizes
    from harness.stan.bridge import library
    from harness.stan.density import EngineError
    from harness.stan.embedded import program_info
    from harness.stan.engine import embed, open_density

    model = _model(program, data)
    cmdstan = stan.find_cmdstan()
    found = embed(Program(model.stan_file, {}), model.data_file, cmdstan)
    values: Mapping[str, Any] = {}
    if not found.embedded or not (found.constants or cmdstan is None):
        values = load_data(model)
        if cmdstan is None:
            # Data that do not fit are said before a CmdStan is installed for them.
            with contextlib.suppress(EngineError, stan.ProgramError):
                _require_fit(values, program_info(model.stan_file))
            cmdstan = stan.ensure_cmdstan(progress.Quiet().say)
        _require_fit(values, stan.program_info(model.stan_file, cmdstan))
        found = dataclasses.replace(
            found, embedded=False, library=library(model.stan_file, cmdstan)
        )
    elif wrong := check_sizes(
        found, model.data_file, load_data(model), program_info(found.embedded_file)
    ):
        raise ModelError(wrong)
    return BridgeTarget(open_density(found, model.data_file, arrays(values)))


def _require_fit(values: Mapping[str, Any], info: stan.ProgramInfo) -> None:
    complaints = check_data(values, info)
    if complaints:
        raise ModelError("; ".join(complaints))


def _model(program: str | Path, data: Mapping[str, Any] | str | Path | None) -> Model:
    arguments.program_and_data(program, data)
    if not str(program).endswith(".stan"):
        if data is not None:
            raise ModelError(f"{program} brings its own data; to change them give its .stan file")
        return folders.load(str(program))
    path = write_data(data) if isinstance(data, Mapping) else data
    model = folders.user_model(Path(program), None if path is None else Path(path))
    folders.require_data([model])
    return model
