"""The one composition: plan, execute, compare, judge.

Compiling, running and analysing different models overlap on one pool of processes. What is
stored is not run again; what fails becomes a result or a model's error, and the rest goes on.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import stan
from harness.judge.claims import check_claim
from harness.methods import METHODS
from harness.methods.cmdstan import preflight
from harness.models.data import ModelError, check_data, load_data
from harness.records import (
    WITHOUT_DRAWS,
    Comparison,
    Model,
    ModelComparison,
    Program,
    Reference,
    RunContext,
    RunResult,
    RunSpec,
)
from harness.report import files
from harness.stan import bridge
from harness.study.plan import Plan, Planner, Work, data_size, expected_work
from harness.study.pool import Pool, RunTask, cores, failed, longest_first, run_task
from harness.study.progress import Progress, Quiet
from harness.study.store import Store, StoreError, cmdstan_seed
from harness.study.task import (
    Analysis,
    AnalysisTask,
    Want,
    analysis_key,
    explainable,
    explanation_key,
)


class NothingToRunError(RuntimeError):
    """Not one model could be run, with the reasons."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with how much is kept."""


def compare(
    plan: Plan, progress: Progress | None = None
) -> tuple[Comparison, Mapping[str, tuple[Any, ...]]]:
    """Run a plan; return the comparison (without arrays) and each model's figures.

    Raises
    ------
    harness.stan.ToolchainError
        If there is no CmdStan and none can be had.
    NothingToRunError
        If not one model could be run.
    Interrupted
        On Ctrl-C; finished runs are stored.
    """
    comparison, figures = run(plan, progress)
    models = comparison.models
    if models and all(m.error is not None for m in models):
        raise NothingToRunError("\n".join(f"{m.model.name}: {m.error}" for m in models))
    return comparison, figures


def run(
    plan: Plan, progress: Progress | None = None
) -> tuple[Comparison, Mapping[str, tuple[Any, ...]]]:
    """Do what :func:`compare` does, but return a comparison of which no model could be run too."""
    return _Comparing(plan, progress or Quiet()).run()


class _Comparing:
    def __init__(self, plan: Plan, progress: Progress) -> None:
        self.plan = plan
        self.progress = progress
        self.begin = time.monotonic()
        self.cmdstan = stan.ensure_cmdstan(progress.say)
        self.versions = stan.run_versions(self.cmdstan)
        self.store = Store(stan.cache_dir() / "results", self._say_once)
        self.planner = Planner(plan, self.versions, self.store)
        self.pool = Pool(plan.jobs or cores())
        self.said: set[str] = set()
        self.runs_done = 0
        self.runs_total = 0
        self.compiles = 0
        self.compiles_planned = 0

    def _say_once(self, sentence: str) -> None:
        if sentence not in self.said:
            self.said.add(sentence)
            self.progress.say(sentence)

    def run(self) -> tuple[Comparison, Mapping[str, tuple[Any, ...]]]:
        works = [self.planner.work(model) for model in self.plan.models]
        self.runs_total = sum(len(w.waiting) for w in works)
        try:
            self._start(works)
            while self.pool.busy:
                for label, value, error in self.pool.finished():
                    self._finished(label, value, error)
        except KeyboardInterrupt as interrupt:
            self.pool.close(kill=True)
            kept = f"{self.runs_done} of {self.runs_total} runs finished and are kept"
            msg = f"interrupted: {kept}; the same command goes on from there"
            raise Interrupted(msg) from interrupt
        except BaseException:
            self.pool.close(kill=True)
            raise
        self.pool.close()
        comparison = self._gather(works, self.runs_done)
        return comparison, {w.model.name: w.analysis.figures for w in works if w.analysis}

    # --- executing -------------------------------------------------------------------------

    def _start(self, works: Sequence[Work]) -> None:
        to_compile = [w for w in works if w.waiting and w.error is None]
        self.compiles_planned = len(to_compile)
        if to_compile:
            self.progress.phase("compile", len(to_compile))
            self.progress.phase("run", self.runs_total)
        self.progress.phase("judge", sum(w.error is None for w in works))
        # Large data first: their runs are the long ones, and must not start last.
        for work in sorted(to_compile, key=lambda w: -data_size(w.model)):
            self._compile(work)
        for work in works:
            if work.error is None and not work.waiting:
                self._analyse(work)

    def _compile(self, work: Work) -> None:
        """Have the program compiled, as a library too if its gradient is needed."""
        self.compiles += 1
        self.progress.phase("compile", max(self.compiles, self.compiles_planned))
        library = needs_library(_methods(work)) or self._explains(work)
        args = (work.model, self.cmdstan, self.plan.timeout_s, library)
        self.pool.submit(("compile", work), prepare, *args)

    def _explains(self, work: Work) -> bool:
        """Tell whether causes are wanted, and some method has a Gaussian q to be looked at."""
        return self.plan.explain and any(
            METHODS[s.method].family_of(s.options) is not None for s in work.specs
        )

    def _finished(self, label: Any, value: Any, error: BaseException | None) -> None:
        kind, work, *rest = label
        if isinstance(error, StoreError):
            # Nobody's fault but the cache's: no method may be blamed for it.
            raise error
        if kind == "compile":
            self._compiled(work, value, error)
        elif kind == "run":
            self._ran(work, rest[0], value, error)
        else:
            self._analysed(work, value, error)

    def _compiled(self, work: Work, value: Any, error: BaseException | None) -> None:
        self.progress.advance("compile", work.model.name)
        if error is None and isinstance(value, Program):
            work.program = value
            if work.waiting:
                self._submit_runs(work)
            else:
                self._analyse(work)
            return
        if not work.waiting:
            # All runs are there; only why they are as they are cannot be told.
            work.library_error = str(value) if error is None else _explain(error)
            self._analyse(work)
            return
        why = str(value) if error is None else _explain(error)
        if work.proposals:
            self._without_trials(work, why)
            return
        work.error = why
        self.progress.say(f"{work.model.name}: {work.error}")
        self.runs_total -= len(work.waiting)
        self.progress.phase("run", self.runs_total)
        work.waiting.clear()
        self.progress.advance("judge", work.model.name)

    def _submit_runs(self, work: Work) -> None:
        program = work.program
        built = program is not None and bool(program.library or program.library_error)
        if program is None or (needs_library(_methods(work)) and not built):
            # More draws of stored runs: the program was not needed until now.
            self._compile(work)
            return
        data_file = work.model.data_file
        tasks = [
            RunTask(
                key, spec, RunContext(program, data_file, self.plan.timeout_s, cmdstan_seed(spec))
            )
            for key, spec in work.waiting.items()
        ]
        for task in longest_first(tasks, expected_work):
            self.pool.submit(("run", work, task), run_task, task, self.store.root)

    def _ran(self, work: Work, task: RunTask, value: Any, error: BaseException | None) -> None:
        result = value
        if error is not None:
            died = isinstance(error, ChildProcessError)
            result = failed(task, _explain(error), killed=died)
        work.done[task.key] = result
        work.waiting.pop(task.key, None)
        self.runs_done += 1
        self.progress.advance("run", f"{work.model.name} {task.spec.method}")
        if not work.waiting:
            self._analyse(work)

    def _analyse(self, work: Work) -> None:
        runs = self.planner.results(work)
        program = work.program
        proposing = self.plan.remedies and work.proposals is None
        task = AnalysisTask(
            model=work.model,
            results=runs,
            reference=self.plan.reference,
            judged=work.judged,
            notes=tuple(work.notes),
            store_root=self.store.root,
            draws_folder=None if self.plan.out is None else self.plan.out.resolve() / "draws",
            may_extend=not work.extended,
            # What is to be looked at once more is drawn then.
            figures=self.plan.figures and not proposing,
            explain=self.plan.explain,
            library=program.library if program is not None else None,
            library_error=work.library_error or (program.library_error if program else ""),
            propose=proposing,
            trials=self.planner.trials(work),
            options=self.plan.options,
            timeout_s=self.plan.timeout_s,
        )
        try:
            key = analysis_key(task)
        except OSError as error:
            self._analysed(work, None, error)
            return
        known = self.store.memo(key)
        if isinstance(known, Analysis) and self._draws_written(task, known):
            self._analysed(work, known, None)
        elif self._lacks_library(work, runs):
            self._compile(work)
        else:
            self.pool.submit(("judge", work), analyse_and_keep, task, key)

    @staticmethod
    def _draws_written(task: AnalysisTask, known: Analysis) -> bool:
        """Tell whether the draws of a kept analysis are still in the output folder."""
        if task.draws_folder is None or all(
            r.status in WITHOUT_DRAWS for r in known.comparison.runs
        ):
            return True
        return (task.draws_folder / task.model.name / "keys.json").is_file()

    def _analysed(self, work: Work, value: Any, error: BaseException | None) -> None:
        if error is not None and work.proposals:
            self._without_trials(work, _explain(error))
            return
        if error is not None:
            work.error = f"the comparison itself failed: {_explain(error)}"
            self.progress.say(f"{work.model.name}: {work.error}")
        else:
            for sentence in value.said:
                self._say_once(sentence)
            work.analysis = value
            if value.wants and not work.extended:
                self._extend(work, value.wants)
                return
            if self.plan.remedies and work.proposals is None:
                self._try(work, value.proposals)
                return
        self.progress.advance("judge", work.model.name)

    def _extend(self, work: Work, wants: tuple[Want, ...]) -> None:
        """Take more draws where they would decide; otherwise judge what there is."""
        self.planner.extend(work, wants)
        self.runs_total += len(work.waiting)
        if work.waiting:
            self.progress.say(
                f"{work.model.name}: undecided at these sizes; "
                f"runs made again with more draws: {len(work.waiting)}"
            )
            self.progress.phase("run", self.runs_total)
            self._submit_runs(work)
        else:
            self._analyse(work)

    def _lacks_library(self, work: Work, found: Sequence[RunResult]) -> bool:
        """Tell whether an explanation is to be made for which the program must be built first."""
        program = work.program
        if program is not None and (program.library or program.library_error):
            return False
        if not self.plan.explain or work.library_error or not explainable(found):
            return False
        key = explanation_key(work.model, found, self.plan.reference, bridge.version())
        return self.plan.remedies or self.store.memo(key) is None

    def _without_trials(self, work: Work, why: str) -> None:
        """Give up the remedies of a model whose comparison stands without them."""
        sentence = f"the remedies could not be tried: {why}"
        work.notes.append(sentence)
        self.progress.say(f"{work.model.name}: {sentence}")
        self.runs_total -= len(work.waiting)
        self.progress.phase("run", self.runs_total)
        work.waiting.clear()
        work.proposals = ()
        self._analyse(work)

    def _try(self, work: Work, proposals: tuple[Any, ...]) -> None:
        """Run the remedies that were proposed, and judge what they brought."""
        self.planner.try_remedies(work, proposals)
        self.runs_total += len(work.waiting)
        if work.waiting:
            self.progress.say(f"{work.model.name}: runs to try remedies: {len(work.waiting)}")
            self.progress.phase("run", self.runs_total)
            self._submit_runs(work)
        else:
            self._analyse(work)

    # --- gathering -------------------------------------------------------------------------

    def _gather(self, works: Sequence[Work], ran: int) -> Comparison:
        models = tuple(
            w.analysis.comparison
            if w.analysis is not None and w.error is None
            else ModelComparison(
                w.model,
                w.error or "it was not analysed",
                Reference("none", trusted=False, why="the model could not be compared"),
                tuple(w.done.values()),
                notes=tuple(w.notes),
            )
            for w in works
        )
        found = [
            check_claim(m.model.name, claim, m.measures, m.runs)
            for m in models
            for claim in m.model.claims
        ]
        return Comparison(
            models,
            tuple(found),
            {
                "command": self.plan.command,
                "date": dt.datetime.now(tz=dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
                "versions": dict(self.versions),
                "reference": self.plan.reference,
                "seeds": self.plan.seeds or "each method's own",
                "timeout_s": self.plan.timeout_s,
                "seconds": round(time.monotonic() - self.begin, 1),
                "runs_made": ran,
                "hashes": {
                    w.model.name: {"program": w.program_hash, "data": w.data_hash} for w in works
                },
            },
        )


def _methods(work: Work) -> frozenset[str]:
    return frozenset(spec.method for spec in work.waiting.values())


def needs_library(methods: Iterable[str]) -> bool:
    """Tell whether one of these methods needs the program's gradient in process."""
    return any(METHODS[name].bridge for name in methods)


def prepare(
    model: Model,
    cmdstan: stan.CmdStan,
    timeout_s: float,
    library: bool,  # noqa: FBT001 - the pool passes arguments by position
) -> Program | str:
    """Compile a program and see that it starts with its data; a string says why it does not.

    A library that cannot be built is no error of the model: CmdStan's methods go on without it.
    Runs in a worker process.

    Parameters
    ----------
    library
        Whether the program's gradient is needed in process.
    """
    try:
        program = stan.compile_program(model.stan_file, cmdstan)
        info = stan.program_info(model.stan_file, cmdstan)
        if not info.parameters:
            return "the program has no parameters: there is nothing to infer"
        complaints = check_data(
            load_data(model), info, model.data_file.name if model.data_file else "the data"
        )
    except (stan.ToolchainError, stan.ProgramError, ModelError) as error:
        return str(error)
    if complaints:
        return "; ".join(complaints)
    probe = RunSpec(model.name, "nuts", {}, 0, 1)
    context = RunContext(program, model.data_file, timeout_s, cmdstan_seed(probe))
    with tempfile.TemporaryDirectory(prefix="harness-start-") as scratch:
        refused = preflight(context, Path(scratch))
    if refused is not None:
        return f"the program does not start: {refused}"
    if library:
        try:
            built = bridge.library(model.stan_file, cmdstan)
        except (stan.ToolchainError, stan.ProgramError) as error:
            return dataclasses.replace(program, library_error=str(error))
        program = dataclasses.replace(program, library=built)
    return program


def analyse_and_keep(task: AnalysisTask, key: str) -> Analysis:
    """Analyse in a worker process and keep the outcome for the next comparison."""
    from harness.study.analysis import analyse

    analysis = analyse(task)
    why = analysis.comparison.explanation
    if why is None or why.complete:
        # What was cut short may be had next time.
        Store(task.store_root).put_memo(key, dataclasses.replace(analysis, said=()))
    return analysis


def _explain(error: BaseException) -> str:
    text = str(error).strip()
    return (
        text
        if isinstance(error, (OSError, ValueError)) and text
        else f"{type(error).__name__}: {text}"
    )


def write(comparison: Comparison, figures: Mapping[str, tuple[Any, ...]], out: Path) -> Path:
    """Write the report with its CSV and JSON files; return the HTML's path."""
    from harness.report import html

    files.write(comparison, out)
    path = out / "index.html"
    html.render(comparison, path, figures=figures)
    return path
