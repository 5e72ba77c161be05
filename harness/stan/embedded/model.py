"""A Stan program with its data in the embedded engine."""

from __future__ import annotations

import ctypes
import functools
import itertools
import json
import math
import operator
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import numpy as np

from harness.records.faults import names_memory
from harness.stan.density import (
    EngineError,
    Evaluation,
    Status,
    check_parameters,
    points_at_once,
)
from harness.stan.embedded import batch, library
from harness.stan.embedded.buffers import Staged, address, rows, text
from harness.stan.embedded.constants import with_constants
from harness.stan.embedded.info import program_info
from harness.stan.embedded.library import WORDS, Sink
from harness.stan.embedded.words import BridgeStan, unwritten, why_not
from harness.stan.source import without_generated

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from harness.records import FloatArray

_SEEDS = 2**32

_CLOSED = "the model is closed; make it again"

_STAGED = 1024
"""Numbers that are copied to and from buffers at known addresses, because looking up an array's
address costs more than copying up to this many."""

_NOT_WANTED = 2**17
"""With more unwanted generated numbers than this, the program is loaded without that block."""

NOT_FINITE = "the log density or its gradient is not finite"


class EmbeddedModel:
    """A Stan program with its data in the embedded engine.

    Several programs, and several data sets of one program, can exist side by side. Calls of one
    model hold its lock; different models work in parallel. After a fork, both processes can use
    the model; it cannot be pickled. A point at which the program throws is rejected, whatever it
    throws, as NUTS does.

    Parameters
    ----------
    stan_file
        The program; includes are searched in its folder.
    data
        JSON as CmdStan reads it: a file, or its text.
    seed
        Seed of random numbers in ``transformed data``, from 0 to 2³² − 1.
    constants
        Whether to evaluate the program with ``~`` written as ``target +=``, which has all
        constants. See :func:`harness.stan.engine.embed`, which checks that it is the same density.
    edit
        Changes the program's text before it is translated.

    Raises
    ------
    harness.stan.ProgramError
        If the engine's stanc rejects the program.
    EngineError
        If there is no engine, or it cannot run the program, or the data do not fit; in its words.
        With ``constants``, also if the program cannot be rewritten.
    """

    engine: Literal["embedded"] = "embedded"

    def __init__(
        self,
        stan_file: Path,
        data: Path | bytes | None = None,
        seed: int = 1,
        *,
        constants: bool = False,
        edit: Callable[[str], str] | None = None,
    ) -> None:
        self.library = library.opened()
        self.lock = threading.RLock()
        self.constants = constants
        self._call = self.library.call
        self.gradient_of = self._call.stanli_grad
        self.sink = Sink()
        self._error = ""
        self.stan_file, self._data, self._seed = stan_file, data, _seed(seed)
        self._translated = library.translated(stan_file, with_constants if constants else edit)
        words = ctypes.create_string_buffer(WORDS)
        options = library.ModelOptions(self._seed, 1, 0)
        with self.library.making:
            self.listen()
            handle = self._call.stanli_model_new_with_opts(
                self._translated, _text(data), ctypes.addressof(options), words, WORDS
            )
        if not handle and names_memory(text(words)):
            raise MemoryError(text(words))
        if not handle:
            raise EngineError(text(words))
        self._handle: int | None = handle
        free = weakref.finalize(self, self._call.stanli_model_free, handle)
        # At the interpreter's exit another thread may still use it; the system frees everything.
        free.atexit = False
        self._frees: list[Callable[[], object]] = [free]
        warned = self._call.stanli_warnings(handle).decode(errors="replace").strip()
        if warned:
            self.sink.add(f"{warned}\n")
        self._width = int(self._call.stanli_wa_n_columns(handle))
        self._dimension = int(self._call.stanli_n_unconstrained(handle))
        parameters = int(self._call.stanli_n_constrained(handle))
        if parameters > self._width:
            # It would write parameters only, and what the program generates would be missing.
            self.close()
            raise EngineError(unwritten(warned))
        names = [self._call.stanli_wa_column_name(handle, i) for i in range(self._width)]
        generated = int(self._call.stanli_wa_n_generated_start(handle))
        self._names = tuple(name.decode() for name in names)
        self._ends = (parameters, generated)
        self._staged = Staged(max(1, _STAGED // max(self._dimension, 1)), self._dimension)
        self.library.models.add(self)

    def close(self) -> None:
        """Free the program and its data; later calls raise EngineError."""
        with self.lock:
            self._handle = None
            while self._frees:
                self._frees.pop()()

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled, because the handle belongs to this process."""
        raise TypeError(
            "an EmbeddedModel cannot be pickled; pass the program's file and the data to the "
            "other process, and make the model there"
        )

    @property
    def dimension(self) -> int:
        """The number of unconstrained parameters."""
        return self._dimension

    @property
    def handle(self) -> int:
        """The engine's handle, for calls that hold ``lock``."""
        if self._handle is None:
            raise EngineError(_CLOSED)
        return self._handle

    @property
    def random_data(self) -> bool:
        """Whether ``transformed data`` drew random numbers."""
        with self.lock:
            return bool(self._call.stanli_transformed_data_rng(self.handle))

    @functools.cached_property
    def _unconstrained_names(self) -> tuple[str, ...]:
        parameters = self.constrained_names()
        if len(parameters) == self._dimension:
            return parameters  # no transform has more unconstrained than constrained values
        return self._bridgestan.unconstrained_names()

    def unconstrained_names(self) -> tuple[str, ...]:
        """Return the names of the unconstrained parameters in Stan's form, ``beta.2``.

        Arrays are listed with the first index fastest, but ``z`` has one element after the other.
        This affects names of arrays of vectors, of matrices, and with two indices.
        """
        with self.lock:
            self.handle  # noqa: B018 - raises if the model is closed
            return self._unconstrained_names if self._dimension else ()

    def constrained_names(
        self, *, transformed: bool = False, generated: bool = False
    ) -> tuple[str, ...]:
        """Return the names of the constrained values, in the order of :meth:`constrain`."""
        with self.lock:
            self.handle  # noqa: B018 - raises if the model is closed
            wanted = self._columns(transformed, generated)
            return tuple(itertools.chain(*(self._names[columns] for columns in wanted)))

    def at_point(self) -> EmbeddedPoint:
        """Return a point with its own buffers, the fastest way to single gradients."""
        return EmbeddedPoint(self)

    def log_density(self, z: ArrayLike) -> Evaluation:
        """Evaluate the log density at points of shape ``(point, dimension)``."""
        return self._evaluate(z, gradient=False)

    def log_density_gradient(self, z: ArrayLike) -> Evaluation:
        """Evaluate the log density and its gradient at points ``(point, dimension)``.

        The gradient is with respect to ``z``. Points that the program rejects do not affect the
        others.
        """
        return self._evaluate(z, gradient=True)

    def value_and_gradient(self, z: ArrayLike) -> tuple[float, FloatArray]:
        """Evaluate at one point of shape ``(dimension,)``.

        Raises
        ------
        EngineError
            If the program throws there, or the value or gradient is not finite.
        """
        point = np.asarray(z, dtype=np.float64)
        if point.shape != (self._dimension,):
            raise ValueError(f"a point of shape {point.shape}; allowed: ({self._dimension},)")
        found = self._evaluate(point[None], gradient=True)
        if found.status[0] != Status.OK or found.gradient is None:
            raise EngineError(found.message)
        return float(found.value[0]), found.gradient[0]

    def constrain(
        self,
        z: ArrayLike,
        *,
        transformed: bool = True,
        generated: bool = False,
        seed: int = 1,
        keep: Sequence[int] | None = None,
    ) -> tuple[FloatArray, NDArray[np.int32]]:
        """Return constrained values ``(point, value)`` and each point's status.

        ``z`` has shape ``(point, dimension)``; ``seed`` is for generated random numbers. Of the
        values, those at the places ``keep``, or all.
        """
        points = self._points(z)
        unwanted = 0 if generated or not transformed else self._width - self._ends[1]
        with self.lock:
            self.handle  # noqa: B018 - raises if the model is closed
            if len(points) * unwanted > _NOT_WANTED:
                out, status = self._plain.constrain(points, keep=keep)
                if status.any():
                    self._error = self._plain.last_error()
                return out, status
            self.listen()
            self._call.stanli_wa_seed(self.handle, _seed(seed))
            status = np.zeros(len(points), dtype=np.int32)
            if keep is None and transformed and generated:
                return self._written(points, status, transformed, generated), status
            wanted = self._columns(transformed, generated)
            places = np.concatenate([np.arange(c.start, c.stop) for c in wanted])
            places = places if keep is None else places[np.asarray(keep, dtype=np.intp)]
            out = np.empty((len(points), len(places)))
            step = points_at_once(len(points), self._width, cut=True)
            for i in range(0, len(points), step):
                some = slice(i, i + step)
                found = self._written(points[some], status[some], transformed, generated)
                out[some] = found[:, places]
        return out, status

    def _written(
        self,
        points: FloatArray,
        status: NDArray[np.int32],
        transformed: bool,  # noqa: FBT001
        generated: bool,  # noqa: FBT001
    ) -> FloatArray:
        """Return all values of points, NaN where none are wanted or they throw; set ``status``.

        Called with ``lock`` held. Random numbers go on where the last call ended.
        """
        out = np.full((len(points), self._width), np.nan)
        parameters_only = not generated and not transformed
        write = self._call.stanli_constrain if parameters_only else self._call.stanli_wa_row
        both = zip(rows(points, 8 * self._dimension), rows(out, 8 * self._width), strict=True)
        bad = np.flatnonzero([write(self.handle, at_z, at_out) != 0 for at_z, at_out in both])
        if len(bad):
            out[bad] = np.nan
            status[bad] = Status.REJECT
            self._error = self._why_not_written(points[bad[0]])
            if names_memory(self._error):
                raise MemoryError(self._error)
            end = self._ends[1]
            if transformed and not generated and end < self._width:
                out[bad, :end], status[bad] = self._plain.constrain(points[bad])
        return out

    def unconstrain(self, theta: Mapping[str, Any]) -> FloatArray:
        """Return the point ``(dimension,)`` for constrained parameters by name.

        Raises
        ------
        EngineError
            If a parameter is missing, has another shape, or violates its constraint.
        """
        out = np.empty(self._dimension)
        check_parameters(theta, self.constrained_names())
        whole = {n: np.asarray(theta.get(n, []), float).tolist() for n in self._parameters}
        words = ctypes.create_string_buffer(WORDS)
        with self.lock:
            self.listen()
            given = json.dumps(whole).encode()
            if self._call.stanli_unconstrain_inits(self.handle, given, address(out), words, WORDS):
                self._error = text(words)
                raise EngineError(self._error)
        return out

    def messages(self) -> str:
        """Return what the program printed since the last call of this method."""
        with self.lock:
            return self.sink.taken()

    def last_error(self) -> str:
        """Return the message of the first failure in the last call that had one."""
        return self._error

    @functools.cached_property
    def _parameters(self) -> tuple[str, ...]:
        """Names of the parameters' variables; those without elements have no constrained names."""
        return tuple(program_info(self.stan_file).parameters)

    def _columns(self, transformed: bool, generated: bool) -> list[slice]:  # noqa: FBT001
        """Return which columns of all values are wanted."""
        parameters, end = self._ends
        wanted = [slice(0, end if transformed else parameters)]
        return [*wanted, slice(end, self._width)] if generated else wanted

    def _points(self, z: ArrayLike) -> FloatArray:
        points = np.ascontiguousarray(z, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != self._dimension:  # noqa: PLR2004
            msg = f"points of shape {points.shape}; allowed: (any number, {self._dimension})"
            raise ValueError(msg)
        return points

    def listen(self) -> None:
        """Keep what programs print on this thread from now on; called with ``lock`` held."""
        self.library.printed.to = self.sink

    def _evaluate(self, z: ArrayLike, *, gradient: bool) -> Evaluation:
        points = self._points(z)
        n, d = points.shape
        status = np.zeros(n, dtype=np.int32)
        with self.lock:
            if self._handle is None:
                value, slope = np.full(n, np.nan), np.full((n, d), np.nan)
                status[:] = Status.FAILED
                return Evaluation(value, slope if gradient else None, status, _CLOSED)
            self.listen()
            staged = self._staged
            if n > staged.count:
                staged = Staged(n, d, x=points)
            else:
                staged.x[:n] = points
            bad = batch.rejected(self.gradient_of, self._handle, staged, n, gradient=gradient)
            value = staged.value[:n].copy()
            slope = staged.gradient[:n] if gradient else np.empty((n, 0))
            if staged is self._staged:
                slope = slope.copy()
            message = ""
            if bad or not (np.isfinite(value).all() and np.isfinite(slope).all()):
                message = self._sorted_out(points, value, slope, status, bad)
        return Evaluation(value, slope if gradient else None, status, message)

    def _sorted_out(
        self,
        points: FloatArray,
        value: FloatArray,
        slope: FloatArray,
        status: NDArray[np.int32],
        bad: list[int],
    ) -> str:
        """Mark points at which the program throws, and what is not finite; return a message."""
        message = ""
        if bad:
            value[bad], slope[bad], status[bad] = -np.inf, np.nan, Status.REJECT
            message = self.why_not(points[bad[0]])
        finite = np.isfinite(value) & np.isfinite(slope).all(axis=1)
        if finite.all():
            return message
        status[~finite & (status == Status.OK)] = Status.NOT_FINITE
        self._error = message or NOT_FINITE
        return self._error

    def why_not(self, z: FloatArray) -> str:
        """Return the message of a point that cannot be evaluated; :meth:`last_error` from now on.

        Called with ``lock`` held.

        Raises
        ------
        MemoryError
            If there was no more memory: that is no property of the point.
        """
        self._error = why_not(self.handle, z, self._width)
        if names_memory(self._error):
            raise MemoryError(self._error)
        return self._error

    def _why_not_written(self, z: FloatArray) -> str:
        try:
            return self._bridgestan.why_not_written(z, self._width)
        except EngineError as error:
            return str(error)

    @functools.cached_property
    def _plain(self) -> EmbeddedModel:
        """The program without generated quantities, for draws on which these throw."""
        return EmbeddedModel(self.stan_file, self._data, self._seed, edit=without_generated)

    @functools.cached_property
    def _bridgestan(self) -> BridgeStan:
        found = BridgeStan(self._translated, _text(self._data), self._seed)
        self._frees.append(found.free)
        return found


class EmbeddedPoint:
    """A point for repeated evaluations, made by :meth:`EmbeddedModel.at_point`.

    Write the point into ``z`` (unconstrained, zero at first), call, and read ``gradient``, which
    every call overwrites, with NaN if evaluation failed; both have shape ``(dimension,)``. Points
    are cheap; each thread should have its own. The model exists as long as its points.
    """

    __slots__ = ("_at", "_failed", "_model", "_value", "gradient", "z")

    def __init__(self, model: EmbeddedModel) -> None:
        self._model = model
        self.z: FloatArray = np.zeros(model.dimension)
        self.gradient: FloatArray = np.full(model.dimension, np.nan)
        self._value = ctypes.c_double(np.nan)
        self._at = (address(self.z), ctypes.addressof(self._value), address(self.gradient))
        self._failed = Status.OK

    def __call__(self) -> float:
        """Return the log density at ``z``, nats, and set ``gradient``.

        −inf if the program throws, NaN if the model is closed. ``status`` has the reason, also if
        the value is finite but the gradient is not.
        """
        model = self._model
        with model.lock:
            model.library.printed.to = model.sink
            try:
                rejected = model.gradient_of(model.handle, *self._at)
            except EngineError:  # it is closed
                self.gradient[:] = np.nan
                self._failed = Status.FAILED
                return math.nan
            if rejected:
                model.why_not(self.z)
                self.gradient[:] = np.nan
                self._failed = Status.REJECT
                return -math.inf
            self._failed = Status.OK
            return self._value.value

    evaluate = __call__

    @property
    def status(self) -> Status:
        """How the last call ended."""
        if self._failed or (math.isfinite(self._value.value) and np.isfinite(self.gradient).all()):
            return self._failed
        return Status.NOT_FINITE

    @property
    def ok(self) -> bool:
        """Whether the last call gave a finite value and gradient."""
        return self.status == Status.OK

    def check(self) -> None:
        """Raise if the last call failed.

        Raises
        ------
        EngineError
            With the program's message; ``z`` is still the point of that call.
        """
        if self._failed:
            with self._model.lock:
                raise EngineError(self._model.why_not(self.z))
        if not self.ok:
            raise EngineError(NOT_FINITE)

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled, because the buffers belong to this process."""
        msg = "a point cannot be pickled; make one with model.at_point() where it is needed"
        raise TypeError(msg)


def _text(data: Path | bytes | None) -> bytes:
    if data is None:
        return b"{}"
    if isinstance(data, bytes):
        return data
    try:
        return data.read_bytes()
    except OSError as error:
        raise EngineError(f"cannot read the data {data}: {error.strerror or error}") from error


def _seed(seed: int) -> int:
    number = operator.index(seed)
    if not 0 <= number < _SEEDS:
        raise ValueError(f"seed {number}; allowed: 0 to {_SEEDS - 1}")
    return number
