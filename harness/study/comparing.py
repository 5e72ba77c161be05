"""The pipeline: plan, build, run, analyse, gather.

Building, running and analysing different models overlap on one pool of processes. Stored runs
are not made again. A failure becomes a result or a model's error, and the rest goes on.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness import records, stan
from harness.judge.claims import check_claim
from harness.methods import METHODS
from harness.records import Comparison, ModelComparison, Program, Reference, RunContext
from harness.records.text import count, setting
from harness.report import files
from harness.study.plan import Plan, Planner, Work, data_size, expected_work
from harness.study.pool import Pool, RunTask, cores, failed, longest_first, run_task
from harness.study.prepare import needs_library, prepare
from harness.study.progress import Progress, Quiet
from harness.study.store import Store, StoreError, cmdstan_seed
from harness.study.task import Analysis, AnalysisTask, analysis_key, keep, recall


class NothingToRunError(RuntimeError):
    """No model could be run; the message gives the reason for each."""


class Interrupted(KeyboardInterrupt):
    """The user pressed Ctrl-C; the message says how many runs are kept."""


Compared = tuple[Comparison, Mapping[str, tuple[Any, ...]]]


def compare(plan: Plan, progress: Progress | None = None) -> Compared:
    """Run a plan; return the comparison (without arrays) and each model's figures.

    Raises
    ------
    harness.stan.ToolchainError
        If there is no CmdStan and none can be installed.
    NothingToRunError
        If no model could be run.
    Interrupted
        On Ctrl-C; finished runs are stored.
    """
    comparison, figures = run(plan, progress)
    models = comparison.models
    if models and all(m.error is not None for m in models):
        raise NothingToRunError("\n".join(f"{m.model.name}: {m.error}" for m in models))
    return comparison, figures


def run(plan: Plan, progress: Progress | None = None) -> Compared:
    """Do what :func:`compare` does, but do not raise if no model could be run."""
    return _Study(plan, progress or Quiet()).run()


class _Study:
    """Takes each model through building, running and analysis until the analysis needs nothing."""

    def __init__(self, plan: Plan, progress: Progress) -> None:
        self.plan = plan
        self.progress = progress
        self.begin = time.monotonic()
        self.said: set[str] = set()
        self.cmdstan = stan.ensure_cmdstan(progress.say)
        self.versions = stan.run_versions(self.cmdstan)
        self.store = Store(stan.cache_dir() / "results", self._say_once)
        self.planner = Planner(plan, self.versions, self.store, self.cmdstan)
        self.works = [self.planner.work(model) for model in plan.models]
        self.pool = Pool(plan.jobs or cores())
        self.runs_done = 0
        self.builds = 0
        self.builds_planned = sum(bool(w.waiting) and w.error is None for w in self.works)

    def run(self) -> Compared:
        ends: Mapping[str, Callable[..., None]] = {
            "build": self._built,
            "run": self._ran,
            "judge": self._analysed,
        }
        try:
            if self.builds_planned:
                self.progress.phase("compile", self.builds_planned)
                self.progress.phase("run", self._runs())
            self.progress.phase("judge", sum(w.error is None for w in self.works))
            # Models with large data first: their runs are long, and must not start last.
            for work in sorted(self.works, key=lambda w: (not w.waiting, -data_size(w.model))):
                self._go_on(work)
            while self.pool.busy:
                for (kind, *about), value, error in self.pool.finished():
                    if isinstance(error, StoreError):
                        # The cache is at fault: no method may be blamed.
                        raise error
                    ends[kind](*about, value, error)
        except KeyboardInterrupt as interrupt:
            self.pool.close(kill=True)
            kept = f"{self.runs_done} of {self._runs()} runs finished and are kept"
            msg = f"interrupted: {kept}; the same command goes on from there"
            raise Interrupted(msg) from interrupt
        except BaseException:
            self.pool.close(kill=True)
            raise
        self.pool.close()
        figures = {w.model.name: w.analysis.figures for w in self.works if w.analysis}
        return self._gather(), figures

    def _say_once(self, sentence: str) -> None:
        if sentence not in self.said:
            self.said.add(sentence)
            self.progress.say(sentence)

    def _runs(self) -> int:
        return self.runs_done + sum(len(w.waiting) for w in self.works)

    def _give_up(self, work: Work, why: str) -> None:
        """Give up a model, or only its remedies if its comparison stands without them."""
        if work.waiting:
            work.waiting.clear()
            self.progress.phase("run", self._runs())
        if work.proposals:
            why = f"the remedies could not be tried: {why}"
            work.notes.append(why)
            work.first_key = ""
            work.proposals = ()
        else:
            work.error = why
            self.progress.advance("judge", work.model.name)
        self.progress.say(f"{work.model.name}: {why}")
        self._go_on(work)

    # --- one model after another step --------------------------------------------------------

    def _go_on(self, work: Work) -> None:
        """Do what a model needs next: build its program, run its methods, or analyse."""
        if work.error is not None:
            return
        program = work.program
        as_library = program is not None and bool(program.library or program.library_error)
        bridged = needs_library(s.method for s in work.waiting.values())
        if work.waiting and (program is None or (bridged and not as_library)):
            self._build(work, library=bridged or self._explains(work))
        elif work.waiting:
            self._run(work)
        elif work.wants_library and not as_library and not work.library_error:
            self._build(work, library=True)
        else:
            self._analyse(work)

    def _explains(self, work: Work) -> bool:
        """Tell whether causes are wanted, and some method has a Gaussian q to look at."""
        return self.plan.explain and any(
            METHODS[s.method].family_of(s.options) is not None for s in work.specs
        )

    def _build(self, work: Work, *, library: bool) -> None:
        self.builds += 1
        self.progress.phase("compile", max(self.builds, self.builds_planned))
        args = (work.model, self.cmdstan, self.plan.timeout_s, library, work.data_hash)
        self.pool.submit(("build", work), prepare, *args)

    def _built(self, work: Work, value: Program | str, error: BaseException | None) -> None:
        self.progress.advance("compile", work.model.name)
        why = str(value) if error is None else _explain(error)
        if isinstance(value, Program):
            work.program = value
        elif work.waiting:
            self._give_up(work, why)
            return
        else:
            # All runs are there; only their causes stay unknown.
            work.library_error = why
        self._go_on(work)

    def _run(self, work: Work) -> None:
        assert work.program is not None  # noqa: S101 - built before it is run
        hashes = work.program_hash, work.data_hash
        about = (work.program, work.model.data_file, self.plan.timeout_s)
        tasks = [
            RunTask(key, spec, RunContext(*about, cmdstan_seed(spec, *hashes), work.data_hash))
            for key, spec in work.waiting.items()
        ]
        for task in longest_first(tasks, expected_work):
            self.pool.submit(("run", work, task), run_task, task, self.store.root)

    def _ran(self, work: Work, task: RunTask, value: Any, error: BaseException | None) -> None:
        if error is not None:
            value = failed(task, _explain(error), killed=isinstance(error, ChildProcessError))
        work.done[task.key] = value
        work.waiting.pop(task.key, None)
        self.runs_done += 1
        self.progress.advance("run", f"{work.model.name} {task.spec.method}")
        if not work.waiting:
            self._go_on(work)

    def _analyse(self, work: Work) -> None:
        program = work.program
        task = AnalysisTask(
            model=work.model,
            program_hash=work.program_hash,
            data_hash=work.data_hash,
            results=self.planner.results(work, work.specs),
            earlier=self.planner.results(work, work.earlier),
            reference=self.plan.reference,
            reference_iid=self.plan.reference_iid,
            judged=work.judged,
            notes=tuple(work.notes),
            store_root=self.store.root,
            draws_folder=None if self.plan.out is None else self.plan.out.resolve() / "draws",
            figures=self.plan.figures,
            explain=self.plan.explain,
            program=program,
            library=program.library if program is not None else None,
            library_error=work.library_error or (program.library_error if program else ""),
            remedies=self.plan.remedies,
            trials=self.planner.trials(work),
            options=self.plan.options,
            timeout_s=self.plan.timeout_s,
            known=work.known,
        )
        try:
            key = analysis_key(task)
        except (OSError, ValueError) as error:
            self._analysed(work, None, error)
            return
        if work.first_key is None:
            work.first_key = key
        known = recall(self.store, key)
        if known is not None and _draws_written(task, known):
            self._analysed(work, known, None)
        else:
            self.pool.submit(("judge", work), analyse_and_keep, task, key)

    def _analysed(self, work: Work, value: Any, error: BaseException | None) -> None:
        if error is not None:
            whose = "" if work.proposals else "the comparison itself failed: "
            self._give_up(work, f"{whose}{_explain(error)}")
            return
        for sentence in value.said:
            self._say_once(sentence)
        if value.needs:
            self.planner.meet(work, value.needs, value.known)
            if work.waiting:
                why = "not enough draws to decide" if value.needs.draws else "remedies to try"
                if value.needs.nuts:
                    asked = ", ".join(f"{k} {setting(v)}" for k, v in value.needs.nuts.items())
                    why = f"NUTS is no reference yet: again with {asked}"
                runs = count(len(work.waiting), "more run")
                self.progress.say(f"{work.model.name}: {why}; {runs}")
                self.progress.phase("run", self._runs())
            self._go_on(work)
            return
        work.analysis = value
        if work.first_key and work.met:
            # The next comparison need not go through the rounds.
            keep(self.store, work.first_key, value)
        self.progress.advance("judge", work.model.name)

    # --- gathering -------------------------------------------------------------------------

    def _gather(self) -> Comparison:
        models = tuple(_outcome(w) for w in self.works)
        claims = tuple(
            check_claim(m.model.name, claim, m.measures, m.runs)
            for m in models
            for claim in m.model.claims
        )
        provenance = {
            "command": self.plan.command,
            "date": dt.datetime.now(tz=dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "versions": dict(self.versions),
            "reference": self.plan.reference,
            "seeds": self.plan.seeds or "each method's own",
            "timeout_s": self.plan.timeout_s,
            "seconds": round(time.monotonic() - self.begin, 1),
            "runs_made": self.runs_done,
            "hashes": {
                w.model.name: {"program": w.program_hash, "data": w.data_hash} for w in self.works
            },
        }
        return Comparison(models, claims, provenance)


def _outcome(work: Work) -> ModelComparison:
    if work.analysis is not None and work.analysis.comparison is not None:
        return work.analysis.comparison
    return ModelComparison(
        work.model,
        work.error or "it was not analysed",
        Reference("none", trusted=False, why="the model could not be compared"),
        tuple(work.done.values()),
        notes=tuple(work.notes),
    )


def _draws_written(task: AnalysisTask, known: Analysis) -> bool:
    """Tell whether the draws of a kept analysis are still in the output folder."""
    if task.draws_folder is None or known.comparison is None:
        return True
    if all(r.status in records.WITHOUT_DRAWS for r in known.comparison.runs):
        return True
    return (task.draws_folder / task.model.name / "keys.json").is_file()


def analyse_and_keep(task: AnalysisTask, key: str) -> Analysis:
    """Analyse in a worker process and keep the outcome for the next comparison."""
    from harness.study.analysis import analyse

    analysis = analyse(task)
    keep(Store(task.store_root), key, analysis)
    return analysis


def _explain(error: BaseException) -> str:
    text = str(error).strip()
    plain = text and isinstance(error, (OSError, ValueError))
    return text if plain else f"{type(error).__name__}: {text}"


def write(comparison: Comparison, figures: Mapping[str, tuple[Any, ...]], out: Path) -> Path:
    """Write the report with its CSV and JSON files; return the HTML's path."""
    from harness.report import html

    files.write(comparison, out)
    path = out / "index.html"
    html.render(comparison, path, figures=figures)
    return path
