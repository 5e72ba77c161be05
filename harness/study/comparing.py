"""The pipeline: plan, build, run, analyse, gather.

Building, running and analysing different models overlap on one pool of processes. Stored runs
are not made again. A failure becomes a result or a model's error, and the rest goes on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from harness import records, stan
from harness.judgement.claims import check_claim
from harness.methods import METHODS
from harness.records import (
    ClaimResult,
    Comparison,
    EngineName,
    Measure,
    ModelComparison,
    Program,
    Reference,
    RunContext,
    RunResult,
    RunSpec,
)
from harness.records.faults import fault_words, machine_fault
from harness.records.text import count, seconds, setting
from harness.report.files.netcdf import written_keys
from harness.report.standing import first_words
from harness.study import engines
from harness.study.plan import (
    BUILD_S,
    JUDGE_S,
    QUICK,
    Plan,
    Planner,
    Work,
    data_size,
    expected_seconds,
    expected_work,
    explain,
)
from harness.study.pool import (
    Pool,
    RunTask,
    Turn,
    cores,
    ended_by,
    longest_first,
    overdue,
    run_task,
)
from harness.study.prepare import Prepared, build, start
from harness.study.progress import Progress, Quiet
from harness.study.store import Store, StoreError, cmdstan_seed
from harness.study.task import Analysis, AnalysisTask, analysis_key, keep, recall
from harness.study.worker import OverdueError


class NothingToRunError(RuntimeError):
    """No model could be run; the message gives the reason for each."""


class Interrupted(KeyboardInterrupt):
    """The user pressed Ctrl-C; the message says how many runs are kept."""


Compared = tuple[Comparison, Mapping[str, tuple[Any, ...]]]

WORTH_S = 6.0
"""Expected seconds for which one more worker is started: its imports alone take about three."""


def compare(plan: Plan, progress: Progress | None = None, *, partial: bool = False) -> Compared:
    """Run a plan; return the comparison and each model's figures.

    It has no arrays, but for the runs of methods of one's own, which nothing else keeps. With
    ``partial``, Ctrl-C ends the runs, and what has finished by then is judged: the provenance of
    such a comparison has ``interrupted``.

    Raises
    ------
    harness.stan.ToolchainError
        If there is no CmdStan and none can be installed.
    NothingToRunError
        If no model could be run.
    Interrupted
        On Ctrl-C; finished runs are stored. With ``partial`` only if no method has finished, or
        Ctrl-C is pressed again.
    """
    comparison, figures = run(plan, progress, partial=partial)
    models = comparison.models
    if models and all(m.error is not None for m in models):
        raise NothingToRunError("\n".join(f"{m.model.name}: {m.error}" for m in models))
    return comparison, figures


def run(plan: Plan, progress: Progress | None = None, *, partial: bool = False) -> Compared:
    """Do what :func:`compare` does, but do not raise if no model could be run."""
    return _Study(plan, progress or Quiet()).run(partial=partial)


def workers_for(works: Sequence[Work]) -> int:
    """Return how many workers are worth their start, by the seconds that are expected."""
    runs_s = sum(expected_seconds(s, w.model) for w in works for s in w.waiting.values())
    return min(cores(), math.ceil((runs_s + JUDGE_S * len(works)) / WORTH_S) or 1)


class _Study:
    """Takes each model through building, running and analysis until the analysis needs nothing."""

    def __init__(self, plan: Plan, progress: Progress) -> None:
        self.plan = plan
        self.progress = progress
        self.begin = time.monotonic()
        self.said: set[str] = set()
        self.engines = engines.choose(plan.engine, progress.say)
        self.store = Store(stan.cache_dir() / "results", self._say_once)
        self.store.sweep()
        self.planner = Planner(plan, self.engines, self.store)
        self.works = [self.planner.work(model) for model in plan.models]
        self.pool = Pool(plan.jobs or workers_for(self.works), plan.memory_gb)
        self.runs_done = 0
        self.builds = 0
        self.builds_done = 0
        self.spent_s = 0.0
        self.interrupted = False

    def run(self, *, partial: bool) -> Compared:
        ends: Mapping[str, Callable[..., None]] = {
            "start": self._started,
            "build": self._built,
            "run": self._ran,
            "tell": self._tell,
            "judge": self._analysed,
        }
        try:
            if self._runs():
                self.progress.phase("run", self._runs())
            self.progress.phase("judge", sum(w.error is None for w in self.works))
            # Models with large data first: their runs are long, and must not start last.
            for work in sorted(self.works, key=lambda w: (not w.waiting, -data_size(w.model))):
                with self._alone(work):
                    self._go_on(work)
            while self.pool.busy:
                for (kind, *about), value, error in self.pool.finished():
                    if isinstance(error, StoreError):
                        # The cache is at fault: no method may be blamed.
                        raise error
                    with self._alone(about[0]):
                        ends[kind](*about, value, error)
                self._outlook()
        except KeyboardInterrupt as interrupt:
            self.pool.close(kill=True)
            kept = f"{self.runs_done} of {self._runs()} runs finished and are kept"
            msg = f"interrupted: {kept}; the same command goes on from there"
            if not (partial and self._judge_finished()):
                raise Interrupted(msg) from interrupt
        except BaseException:
            self.pool.close(kill=True)
            raise
        finally:
            own = self._with_own_draws()
        self.pool.close()
        figures = {w.model.name: w.analysis.figures for w in self.works if w.analysis}
        return self._gather(own), figures

    @contextlib.contextmanager
    def _alone(self, work: Work) -> Iterator[None]:
        """Let what goes wrong with one model be that model's error, and cost no other one."""
        try:
            yield
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is
            work.waiting.clear()
            work.proposals = ()
            work.error = explain(error)
            self.progress.phase("run", self._runs())
            self.progress.say(f"{work.model.name}: {work.error}")

    def _judge_finished(self) -> bool:
        """Judge the methods whose runs have all finished; tell whether there are any.

        Nothing else is run, and no causes are looked for.
        """
        self.interrupted = True
        for work in self.works:
            if work.error is not None or work.analysis is not None:
                continue
            done, missing = len(work.specs) - len(work.waiting), len(work.waiting)
            said = f"interrupted: {done} of {count(done + missing, 'run')} had finished"
            work.notes.append(said)
            unfinished = {s.method for s in work.waiting.values()}
            ready = [s for s in work.specs if s.method not in unfinished]
            task = self._first_task(work, ready)
            if task is None:
                work.error = f"{said}, and no method had all of its runs"
                continue
            task = dataclasses.replace(task, figures=self.plan.figures, first=False, final=True)
            with self._alone(work):
                work.analysis = analyse(task)
        return any(w.analysis is not None for w in self.works)

    def _with_own_draws(self) -> dict[str, RunResult]:
        """Take the runs of own methods, by key, out of the store, which only passed them on."""
        found = {
            key: result
            for work in self.works
            for key, result in work.done.items()
            if result.spec.method in self.plan.own
        }
        kept = dict(zip(found, self.store.with_arrays(found.values()), strict=True))
        for key in kept:
            self.store.discard(key)
        return kept

    def _say_once(self, sentence: str) -> None:
        if sentence not in self.said:
            self.said.add(sentence)
            self.progress.say(sentence)

    def _runs(self) -> int:
        return self.runs_done + sum(len(w.waiting) for w in self.works)

    def _outlook(self) -> None:
        """Tell the display how much of the expected work is done."""
        going = [w for w in self.works if w.error is None and w.analysis is None]
        left_s = sum(expected_seconds(s, w.model) for w in going for s in w.waiting.values())
        left_s += BUILD_S * (self.builds - self.builds_done) + JUDGE_S * len(going)
        done_s = (
            self.spent_s + BUILD_S * self.builds_done + JUDGE_S * (len(self.works) - len(going))
        )
        self.progress.outlook(done_s, done_s + left_s)

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
        """Do what a model needs next: prepare its program, run its methods, or analyse."""
        if work.error is not None or work.building:
            return
        if (work.waiting or work.wants_density) and work.program is None:
            self._prepare(work)
        elif work.waiting:
            self._run(work)
        elif work.wants_density and not _evaluates(work.program):
            self._build(work, executable=False, library=True)
        else:
            self._analyse(work)

    def _prepare(self, work: Work) -> None:
        """Load a program into the embedded engine, or compile it where that does not serve."""
        if self.engines.embedded and "embedded" not in work.refused:
            work.building = True
            args = (work.model, self.engines, self.plan.timeout_s, work.data_hash)
            self.pool.submit(("start", work), start, *args, turn=Turn.START)
        else:
            work.program = self._compiled(work)
            self._go_on(work)

    def _compiled(self, work: Work) -> Program:
        """Return a model's program before anything of it is built."""
        why = {**self.engines.absent, **work.refused}.get("embedded", "")
        return Program(work.model.stan_file, self.engines.versions, embedded_error=why)

    def _started(self, work: Work, value: Prepared | None, error: BaseException | None) -> None:
        if isinstance(error, OverdueError):
            said = f"loading and trying it {_too_long(self.plan.timeout_s)}"
            value = Prepared(refused=said, lasting=False)
        self._prepared(work, "embedded", value, error)

    def _prepared(
        self, work: Work, engine: EngineName, value: Prepared | None, error: BaseException | None
    ) -> None:
        work.building = False
        if value is None:
            assert error is not None  # noqa: S101 - a call returns or raises
            fault = machine_fault(error)
            words = fault_words(error) if fault else explain(error)
            if fault and engine not in work.again:
                work.again.add(engine)
                self.progress.say(f"{work.model.name}: {words}; it is prepared again")
                self._go_on(work)
                return
            value = Prepared(error=words)
            if engine == "embedded" and not fault:
                value = Prepared(refused=words, lasting=False)
        if value.refused:
            self.planner.refuse(work, engine, value.refused, lasting=value.lasting)
            if work.error is not None:
                self._give_up(work, work.error)
                return
            self.progress.phase("run", self._runs())
        elif value.error and work.waiting:
            self._give_up(work, value.error)
            return
        elif value.error:
            # All runs are there; only their causes stay unknown.
            work.program = dataclasses.replace(self._compiled(work), library_error=value.error)
        else:
            work.program = value.program
            if engine == "embedded" and value.program is not None:
                self.planner.accept(work, value.program)
        self._go_on(work)

    def _build(self, work: Work, *, executable: bool, library: bool) -> None:
        work.building = True
        self.builds += 1
        self.progress.phase("compile", self.builds)
        parts = (executable, library)
        limits = (self.plan.compile_timeout_s, self.plan.timeout_s)
        args = (work.model, self.engines, work.program, parts, limits, work.data_hash)
        self.pool.submit(("build", work, parts), build, *args, turn=Turn.BUILD)

    def _built(
        self,
        work: Work,
        parts: tuple[bool, bool],
        value: Prepared | None,
        error: BaseException | None,
    ) -> None:
        self.builds_done += 1
        self.progress.advance("compile", work.model.name)
        if isinstance(error, OverdueError):
            executable, library = parts
            said = _too_long(self.plan.compile_timeout_s, "--compile-timeout")
            value = Prepared(refused=f"compiling it {said}")
            if library:
                # CmdStan's methods go on without it, if they can be built.
                made = work.program or self._compiled(work)
                work.program = dataclasses.replace(made, library_error=value.refused)
                value = Prepared(work.program)
                if executable:
                    self._build(work, executable=True, library=False)
                    return
        self._prepared(work, "cmdstan", value, error)

    def _run(self, work: Work) -> None:
        """Hand out the runs whose engine is ready, and build what the others need."""
        assert work.program is not None  # noqa: S101 - prepared before
        hashes = work.program_hash, work.data_hash
        tasks, executable, library = [], False, False
        for key, spec in work.waiting.items():
            engine, own = self.planner.engine(work, spec.method), self.plan.own.get(spec.method)
            row = own or METHODS[spec.method]
            if key in work.handed_out:
                continue
            if engine == "cmdstan" and row.bridge and not _library(work.program):
                library = True
                continue
            if engine == "cmdstan" and row.since and work.program.executable is None:
                executable = True
                continue
            program = self.engines.of_run(work.program, engine, row, spec)
            context = RunContext(
                program,
                work.model.data_file,
                self.plan.timeout_s,
                cmdstan_seed(spec, *hashes),
                work.data_hash,
            )
            tasks.append(RunTask(key, spec, context, engine, own))
        cheap = [t for t in tasks if _cheap(t.spec, t.engine)]
        others = [t for t in tasks if not _cheap(t.spec, t.engine)]
        # Idle workers take what comes first.
        for task in (*cheap, *longest_first(others, expected_work)):
            work.handed_out.add(task.key)
            turn = Turn.CHEAP if _cheap(task.spec, task.engine) else Turn.RUN
            self.pool.submit(("run", work, task), run_task, task, self.store.root, turn=turn)
        if executable or library:
            self._build(work, executable=executable, library=library)

    def _ran(self, work: Work, task: RunTask, value: Any, error: BaseException | None) -> None:
        if isinstance(error, OverdueError):
            value = overdue(task, self.store.root)
        elif error is not None:
            value = ended_by(task, error)
        elif value.status == "killed" and self._once_more(work, task, value.message):
            return
        work.done[task.key] = value
        wanted = work.waiting.pop(task.key, None)
        self.runs_done += 1
        self.spent_s += expected_seconds(task.spec, work.model)
        self.progress.advance("run", f"{work.model.name} {task.spec.method}")
        if wanted is not None and not work.waiting:
            self._go_on(work)
        elif wanted is not None and not (work.told or work.met):
            self._tell_soon(work)

    def _once_more(self, work: Work, task: RunTask, why: str) -> bool:
        """Make a run that the machine ended once more, after those that wait; tell if it is."""
        if task.key in work.again or task.key not in work.waiting:
            return False
        work.again.add(task.key)
        spec = task.spec
        run = f"{work.model.name} {spec.method} (seed {spec.seed})"
        self.progress.say(f"{run}: {why}; it is run again")
        self.pool.submit(("run", work, task), run_task, task, self.store.root, turn=Turn.RUN)
        return True

    def _tell_soon(self, work: Work) -> None:
        """Once the cheap runs of a model are made, judge them while the others are made.

        Without NUTS only short chains are left: their verdicts come as soon.
        """
        left = work.waiting.values()
        if not self.plan.nuts or any(_cheap(s, self.planner.engine(work, s.method)) for s in left):
            return
        work.told = True
        unfinished = {s.method for s in left}
        ready = [s for s in work.specs if s.method not in unfinished and s.method in QUICK]
        task = self._first_task(work, ready)
        if task is not None:
            self.pool.submit(("tell", work), analyse, task, turn=Turn.TELL)

    def _first_task(self, work: Work, ready: Sequence[RunSpec]) -> AnalysisTask | None:
        """Return the task of judging the methods that are ready; None if there is none."""
        methods = tuple(m for m in work.judged if any(s.method == m for s in ready))
        if not methods:
            return None
        return dataclasses.replace(
            self._task(work, ready),
            earlier=(),
            judged=methods,
            draws_folder=None,
            figures=False,
            first=True,
            explain=False,
            remedies=False,
            trials=None,
            agreement="",
        )

    def _tell(self, work: Work, value: Analysis | None, error: BaseException | None) -> None:
        """Print the first verdicts; the analysis of all runs meets what kept them from being."""
        del error
        if value is None:
            return
        if work.waiting and not work.met:
            work.known = value.known
        if value.comparison is not None and work.waiting:
            for sentence in first_words(value.comparison, len(work.waiting)):
                self.progress.say(sentence)

    def _take_over(self, work: Work, doubt: str) -> None:
        """Give the runs of the embedded engine, whose density is doubted, to the bridge."""
        self.planner.refuse(work, "embedded", doubt, doubt=True)
        self._say_once(f"{work.model.name}: {_engine_notes(work)[0]}")
        if work.program is not None:
            work.program = dataclasses.replace(work.program, embedded=False, embedded_error=doubt)
        self.progress.phase("run", self._runs())
        self._go_on(work)

    def _task(self, work: Work, specs: Sequence[RunSpec]) -> AnalysisTask:
        return AnalysisTask(
            model=work.model,
            program_hash=work.program_hash,
            data_hash=work.data_hash,
            results=self.planner.results(work, specs),
            earlier=self.planner.results(work, work.earlier),
            reference=work.reference,
            reference_iid=self.plan.reference_iid,
            judged=work.judged,
            notes=(*work.notes, *_engine_notes(work)),
            store_root=self.store.root,
            draws_folder=self.plan.draws_folder,
            seconds=self.plan.seconds,
            figures=self.plan.figures,
            explain=self.plan.explain,
            program=_unless_stuck(work),
            engine=self.plan.engine,
            agreement=self.planner.agreement(work),
            remedies=self.plan.remedies,
            trials=self.planner.trials(work),
            options=self.plan.options,
            timeout_s=self.plan.timeout_s,
            known=work.known,
        )

    def _analyse(self, work: Work) -> None:
        task = self._task(work, work.specs)
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
        elif self.plan.own:
            # Its runs are never made again under these keys.
            work.first_key = ""
            self.pool.submit(("judge", work), analyse, task, turn=Turn.JUDGE)
        else:
            self.pool.submit(("judge", work), analyse_and_keep, task, key, turn=Turn.JUDGE)

    def _analysed(self, work: Work, value: Any, error: BaseException | None) -> None:
        if isinstance(error, OverdueError) and not work.stuck:
            # Figures and verdicts need no density: once more, without one.
            work.stuck = f"evaluating the program {_too_long(self.plan.timeout_s)}"
            work.first_key = ""
            self._analyse(work)
            return
        if error is not None:
            whose = "" if work.proposals else "the comparison itself failed: "
            self._give_up(work, f"{whose}{explain(error)}")
            return
        for sentence in value.said:
            self._say_once(sentence)
        if value.needs.doubt:
            self._say_once(
                f"{work.model.name}: {value.needs.doubt}; the compiled bridge takes over"
            )
            self.planner.refuse(work, "embedded", value.needs.doubt, doubt=True)
            work.program = (
                None
                if work.program is None
                else dataclasses.replace(
                    work.program, embedded=False, embedded_error=value.needs.doubt
                )
            )
            self.progress.phase("run", self._runs())
            self._go_on(work)
            return
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

    def _gather(self, own: Mapping[str, RunResult]) -> Comparison:
        models = tuple(_outcome(w) for w in self.works)
        if own:
            models = tuple(
                dataclasses.replace(m, runs=tuple(own.get(r.key, r) for r in m.runs))
                for m in models
            )
        found = [_with_claims(m) for m in models]
        models = tuple(m for m, _ in found)
        claims = tuple(claim for _, its in found for claim in its)
        provenance = {
            "command": self.plan.command,
            "date": dt.datetime.now(tz=dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "versions": dict(self.engines.versions),
            "engine": self.plan.engine,
            "nuts": self.plan.nuts,
            "reference": self.plan.reference,
            "seeds": self.plan.seeds or "each method's own",
            "timeout_s": self.plan.timeout_s,
            "seconds": round(time.monotonic() - self.begin, 1),
            "runs_made": self.runs_done,
            "hashes": {
                w.model.name: {"program": w.program_hash, "data": w.data_hash} for w in self.works
            },
        }
        if self.interrupted:
            provenance["interrupted"] = True
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


def _with_claims(entry: ModelComparison) -> tuple[ModelComparison, tuple[ClaimResult, ...]]:
    """Check a model's claims; where they cannot be, that is the model's error."""
    try:
        measured = _claimed(entry)
        claims = [check_claim(entry.model.name, c, *measured) for c in entry.model.claims]
    except Exception as error:  # noqa: BLE001 - one model must not cost the others
        return dataclasses.replace(entry, error=f"its claims: {explain(error)}"), ()
    return entry, tuple(claims)


def _claimed(entry: ModelComparison) -> tuple[Sequence[Measure], Sequence[RunResult]]:
    """Return what claims may be measured by: not rows of CmdStan's that another engine made.

    A claim about CmdStan's ADVI, or about what full data cost, is none about the embedded engine.
    """
    settings = entry.model.settings
    others = {
        run.spec.method
        for run in entry.runs
        if run.engine == "embedded"
        and run.spec.method in METHODS
        and (
            METHODS[run.spec.method].since is not None
            or settings.get(run.spec.method, {}).get("engine") == "cmdstan"
        )
    }
    return (
        [m for m in entry.measures if m.method not in others],
        [r for r in entry.runs if r.spec.method not in others],
    )


def _draws_written(task: AnalysisTask, known: Analysis) -> bool:
    """Tell whether the draws of a kept analysis are still in the output folder."""
    if task.draws_folder is None or known.comparison is None:
        return True
    keys = written_keys(task.draws_folder / task.model.name)
    runs = [r for r in known.comparison.runs if r.status not in records.WITHOUT_DRAWS]
    return all(keys.get(f"{r.spec.method}-{r.spec.seed}") == r.key for r in runs)


def analyse(task: AnalysisTask) -> Analysis:
    """Analyse in a worker process."""
    from harness.study import analysis

    return analysis.analyse(task)


def analyse_and_keep(task: AnalysisTask, key: str) -> Analysis:
    """Analyse in a worker process and keep the outcome for the next comparison."""
    analysis = analyse(task)
    keep(Store(task.store_root), key, analysis)
    return analysis


def _engine_notes(work: Work) -> list[str]:
    """Say which engine does not serve a program, and what stands in for it."""
    said = []
    if why := work.refused.get("embedded"):
        verb = "was not used" if work.doubt else "refuses the program"
        said.append(f"the embedded engine {verb}: {why}; the compiled bridge took over")
    if why := work.refused.get("cmdstan"):
        said.append(f"CmdStan cannot build the program: {why}; the embedded engine took over")
    return said


def _too_long(limit_s: float, option: str = "--timeout") -> str:
    return f"took longer than the limit of {seconds(limit_s)}; a longer one: {option}"


def _unless_stuck(work: Work) -> Program | None:
    """Return a model's program, without its density where evaluating that came to no end."""
    if not work.stuck:
        return work.program
    made = work.program or Program(work.model.stan_file, {})
    return dataclasses.replace(
        made, embedded=False, embedded_error=work.stuck, library=None, library_error=work.stuck
    )


def _cheap(spec: RunSpec, engine: EngineName | None) -> bool:
    """Tell whether a run ends in seconds, compiles nothing, and so is made first."""
    return spec.method in QUICK and engine == "embedded"


def _library(program: Program) -> bool:
    """Tell whether a program's library is built, or cannot be."""
    return bool(program.library or program.library_error)


def _evaluates(program: Program | None) -> bool:
    """Tell whether the program's density can be evaluated, or is known to be out of reach."""
    return program is not None and (program.embedded or _library(program))
