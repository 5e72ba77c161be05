"""Stan's own algorithms in the embedded engine: ADVI, NUTS, Pathfinder, Laplace, L-BFGS.

These are Stan's C++ services on the engine's densities, so a seed means what it means in CmdStan
of the same version. Three things differ, and callers must know them: the density lacks the
constants that ``~`` drops, unless the program is the rewritten one; Pathfinder has single paths
only, because the engine refuses Stan 2.40's way of combining them; and a service may run only in
the thread that loaded the library, where Stan's autodiff stack lives.
"""

from __future__ import annotations

import ctypes
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from harness.records.names import stan_name
from harness.stan import console
from harness.stan.density import EngineError
from harness.stan.embedded.library import MetricOptions, SampleOptions, SampleReport, Sink

if TYPE_CHECKING:
    from types import FrameType

    from harness.records import FamilyName, FloatArray
    from harness.stan.embedded.model import EmbeddedModel

ERROR_BYTES = 8192

STATISTICS = ("lp", "accept_stat", "stepsize", "treedepth", "n_leapfrog", "divergent", "energy")
"""The engine's columns of a NUTS draw, in its order."""

METRICS = ("unit_e", "diag_e", "dense_e")

_Log = ctypes.CFUNCTYPE(None, ctypes.c_int32, ctypes.c_char_p, ctypes.c_void_p)
_Poll = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
_Progress = ctypes.CFUNCTYPE(
    None, ctypes.c_int32, ctypes.c_int64, ctypes.c_int64, ctypes.c_int32, ctypes.c_void_p
)

_SEED = ("seed", ctypes.c_uint32)
_LBFGS = ("init_alpha", "tol_obj", "tol_rel_obj", "tol_grad", "tol_rel_grad", "tol_param")
_Field = tuple[str, Any]


def _whole(*names: str) -> list[_Field]:
    return [(n, ctypes.c_int) for n in names]


def _real(*names: str) -> list[_Field]:
    return [(n, ctypes.c_double) for n in names]


def _pointer(*names: str) -> list[_Field]:
    return [(n, ctypes.c_void_p) for n in names]


# The layouts of ABI version 2. tests/test_services.py compares their defaults with Stan's: a field
# at another place would be misread in silence.


class VariationalOptions(ctypes.Structure):
    """``stanli_variational_opts``."""

    _fields_ = [
        _SEED,
        *_whole("chain_id", "algorithm", "iter", "grad_samples", "elbo_samples"),
        *_real("eta"),
        *_whole("adapt_engaged", "adapt_iter"),
        *_real("tol_rel_obj"),
        *_whole("eval_elbo", "output_samples"),
        *_real("init_radius"),
        *_pointer("init"),
    ]


class PathfinderOptions(ctypes.Structure):
    """``stanli_pathfinder_opts``."""

    _fields_ = [
        _SEED,
        *_whole("chain_id", "num_paths", "num_draws", "num_psis_draws", "num_elbo_draws"),
        *_whole("max_lbfgs_iters", "history_size"),
        *_real(*_LBFGS, "init_radius"),
        *_pointer("inits"),
        *_whole("psis_resample", "calculate_lp", "refresh"),
    ]


class LaplaceOptions(ctypes.Structure):
    """``stanli_laplace_opts``."""

    _fields_ = [_SEED, *_whole("draws", "jacobian", "calculate_lp", "refresh")]


class OptimizeOptions(ctypes.Structure):
    """``stanli_optimize_opts``."""

    _fields_ = [
        _SEED,
        *_whole("chain_id", "iter", "jacobian"),
        *_real(*_LBFGS),
        *_whole("history_size"),
        *_real("init_radius"),
        *_pointer("init"),
    ]


class Line(NamedTuple):
    """What a service printed, and when."""

    elapsed_s: float
    level: int
    """0 information, 1 a warning, 2 an error."""
    text: str


class ServiceError(EngineError):
    """A service that ended with an error, in Stan's words; ``lines`` are what it printed."""

    def __init__(self, words: str, lines: Sequence[Line] = ()) -> None:
        super().__init__(words)
        self.lines = tuple(lines)


class ServiceTimeoutError(ServiceError):
    """A service that was stopped because it took longer than allowed."""


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """What a service returned: rows as CmdStan's CSV has them.

    ``values`` has shape ``(chain, draw, column)``, constrained scale, with transformed parameters
    and generated quantities; densities are ``(chain, draw)``, nats, unconstrained scale with
    Jacobian.
    """

    names: tuple[str, ...]
    values: FloatArray
    log_p: FloatArray
    log_q: FloatArray | None = None
    stats: Mapping[str, FloatArray] = field(default_factory=dict)
    unconstrained: FloatArray | None = None
    lines: tuple[Line, ...] = ()
    printed: str = ""
    """What the program printed."""

    @property
    def text(self) -> str:
        """What was printed, as CmdStan's console has it."""
        return text_of(self.lines)


def text_of(lines: Sequence[Line]) -> str:
    """Return printed lines as one text."""
    return "\n".join(line.text for line in lines)


class Mode(NamedTuple):
    """Where the optimiser ended."""

    z: FloatArray
    """Shape ``(d,)``, unconstrained scale."""
    log_p: float
    iterations: int | None
    gradients: int | None
    lines: tuple[Line, ...]


def variational(
    model: EmbeddedModel, family: FamilyName, seed: int, draws: int, limit_s: float, **more: Any
) -> Served:
    """Run Stan's ADVI; ``more`` are its options by Stan's names.

    Raises
    ------
    ServiceError
        If it fails, with Stan's words; ServiceTimeoutError after ``limit_s`` seconds.
    """
    algorithm = 0 if family == "meanfield" else 1
    options = _with(
        filled(model, VariationalOptions, "stanli_variational"),
        seed=seed, algorithm=algorithm, output_samples=draws, **more,
    )  # fmt: skip
    names = _names(model)
    mean, values = np.full(len(names), np.nan), np.full((draws, len(names)), np.nan)
    log_p, log_q = np.full(draws, np.nan), np.full(draws, np.nan)
    outputs = (mean, values, log_p, log_q)
    said = _serve(model, "stanli_variational", (ctypes.byref(options), *outputs), limit_s)
    return Served(names, values[None], log_p[None], log_q[None], {}, None, *said)


def pathfinder(
    model: EmbeddedModel, seed: int, path: int, draws: int, limit_s: float, **more: Any
) -> Served:
    """Run a single path of Stan's Pathfinder, the one that has this number in a run of several.

    Raises as :func:`variational`.
    """
    options = _with(
        filled(model, PathfinderOptions, "stanli_pathfinder"),
        seed=seed, chain_id=path, num_paths=1, num_draws=draws, num_psis_draws=draws, refresh=1,
        **more,
    )  # fmt: skip
    names = _names(model)
    values = np.full((draws, len(names)), np.nan)
    log_p, log_q, paths = (np.full(draws, np.nan) for _ in range(3))
    written = ctypes.c_int64(0)
    outputs = (values, log_p, log_q, paths, ctypes.byref(written))
    said = _serve(model, "stanli_pathfinder", (ctypes.byref(options), *outputs), limit_s)
    n = written.value
    return Served(names, values[None, :n], log_p[None, :n], log_q[None, :n], {}, None, *said)


def optimize(model: EmbeddedModel, seed: int, limit_s: float, **more: Any) -> Mode:
    """Climb log p, Jacobian included, by Stan's L-BFGS.

    The optimiser prints nothing, cannot be stopped, and does not say whether it ended at its
    iteration limit. Pathfinder climbs the same path, and does all three: it goes first, with a
    single draw at each step. Raises as :func:`variational`.
    """
    begin = time.perf_counter()
    climb = {name: more[name] for name in (*_LBFGS, "history_size", "init_radius") if name in more}
    if "iter" in more:
        climb["max_lbfgs_iters"] = more["iter"]
    try:
        lines = pathfinder(model, seed, 1, 1, limit_s, num_elbo_draws=1, **climb).lines
    except ServiceTimeoutError:
        raise
    except ServiceError as error:
        # A path without a usable Gaussian is still a path.
        lines = error.lines
    took = time.perf_counter() - begin
    if 2 * took > limit_s:
        raise ServiceTimeoutError("the optimiser would end after the time limit", lines)
    climbed = console.read_pathfinder(text_of(lines), 1).get(1)
    options = filled(model, OptimizeOptions, "stanli_optimize")
    _with(options, seed=seed, chain_id=1, jacobian=1, **more)
    z = np.full(model.dimension, np.nan)
    log_p = ctypes.c_double(np.nan)
    words = ctypes.create_string_buffer(ERROR_BYTES)
    with _owned(model):
        failed = model.library.call["stanli_optimize"](
            ctypes.c_void_p(model.handle), ctypes.byref(options), _address(z), None,
            ctypes.byref(log_p), words, ctypes.c_size_t(ERROR_BYTES),
        )  # fmt: skip
    if failed or not np.isfinite(z).all():
        raise ServiceError(_said(words) or "the optimiser found no finite point", lines)
    if climbed is None:
        return Mode(z, log_p.value, None, None, lines)
    return Mode(z, log_p.value, climbed.iterations, climbed.gradients, lines)


def laplace(
    model: EmbeddedModel,
    mode: FloatArray,
    seed: int,
    draws: int,
    limit_s: float,
    *,
    calculate_lp: bool = True,
) -> Served:
    """Draw from Stan's Laplace approximation at a mode, ``(d,)`` on the unconstrained scale.

    Stan differences ``2 d + 1`` gradients for the Hessian. Raises as :func:`variational`.
    """
    options = filled(model, LaplaceOptions, "stanli_laplace")
    _with(options, seed=seed, draws=draws, calculate_lp=calculate_lp)
    names = _names(model)
    values = np.full((draws, len(names)), np.nan)
    log_p, log_q = np.full(draws, np.nan), np.full(draws, np.nan)
    z = np.ascontiguousarray(mode, dtype=np.float64)
    outputs = (z, values, log_p, log_q)
    said = _serve(model, "stanli_laplace_sample", (ctypes.byref(options), *outputs), limit_s)
    return Served(names, values[None], log_p[None], log_q[None], {}, None, *said)


def sample(
    model: EmbeddedModel,
    seed: int,
    limit_s: float,
    *,
    chains: int,
    samples: int,
    inits: FloatArray | None = None,
    inv_metric: FloatArray | None = None,
    **more: Any,
) -> Served:
    """Run Stan's NUTS, its chains one after the other.

    ``inits`` are unconstrained points, ``(chain, d)``; ``inv_metric`` is ``(d,)`` or ``(d, d)``.
    A row whose generated quantities throw is NaN; ``unconstrained`` still has its point. Raises as
    :func:`variational`.
    """
    options = filled(model, SampleOptions, "stanli_sample")
    _with(options, seed=seed, chains=chains, samples=samples, num_threads=1, **more)
    metric = filled(model, MetricOptions, "stanli_metric")
    kept = []  # buffers that the engine reads while it runs
    if inits is not None:
        kept.append(np.ascontiguousarray(inits, dtype=np.float64))
        options.inits = kept[-1].ctypes.data
    if inv_metric is not None:
        kept.append(np.ascontiguousarray([inv_metric] * chains, dtype=np.float64))
        metric.inv_metric = kept[-1].ctypes.data
        metric.metric = METRICS.index("diag_e" if np.ndim(inv_metric) == 1 else "dense_e")
    d, names = model.dimension, _names(model)
    z = np.full((chains, samples, d), np.nan)
    stats = np.full((chains, samples, len(STATISTICS)), np.nan)
    values = np.full((chains, samples, len(names)), np.nan)
    reports = (SampleReport * chains)()
    progress = _Progress()  # none
    before = (ctypes.byref(options), ctypes.byref(metric), ctypes.c_int(0), z, stats, values)
    words = ctypes.create_string_buffer(ERROR_BYTES)
    stopped = ctypes.c_int(0)
    with _owned(model), _stopper(limit_s) as stopper:
        failed = model.library.call["stanli_sample_multi_metric"](
            ctypes.c_void_p(model.handle), *map(_argument, before), progress, None, stopper.poll,
            None, ctypes.byref(stopped), reports, words, ctypes.c_size_t(ERROR_BYTES),
        )  # fmt: skip
    stopper.check(stopped.value, ())
    if failed:
        raise ServiceError(_said(words))
    by_name = dict(zip(STATISTICS, np.moveaxis(stats, -1, 0), strict=True))
    return Served(names, values, by_name["lp"], stats=by_name, unconstrained=z)


def filled(model: EmbeddedModel, kind: type[Any], service: str) -> Any:
    """Return a service's options with Stan's defaults, which the engine fills in.

    Raises
    ------
    EngineError
        If the engine fills more than the structure holds.
    """
    size, room = ctypes.sizeof(kind), 256
    buffer = ctypes.create_string_buffer(b"\xa5" * (size + room), size + room)
    fill = model.library.call[f"{service}_opts_init"]
    fill.restype = None
    fill(buffer)
    if buffer.raw[size:] != b"\xa5" * room:
        raise EngineError(f"{service} of the embedded engine has options of another layout")
    return kind.from_buffer_copy(buffer)


def _with(options: Any, **changed: Any) -> Any:
    """Change some options."""
    for name, value in changed.items():
        number = int(value) if isinstance(value, bool) else value
        getattr(options, name)  # a structure takes any attribute
        setattr(options, name, number)
        # ctypes keeps the lowest bits of a number that is too large.
        if getattr(options, name) != number:
            raise EngineError(f"{name} is {value}: too large for the embedded engine")
    return options


def _names(model: EmbeddedModel) -> tuple[str, ...]:
    """Return the columns of a row, in Stan's form."""
    return tuple(map(stan_name, model.constrained_names(transformed=True, generated=True)))


def _address(array: FloatArray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _argument(value: Any) -> Any:
    return _address(value) if isinstance(value, np.ndarray) else value


def _said(words: Any) -> str:
    return str(words.value.decode(errors="replace")).strip()


def _serve(
    model: EmbeddedModel, name: str, before: Sequence[Any], limit_s: float
) -> tuple[tuple[Line, ...], str]:
    """Call a service whose last arguments are a log, a poll and an error buffer.

    Return what it logged, and what the program printed.
    """
    begin = time.perf_counter()
    lines: list[Line] = []

    def log(level: int, text: bytes | None, _: int | None) -> None:
        words = (text or b"").decode(errors="replace")
        lines.append(Line(time.perf_counter() - begin, level, words))

    words = ctypes.create_string_buffer(ERROR_BYTES)
    stopped = ctypes.c_int(0)
    with _owned(model) as printed, _stopper(limit_s) as stopper:
        failed = model.library.call[name](
            ctypes.c_void_p(model.handle), *map(_argument, before), _Log(log), None, stopper.poll,
            None, ctypes.byref(stopped), words, ctypes.c_size_t(ERROR_BYTES),
        )  # fmt: skip
    stopper.check(stopped.value, lines)
    if failed:
        raise ServiceError(_said(words) or f"{name} ended with code {failed}", lines)
    return tuple(lines), printed.taken()


@contextmanager
def _owned(model: EmbeddedModel) -> Iterator[Sink]:
    """Hold the model's lock and yield what its program prints meanwhile.

    A thread in which Stan's autodiff would write to nowhere is refused.
    """
    if threading.current_thread() is not model.library.loaded_by:
        msg = (
            "Stan's services in the embedded engine run only in the thread that loaded it: call "
            "them from there, or from a process of their own"
        )
        raise EngineError(msg)
    printed = Sink()
    with model.lock:
        here = model.library.printed
        before, here.to = here.to, printed
        try:
            yield printed
        finally:
            here.to = before


class _Stopper:
    """Stops a service after some seconds, or at Ctrl-C.

    Stan asks about every 0.1 s, in the thread that called. Python would raise KeyboardInterrupt
    inside that call from C, where it is lost: the signal is only noted there.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._ends = time.perf_counter() + limit_s
        self.interrupted: tuple[int, FrameType | None] | None = None
        self.poll = _Poll(self._asked)
        self.before: Callable[[int, FrameType | None], Any] | int | None = None

    def note(self, number: int, frame: FrameType | None) -> None:
        """Be the handler of a signal."""
        self.interrupted = (number, frame)

    def _asked(self, _: int | None) -> int:
        return int(self.interrupted is not None or time.perf_counter() > self._ends)

    def check(self, stopped: int, lines: Sequence[Line]) -> None:
        """Raise what ended the service early."""
        if self.interrupted is not None:
            if callable(self.before):
                self.before(*self.interrupted)
            raise KeyboardInterrupt
        if stopped:
            raise ServiceTimeoutError(f"stopped after {self._limit_s:g} s", lines)


@contextmanager
def _stopper(limit_s: float) -> Iterator[_Stopper]:
    stopper = _Stopper(limit_s)
    if threading.current_thread() is not threading.main_thread():
        yield stopper
        return
    stopper.before = signal.signal(signal.SIGINT, stopper.note)
    try:
        yield stopper
    finally:
        signal.signal(signal.SIGINT, stopper.before or signal.SIG_DFL)
