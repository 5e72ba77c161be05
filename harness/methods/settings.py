"""Options of a method: a frozen dataclass whose fields check their own type and range."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from harness.records.text import clip, integer

_ALLOWED = "allowed"


class OptionError(ValueError):
    """An option that a method does not have, or a value that it cannot take."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """The values that an option can take: a type, and a range or a list.

    ``low`` and ``high`` themselves are allowed unless ``open_low`` or ``open_high``.
    """

    kind: type
    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False
    choices: tuple[str, ...] = ()
    late: bool = False  # newer than stored runs: only another value than the default is in a spec

    def read(self, value: Any) -> Any:
        """Return a value, perhaps text from a command line, as the option's type.

        Raises TypeError or ValueError for another type or a value outside the range.
        """
        if self.kind is bool:
            return _truth(value)
        if isinstance(value, bool):
            raise TypeError
        if self.kind is str:
            if value not in self.choices:
                raise ValueError
            return value
        number = _whole(value) if self.kind is int else float(value)
        low = self.low < number if self.open_low else self.low <= number
        high = number < self.high if self.open_high else number <= self.high
        if not (low and high and math.isfinite(number)):
            raise ValueError
        return number

    def words(self, example: Any) -> str:
        """Say what is allowed."""
        if self.kind is bool:
            return "true or false"
        if self.choices:
            return f"{', '.join(self.choices[:-1])} or {self.choices[-1]}"
        ends = []
        if math.isfinite(self.low):
            ends.append(f"{'above' if self.open_low else 'from'} {self._end(self.low)}")
        if math.isfinite(self.high):
            ends.append(f"{'below' if self.open_high else 'up to'} {self._end(self.high)}")
        noun = "a whole number" if self.kind is int else "a number"
        return f"{' '.join([noun, *ends])}, such as {example}"

    def _end(self, limit: float) -> str:
        return integer(limit) if self.kind is int else f"{limit:g}"


def _truth(value: Any) -> bool:
    word = str(value).lower()
    if word not in {"true", "false"}:
        raise ValueError
    return word == "true"


def _whole(value: Any) -> int:
    """Return a whole number; ``2e4`` is one."""
    if isinstance(value, int):
        return value
    number = float(value)
    if not number.is_integer():
        raise ValueError
    return int(number)


def _option(default: Any, allowed: Allowed) -> Any:
    return dataclasses.field(default=default, metadata={_ALLOWED: allowed})


MOST = 10**8
"""No iteration, draw or starting point more: CmdStan's counts have 32 bits, and memory ends."""


def whole(default: int, least: int, most: int = MOST) -> Any:
    """Return an option that is a whole number."""
    return _option(default, Allowed(int, least, most))


def real(default: float, *, least: float = 0.0, above: float | None = None) -> Any:
    """Return an option that is a finite number."""
    low = least if above is None else above
    return _option(default, Allowed(float, low, open_low=above is not None))


def between(default: float, low: float, high: float, *, closed: bool = False) -> Any:
    """Return an option that is a number above ``low`` and below ``high``, or up to it."""
    return _option(default, Allowed(float, low, high, open_low=True, open_high=not closed))


def word(default: str, choices: tuple[str, ...], *, late: bool = False) -> Any:
    """Return an option that is one of some words."""
    return _option(default, Allowed(str, choices=choices, late=late))


def switch(*, default: bool) -> Any:
    """Return an option that is on or off."""
    return _option(default, Allowed(bool))


@dataclass(frozen=True)
class Options:
    """The options of a method, checked when they are made.

    A field made by :func:`whole` and its like is one that users set; the harness itself hands
    over the others. Raises as :meth:`checked`.
    """

    def __post_init__(self) -> None:
        """Check every option and keep it as its type."""
        for name, value in self.plain().items():
            object.__setattr__(self, name, self.checked(name, value))

    @classmethod
    def allowed(cls) -> dict[str, Allowed]:
        """Return what users can set, and to what."""
        fields = dataclasses.fields(cls)
        return {f.name: f.metadata[_ALLOWED] for f in fields if _ALLOWED in f.metadata}

    @classmethod
    def handed_over(cls) -> set[str]:
        """Return the options that users cannot set."""
        return {f.name for f in dataclasses.fields(cls)} - set(cls.allowed())

    @classmethod
    def checked(cls, name: str, value: Any) -> Any:
        """Return the value of one option as its type.

        Raises
        ------
        OptionError
            For an option that there is not, or a value of another type or out of range: with the
            option, what it is and what is allowed.
        """
        allowed = cls.allowed()
        if name not in allowed:
            near = difflib.get_close_matches(name, allowed, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise OptionError(
                f"no option {clip(repr(name), 60)}{hint} (known: {', '.join(allowed) or 'none'})"
            )
        try:
            return allowed[name].read(value)
        except (TypeError, ValueError, OverflowError) as error:
            example = next(f.default for f in dataclasses.fields(cls) if f.name == name)
            msg = f"{name} is {clip(repr(value), 60)}; allowed: {allowed[name].words(example)}"
            raise OptionError(msg) from error

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Self:
        """Return the options of a run's spec, each :meth:`checked`."""
        for name in set(given) - cls.handed_over():
            cls.checked(name, given[name])
        return cls(**given)

    def plain(self) -> dict[str, Any]:
        """Return what users can set, as a plain mapping for a run's spec."""
        found = {name: getattr(self, name) for name in self.allowed()}
        for field in dataclasses.fields(self):
            late = _ALLOWED in field.metadata and field.metadata[_ALLOWED].late
            if late and found[field.name] == field.default:
                del found[field.name]
        return found
