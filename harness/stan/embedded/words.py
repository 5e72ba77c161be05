"""Messages of a program that the embedded engine's own calls do not give, had in other ways."""

from __future__ import annotations

import ctypes
import json
import re
import weakref
from typing import TYPE_CHECKING

import numpy as np

from harness.stan.density import EngineError
from harness.stan.embedded import library
from harness.stan.embedded.buffers import address, text

if TYPE_CHECKING:
    from harness.records import FloatArray

NOT_EVALUATED = "the log density cannot be evaluated"

_FIRST_ERROR = "first error: "
"""What stands before the program's message where NUTS cannot start."""

_SAMPLER_COLUMNS = 7

_CHECK = "stanli MIR check: "
"""What stands before a value that its declaration does not allow."""

_SIZES = re.compile(
    r"stage=data initialization; variable name=(\S+);"
    r".*dims declared=\((\S*)\); dims found=\((\S*)\)"
)

_EXTENT = re.compile(r"stanli compile: .*\b(negative \w+|invalid or overflowing) extent")
"""What the engine says of a declared size below 0, or beyond its integers."""

_TOO_BIG = re.compile(r"JSON parsing at offset (\d+): Number too big")

_UNWRITTEN = re.compile(r"which is far slower: (.*?\))\. The interpreter also failed")
"""What of a program has no values, and why, in a warning that is long."""

_ZEROS = re.compile(r"(-?\d+)\.0+\b")

_BARE = re.compile(rb"(?<![\"\w])(-?)(NaN|Infinity)(?![\"\w])")
"""Numbers that Stan's JSON has and strict JSON has not."""


def why_not(handle: int, z: FloatArray, width: int) -> str:
    """Return the message of a point that cannot be evaluated; the model's lock is held.

    The engine's gradient has none. NUTS started at the point says why it cannot start there.
    ``width`` is the number of all values that the program writes.
    """
    call, start, d = library.opened().call, np.array(z), len(z)
    options, metric = library.SampleOptions(), library.MetricOptions()
    report, stopped = library.SampleReport(), ctypes.c_int(0)
    call.stanli_sample_opts_init(ctypes.addressof(options))
    call.stanli_metric_opts_init(ctypes.addressof(metric))
    options.chains = options.samples = options.max_depth = options.num_threads = 1
    options.warmup = metric.adapt_engaged = 0
    options.inits = address(start)
    raw, stats, out = np.empty(d), np.empty(_SAMPLER_COLUMNS), np.empty(width)
    words = ctypes.create_string_buffer(library.WORDS)
    call.stanli_sample_multi_metric(
        handle, ctypes.addressof(options), ctypes.addressof(metric), 0,
        address(raw), address(stats), address(out), None, None, None, None,
        ctypes.addressof(stopped), ctypes.addressof(report), words, library.WORDS,
    )  # fmt: skip
    return text(words).partition(_FIRST_ERROR)[2] or NOT_EVALUATED


def unwritten(warned: str) -> str:
    """Return why the engine evaluates a program and cannot write its values."""
    found = _UNWRITTEN.search(warned)
    if found is None:
        return warned or "the engine cannot write the program's values"
    said = f"the engine cannot compute {found[1]}"
    only = found[1].startswith("generated quantities")
    return f"{said}; --no-gq leaves them out" if only else said


def wrong_data(said: str) -> str:
    """Return what a refusal says of the data; empty if the engine itself may lack something.

    Checks of declared bounds and sizes are Stan's own, and CmdStan would make the same.
    """
    sizes = _SIZES.search(said)
    if sizes is not None:
        name, declared, found = sizes.groups()
        return f"{name} has size {_size(found)}, but is declared with size {_size(declared)}"
    if _EXTENT.search(said):
        return "with them, a declared size is negative or too large"
    if (big := _TOO_BIG.search(said)) is not None:
        return f"the number at byte {big[1]} is beyond the largest of Stan, about 1.8 × 10³⁰⁸"
    check = said.partition(_CHECK)
    return "" if check[0] or not check[1] else _ZEROS.sub(r"\1", check[2])


def _size(numbers: str) -> str:
    return " × ".join(numbers.split(","))


class BridgeStan:
    """A model behind BridgeStan's interface, for what the engine's own lacks.

    That is names of unconstrained parameters, and messages of generated quantities.

    Raises
    ------
    EngineError
        If it cannot be made, in the engine's words.
    """

    def __init__(self, translated: bytes, data: bytes, seed: int) -> None:
        opened = library.opened()
        self._call = opened.call
        self._seed = seed
        self._text = ctypes.c_void_p()
        self._error = ctypes.addressof(self._text)
        about = {"build_id": opened.build, "mir": translated.decode(), "name": "model"}
        data = _BARE.sub(rb'"\1\2"', data)
        inside = data[data.index(b"{") + 1 :]
        comma = b"" if inside.lstrip()[:1] == b"}" else b","
        whole = b'{"__stanli":' + json.dumps(about).encode() + comma + inside
        with opened.making:
            handle = self._call.bs_model_construct(whole, seed, self._error)
        if not handle:
            raise EngineError(self._words())
        self._handle = handle
        self.free = weakref.finalize(self, self._call.bs_model_destruct, handle)
        self.free.atexit = False

    def unconstrained_names(self) -> tuple[str, ...]:
        """Return the names of the unconstrained parameters."""
        return tuple(self._call.bs_param_unc_names(self._handle).decode().split(","))

    def why_not_written(self, z: FloatArray, width: int) -> str:
        """Return the message of a point at which the program's values cannot be written."""
        rng = self._call.bs_rng_construct(self._seed, self._error)
        out = np.empty(width)
        wanted = (True, True)  # transformed parameters and generated quantities
        try:
            self._call.bs_param_constrain(
                self._handle, *wanted, address(z), address(out), rng, self._error
            )
            return self._words()
        finally:
            self._call.bs_rng_destruct(rng)

    def _words(self) -> str:
        """Return the message of the last call, and free the library's copy."""
        if not self._text.value:
            return "the engine has no message"
        said = ctypes.string_at(self._text.value).decode(errors="replace").strip()
        self._call.bs_free_error_msg(self._text)
        self._text.value = None
        return said
