"""About how long a density takes, from its program and data alone: no clock decides it.

Most programs visit each number of their data once, at a few nanoseconds. Loops, solvers and
factorised matrices take more. This module reads the program's text, counts how often each
statement runs, as far as bounds follow from the data, and adds up typical seconds. It is right to
a factor of about five, which is enough to choose how much a fit may do.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.stan.source import blanked, expanded
from harness.stan.tokens import PAIRS, after_bounds, close, parts, split

if TYPE_CHECKING:
    from numpy.typing import NDArray

STATEMENT_S, CALL_S, DENSITY_S, ELEMENT_S = 1e-8, 2e-8, 4e-8, 2e-9
"""Seconds of a statement, of a call in it, of a log density, and of an element of a container.

All constants were fitted to the programs of benchmarks/work.py on both engines.
"""

SOLVED_S, STIFF_S, AT_S, ROOT_S = 1e-4, 1e-3, 1e-5, 2e-5
"""Seconds of solving differential equations, by a stiff solver, of each time that is asked for, and
of solving an equation or an integral."""

SQUARE_S, CUBED_S, SQUARED_S = 5e-7, 1e-10, 1e-8
"""Seconds of a function of an n × n matrix: of itself, for each of n³ and for each of n²."""

UNKNOWN = 30.0
"""Times that a loop runs whose bounds do not follow from the data."""

MOST_CALLS = 2000
"""Calls of a program's own functions that are looked into: they may call each other."""

Value = float | tuple[int, ...]
"""A number, or the shape of a container."""

_TYPES = {
    "int", "real", "vector", "row_vector", "matrix", "array", "simplex", "ordered", "complex",
    "positive_ordered", "unit_vector", "cov_matrix", "corr_matrix", "cholesky_factor_corr",
    "cholesky_factor_cov", "sum_to_zero_vector", "void",
}  # fmt: skip
_SQUARES = {"cov_matrix", "corr_matrix", "cholesky_factor_corr"}
_SOLVERS = re.compile(r"ode_|integrate_ode|dae")
_STIFF = re.compile(r"\w*_(bdf|adams|adjoint)|dae")
_ROOTS = re.compile(r"integrate_1d|algebra_solver|solve_(newton|powell)|laplace_marginal")
_OF_SQUARES = re.compile(
    r"cholesky_decompose|multi_normal|multi_student|wishart|inv_wishart|lkj|inverse|mdivide"
    r"|determinant|eigen|qr_|svd|singular|quad_form|matrix_exp|trace_"
)
_DENSITY = re.compile(r"\w+_(lpdf|lpmf|lupdf|lupmf|lcdf|lccdf)$")
_SIZES: dict[str, Callable[[tuple[int, ...]], float]] = {
    "size": lambda shape: shape[0] if shape else 1,
    "rows": lambda shape: shape[0],
    "cols": lambda shape: shape[-1],
    "num_elements": math.prod,
}
_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.BitXor: operator.pow,
    ast.Mod: operator.mod,
}


@dataclass(frozen=True, slots=True)
class Work:
    """What one evaluation of a density and its gradient takes."""

    read: float  # numbers of data that expressions with parameters read
    seconds: float  # of everything


def work_of(stan_file: Path, data: Mapping[str, NDArray[Any]]) -> Work:
    """Return what a density takes, from the program's text and the sizes of its data.

    What cannot be understood costs nothing: the compiler finds faults, not this.
    """
    blocks = parts(blanked(expanded(stan_file)))
    known: dict[str, Value] = {
        name: float(value) if value.ndim == 0 else value.shape for name, value in data.items()
    }
    counts = {
        n: float(v.mean()) for n, v in data.items() if v.ndim and v.size and v.dtype.kind in "iu"
    }
    reader = _Reader(_functions(blocks.get("functions", [])), counts)
    with suppress(RecursionError):  # brackets in brackets without end: what was read counts
        reader.declared(blocks.get("transformed data", []), known)
        reader.constant |= frozenset(known)
        reader.declared(blocks.get("parameters", []), known)
        for block in ("transformed parameters", "model"):
            reader.statements(blocks.get(block, []), known, 1.0)
    return Work(float(sum(reader.sizes.values())), reader.seconds)


def _taken(shape: tuple[int, ...], rest: Sequence[str]) -> float:
    """Return how many elements of a container are read, by the index that follows it."""
    parts_of = split(rest[1 : close(rest, 0)]) if rest[:1] == ["["] else []
    left = [n for n, part in zip(shape, parts_of, strict=False) if not part or ":" in part]
    return math.prod([*left, *shape[len(parts_of) :]])


@dataclass(frozen=True, slots=True)
class _Function:
    parameters: tuple[str, ...]
    body: Sequence[str]


def _functions(tokens: Sequence[str]) -> dict[str, _Function]:
    found, i = {}, 0
    while i < len(tokens):
        if tokens[i] == "(" and i:
            end = close(tokens, i)
            names = tuple(part[-1] for part in split(tokens[i + 1 : end]) if part)
            if end + 1 < len(tokens) and tokens[end + 1] == "{":
                last = close(tokens, end + 1)
                found[tokens[i - 1]] = _Function(names, tokens[end + 2 : last])
                end = last
            i = end
        i += 1
    return found


@dataclass(slots=True)
class _Reader:
    """Adds up what statements take."""

    functions: Mapping[str, _Function]
    means: Mapping[str, float]  # of whole numbers in containers, for bounds such as n[i]
    constant: frozenset[str] = frozenset()  # names whose values parameters do not change
    seconds: float = 0.0
    sizes: dict[str, int] = field(default_factory=dict)  # of the data that are read
    within: tuple[str, ...] = ()  # one's own functions that are being read
    calls: int = 0  # of one's own functions

    def declared(self, tokens: Sequence[str], known: dict[str, Value]) -> None:
        """Note what a block of declarations says of sizes, and count nothing."""
        for statement in split(tokens, ";"):
            self.note(statement, known)

    def note(self, tokens: Sequence[str], known: dict[str, Value]) -> None:
        """Note the size of a variable that a statement declares, or its value if it is known."""
        words, sizes, i = self.type_at(tokens, known)
        if not words or i >= len(tokens):
            return
        name, rest = tokens[i], tokens[i + 1 :]
        if rest[:1] == ["["]:  # real x[N], as Stan once wrote arrays
            sizes = [*self.sizes_in(rest, 0, known), *sizes]
        known.pop(name, None)
        shape = tuple(max(int(s), 0) for s in sizes if s is not None)
        if sizes and len(shape) == len(sizes):
            known[name] = shape
        elif not sizes and "int" in words and "=" in rest:
            value = self.value(rest[rest.index("=") + 1 :], known)
            if value is not None:
                known[name] = value

    def type_at(
        self, tokens: Sequence[str], known: Mapping[str, Value]
    ) -> tuple[set[str], list[float | None], int]:
        """Return the words of a type, its sizes, and where the variable's name stands."""
        words: set[str] = set()
        sizes: list[float | None] = []
        i = 0
        while i < len(tokens) and (tokens[i] in _TYPES or (words and tokens[i] in "<[")):
            if tokens[i] == "[":
                sizes += self.sizes_in(tokens, i, known)
                i = close(tokens, i)
            elif tokens[i] == "<":
                i = after_bounds(tokens, i)
            else:
                words.add(tokens[i])
            i += 1
        return words, [*sizes, *sizes[-1:]] if words & _SQUARES else sizes, i

    def sizes_in(
        self, tokens: Sequence[str], i: int, known: Mapping[str, Value]
    ) -> list[float | None]:
        """Return the sizes in the brackets at ``i``, None for each that is not known."""
        return [self.value(part, known) for part in split(tokens[i + 1 : close(tokens, i)])]

    def statements(self, tokens: Sequence[str], known: dict[str, Value], times: float) -> None:
        """Count the statements of a block that runs ``times`` times."""
        i = 0
        while i < len(tokens):
            i = self.one(tokens, i, known, times)

    def one(self, tokens: Sequence[str], i: int, known: dict[str, Value], times: float) -> int:
        """Count the statement at ``i``; return where the next one begins."""
        word = tokens[i]
        if word == "{":
            end = close(tokens, i)
            self.statements(tokens[i + 1 : end], known, times)
            return end + 1
        if word in {"for", "while"} and tokens[i + 1 : i + 2] == ["("]:
            end = close(tokens, i + 1)
            inner = dict(known)
            count = UNKNOWN
            if word == "for":
                count = self.count(tokens[i + 2 : end], inner)
            return self.one(tokens, end + 1, inner, times * count) if end + 1 < len(tokens) else end
        if word == "if" and tokens[i + 1 : i + 2] == ["("]:
            end = close(tokens, i + 1)
            self.expression(tokens[i + 2 : end], known, times)
            return end + 1
        if word in {"else", ";", "}"}:
            return i + 1
        end = i
        while end < len(tokens) and tokens[end] != ";":
            end = close(tokens, end) if tokens[end] in PAIRS else end
            end += 1
        statement = tokens[i:end]
        self.seconds += times * STATEMENT_S
        if "~" in statement:
            self.seconds += times * DENSITY_S
        self.expression(statement, known, times)
        self.note(statement, known)
        return end + 1

    def count(self, header: Sequence[str], known: dict[str, Value]) -> float:
        """Return how often a loop runs; its variable then has the middle of its values."""
        name, rest = header[0], header[2:]
        halves = split(rest, ":")
        if len(halves) == 2:  # noqa: PLR2004
            first, last = (self.value(half, known) for half in halves)
            if first is None or last is None:
                known.pop(name, None)
                return UNKNOWN
            known[name] = (first + last) / 2
            return max(last - first + 1, 0.0)
        shape = known.get(rest[0]) if len(rest) == 1 else None
        known.pop(name, None)
        return float(math.prod(shape)) if isinstance(shape, tuple) else UNKNOWN

    def expression(self, tokens: Sequence[str], known: dict[str, Value], times: float) -> None:
        """Count calls and the elements that an expression reads."""
        i = 0
        while i < len(tokens):
            name = tokens[i]
            follows = tokens[i + 1] if i + 1 < len(tokens) else ""
            if follows == "(" and (name[0].isalpha()):
                end = close(tokens, i + 1)
                inner = tokens[i + 2 : end]
                if not self.fixed(inner) or tokens[i - 1 : i] == ["~"]:
                    self.call(name, split(inner, ",|"), known, times)
                    self.expression(inner, known, times)
                i = end
            elif isinstance(whole := known.get(name), tuple):
                self.seconds += times * ELEMENT_S * _taken(whole, tokens[i + 1 :])
                if name in self.constant:
                    self.sizes[name] = math.prod(whole)
            i += 1

    def fixed(self, tokens: Sequence[str]) -> bool:
        """Tell whether an expression has data only: the embedded engine computes it once."""
        names = {t for t in tokens if t[0].isalpha()}
        return bool(names & self.constant) and all(t in self.constant or t in _SIZES for t in names)

    def call(
        self, name: str, given: Sequence[Sequence[str]], known: dict[str, Value], times: float
    ) -> None:
        """Count a call of a function, one's own or Stan's."""
        if name.startswith("reduce_sum") and len(given) > 2:  # noqa: PLR2004
            size = ["size", "(", *given[1], ")"]
            name, given = given[0][0], [given[1], ["1"], size, *given[3:]]
        own = next(
            (self.functions[n] for n in (name, f"{name}_lpdf", f"{name}_lpmf")
             if n in self.functions and n not in self.within),
            None,
        )  # fmt: skip
        if own is not None and self.calls < MOST_CALLS:
            self.calls += 1
            self.seconds += times * CALL_S
            inner = dict(self.bound(own, given, known))
            before, self.within = self.within, (*self.within, name)
            self.statements(own.body, inner, times)
            self.within = before
            return
        n = max((self.square(part, known) for part in given), default=0)
        if _SOLVERS.match(name):
            at = given[3] if len(given) > 3 else []  # noqa: PLR2004
            shape = known.get(at[0]) if len(at) == 1 else None
            many = math.prod(shape) if isinstance(shape, tuple) else 1
            self.seconds += times * ((STIFF_S if _STIFF.match(name) else SOLVED_S) + AT_S * many)
        elif _ROOTS.match(name):
            self.seconds += times * ROOT_S
        elif name.startswith("gp_"):
            shape = known.get(given[0][0]) if given and given[0] else None
            n = shape[0] if isinstance(shape, tuple) and shape else 0
            self.seconds += times * n * n * SQUARED_S
        elif _OF_SQUARES.match(name):
            self.seconds += times * (SQUARE_S + n**3 * CUBED_S + n * n * SQUARED_S)
        else:
            self.seconds += times * (DENSITY_S if _DENSITY.match(name) else CALL_S)

    def bound(
        self, own: _Function, given: Sequence[Sequence[str]], known: dict[str, Value]
    ) -> Iterator[tuple[str, Value]]:
        """Yield what is known of a function's arguments."""
        for name, part in zip(own.parameters, given, strict=False):
            if len(part) == 1 and isinstance(known.get(part[0]), tuple):
                yield name, known[part[0]]
            elif (value := self.value(part, known)) is not None:
                yield name, value

    def square(self, tokens: Sequence[str], known: Mapping[str, Value]) -> int:
        """Return the number of rows of the largest square matrix of an expression."""
        shapes = [known.get(t) for t in tokens]
        return max(
            (s[-1] for s in shapes
             if isinstance(s, tuple) and len(s) > 1 and s[-1] == s[-2]),
            default=0,
        )  # fmt: skip

    def value(self, tokens: Sequence[str], known: Mapping[str, Value]) -> float | None:
        """Return the value of an expression of whole numbers; None where it is not known."""
        text = " ".join(tokens).replace("%/%", "//")
        try:
            found = self._value(ast.parse(text, mode="eval").body, known)
        except (SyntaxError, ValueError, ArithmeticError, LookupError, TypeError, RecursionError):
            return None
        return found if math.isfinite(found) else None

    def _value(self, node: ast.expr, known: Mapping[str, Value]) -> float:
        found: float | None = None
        match node:
            case ast.Constant(value=int() | float() as value):
                found = float(value)
            case ast.Name(id=name):
                found = float(known[name])  # type: ignore[arg-type]  # a shape is a TypeError
            case ast.BinOp(left=left, op=op, right=right):
                found = _OPERATORS[type(op)](self._value(left, known), self._value(right, known))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                found = -self._value(operand, known)
            case ast.Subscript(value=ast.Name(id=name)):
                found = self.means[name]
            case ast.Call(func=ast.Name(id=("min" | "max") as name), args=args):
                found = (min if name == "min" else max)(self._value(a, known) for a in args)
            case ast.Call(func=ast.Name(id=name), args=[ast.Name(id=of)]):
                found = float(_SIZES[name](known[of]))  # type: ignore[arg-type]
        if found is None:
            raise ValueError
        return found
