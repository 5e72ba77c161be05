"""Model folders and users' own programs, read into :class:`~harness.records.Model`.

A model folder holds ``<name>.stan``, ``model.toml`` and ``data.json`` or ``data.py`` (a
``make_data()`` that simulates data too large to commit).
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness import stan
from harness.models.data import ModelError, data_file, data_hash, publish, to_json
from harness.models.exact import SAMPLERS
from harness.records import Claim, Model
from harness.records.text import clip, listed, one_line
from harness.records.untrusted import (
    MOST_SEEDS,
    MOST_TEXT,
    file_name,
    is_file,
    is_folder,
    read_bytes,
)

_PACKAGE = Path(__file__).parents[1]
LECTURE_ORDER = (
    "student_t",
    "beta_unit",
    "linear_regression",
    "conjugate_regression",
    "drug_trial",
    "mixture",
    "wide_normal",
    "large_regression",
    "normal_mean",
    "inverse_gamma_normal",
)


_Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
_Whole = Annotated[int, Field(strict=True, ge=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Figure(_Strict):
    method: str
    metric: str
    quantity: str | None = None
    over: Literal["mean", "median", "worst", "best", "spread", "share"] = "mean"
    beside: str | None = None

    @model_validator(mode="after")
    def _of_seconds(self) -> _Figure:
        # An error can be zero or negative: a ratio of two says nothing.
        if self.beside is not None and (self.metric != "seconds" or self.over == "spread"):
            msg = f"beside compares seconds, not {self.over} of {self.metric}"
            raise ValueError(msg)
        return self


class _Expect(_Strict):
    at_most: _Number | None = None
    at_least: _Number | None = None
    near: _Number | None = None
    within: Annotated[_Number, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> _Expect:
        kinds = [k for k in ("at_most", "at_least", "near") if getattr(self, k) is not None]
        if len(kinds) != 1:
            msg = f"expect takes exactly one of at_most, at_least, near; got {kinds or 'none'}"
            raise ValueError(msg)
        return self


class _Claim(_Strict):
    text: str
    source: str = ""
    figure: _Figure
    expect: _Expect
    note: str = ""


class _Limit(_Strict):
    close: Annotated[_Number, Field(gt=0)] | None = None
    wrong: Annotated[_Number, Field(gt=0)] | None = None


class _Setting(BaseModel):
    """What every method can be set to; the others are its options, which it checks itself."""

    model_config = ConfigDict(extra="allow", frozen=True)

    seeds: Annotated[_Whole, Field(le=MOST_SEEDS)] | None = None
    draws: Annotated[_Whole, Field(le=10**7)] | None = None
    skip: str | None = None
    engine: Literal["embedded", "cmdstan"] | None = None


class _Batch(_Strict):
    rows: Annotated[tuple[str, ...], Field(min_length=1)]
    size: str
    scale: str


class _ModelToml(_Strict):
    title: str
    name: str = ""
    source: str = ""
    lesson: str = ""
    quantities: tuple[str, ...] = ()
    reference: str | None = None
    claims: tuple[_Claim, ...] = ()
    settings: dict[str, _Setting] = Field(default_factory=dict)
    limits: dict[str, _Limit] = Field(default_factory=dict)
    methods: tuple[str, ...] = ()
    batch: _Batch | None = None


def models_root() -> Path:
    """Return the folder of the lecture's models: in the wheel, else in the checkout."""
    packaged = _PACKAGE / "_stan"
    return packaged if packaged.is_dir() else _PACKAGE.parent / "stan"


def lecture_models() -> tuple[str, ...]:
    """Return the names of the lecture's models, in the lecture's order, others behind."""
    root = models_root()
    found = {p.parent.name for p in root.glob("*/model.toml")}
    ordered = tuple(n for n in LECTURE_ORDER if n in found)
    return ordered + tuple(sorted(found - set(ordered)))


def load(name: str) -> Model:
    """Read a lecture model by name, or a model folder by path.

    Raises
    ------
    ModelError
        For an unknown name (with the nearest known ones), or a folder that does not hold
        together.
    """
    folder = Path(name)
    if not is_file(folder / "model.toml"):
        folder = models_root() / name
    if not is_file(folder / "model.toml"):
        if is_file(Path(name)) or Path(name).suffix:
            msg = f"{name} is no Stan program and no model; a data file follows its program"
            raise ModelError(f"{msg}: harness compare FILE.stan DATA.json")
        known = lecture_models()
        near = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
        raise ModelError(
            f"unknown model {clip(repr(name), 100)}: {hint} Your own program: harness compare "
            "FILE.stan DATA.json"
        )
    return _read_folder(folder)


def suite(word: str) -> tuple[str, ...]:
    """Return the model folders in a folder, by name; none if it is no folder of models.

    A lecture model's name, a model folder and any other folder are no suite.
    """
    folder = Path(word)
    if not is_folder(folder) or is_file(folder / "model.toml"):
        return ()
    return tuple(str(path.parent) for path in sorted(folder.glob("*/model.toml")))


def _read_folder(folder: Path) -> Model:
    name = _named(folder.resolve().name, folder)
    path = folder / "model.toml"
    try:
        raw = tomllib.loads(read_bytes(path, MOST_TEXT).decode())
        spec = _ModelToml.model_validate(raw)
    except ValidationError as error:
        raise ModelError(f"{path}: {_problems(error)}") from error
    except RecursionError as error:
        raise ModelError(f"{path}: it is nested too deeply") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: {clip(one_line(str(error)), 300)}") from error
    if spec.reference is not None and spec.reference not in SAMPLERS:
        known = ", ".join(SAMPLERS)
        raise ModelError(f"{path}: no exact reference {spec.reference!a}; there are {known}")
    stan_file = folder / f"{name}.stan"
    if not stan_file.is_file():
        raise ModelError(f"{folder} has no {name}.stan; the program is named as its folder")
    claims = tuple(
        Claim(**c.model_dump() | {"expect": c.expect.model_dump(exclude_none=True)})
        for c in spec.claims
    )
    given, script = folder / "data.json", folder / "data.py"
    made = _generated(script) if script.is_file() and not given.is_file() else None
    return Model(
        name=name,
        title=spec.title,
        stan_file=stan_file,
        data_file=given if given.is_file() else made,
        source=spec.source,
        lesson=" ".join(spec.lesson.split()),
        quantities=spec.quantities,
        reference=spec.reference,
        claims=claims,
        settings={k: v.model_dump(exclude_unset=True) for k, v in spec.settings.items()},
        limits={k: v.model_dump(exclude_none=True) for k, v in spec.limits.items()},
        batch=None if spec.batch is None else spec.batch.model_dump(),
        methods=spec.methods,
    )


def _problems(error: ValidationError) -> str:
    """Say on one line what is wrong with a file, and where."""
    found = error.errors(include_url=False)
    said = [f"{'.'.join(map(str, e['loc'])) or 'the file'}: {one_line(e['msg'])}" for e in found]
    return clip(listed(said, 3), 500)


def _named(name: str, path: Path) -> str:
    """Return the name that a model has from its file or folder, and that files get from it."""
    try:
        return file_name(name)
    except ValueError as error:
        raise ModelError(f"{ascii(str(path))[1:-1]} cannot be a model's: {error}") from error


def user_model(stan_file: Path, data_file: Path | None) -> Model:
    """Wrap a user's own program: every quantity is compared, NUTS is the reference.

    Raises
    ------
    ModelError
        If a file is missing, or the data are not a JSON object.
    """
    if not is_file(stan_file):
        raise ModelError(f"no such Stan program: {clip(one_line(str(stan_file)), 300)}")
    model = Model(
        name=_named(stan_file.stem, stan_file),
        title=stan_file.name,
        stan_file=stan_file.resolve(),
        data_file=None if data_file is None else data_file.resolve(),
        source="your own program",
    )
    try:
        data_hash(model)
    except OSError as error:
        raise ModelError(f"cannot read the data file {data_file}: {error}") from error
    return model


def require_data(models: Iterable[Model]) -> None:
    """Raise ModelError for a program that declares data and has no data file."""
    for model in models:
        declared = () if model.data_file is not None else stan.declared_data(model.stan_file)
        if declared:
            program, folder = model.stan_file.name, model.stan_file.parent
            msg = f"{program} declares data ({', '.join(declared)})"
            if (folder / "model.toml").is_file():
                raise ModelError(f"{msg}; write {folder / 'data.json'}, or a data.py beside it")
            raise ModelError(
                f"{msg}, and no data file follows it: name one behind it, {program} DATA.json; "
                "each program needs a data file of its own"
            )


def _generated(script: Path) -> Path:
    """Run ``make_data()`` once per version of the script; return the JSON in the cache."""
    key = hashlib.sha256(script.read_bytes()).hexdigest()[:24]
    target = data_file(key)
    if target.is_file():
        return target
    spec = importlib.util.spec_from_file_location(f"harness_data_{script.parent.name}", script)
    if spec is None or spec.loader is None:
        raise ModelError(f"cannot import {script}")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        data = module.make_data()
    except Exception as error:
        msg = f"{script}: make_data() failed: {type(error).__name__}: {error}"
        raise ModelError(msg) from error
    return publish(key, to_json(data))
