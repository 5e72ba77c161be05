"""Model folders and users' own programs, read into :class:`~harness.records.Model`.

A model folder holds ``<name>.stan``, ``model.toml`` and ``data.json`` or ``data.py`` (a
``make_data()`` that simulates data too large to commit).
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import json
import math
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness import stan
from harness.records import Claim, Model

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


class ModelError(ValueError):
    """A model that cannot be used, with what to do about it."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Figure(_Strict):
    method: str
    metric: str
    quantity: str | None = None
    over: Literal["mean", "median", "worst", "best", "spread", "share"] = "mean"


class _Expect(_Strict):
    at_most: float | None = None
    at_least: float | None = None
    near: float | None = None
    within: Annotated[float, Field(ge=0)] | None = None

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
    close: Annotated[float, Field(gt=0)] | None = None
    wrong: Annotated[float, Field(gt=0)] | None = None


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
    settings: dict[str, dict[str, Any]] = Field(default_factory=dict)
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
    if not (folder / "model.toml").is_file():
        folder = models_root() / name
    if not (folder / "model.toml").is_file():
        known = lecture_models()
        near = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
        msg = (
            f"unknown model {name!r}: {hint} Your own program: harness compare FILE.stan DATA.json"
        )
        raise ModelError(msg)
    return _read_folder(folder)


def _read_folder(folder: Path) -> Model:
    name = folder.resolve().name
    path = folder / "model.toml"
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        spec = _ModelToml.model_validate(raw)
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        msg = f"{path}: {error}"
        raise ModelError(msg) from error
    stan_file = folder / f"{name}.stan"
    if not stan_file.is_file():
        msg = f"{folder} has no {name}.stan; the program is named as its folder"
        raise ModelError(msg)
    claims = tuple(
        Claim(
            text=c.text,
            source=c.source,
            figure=c.figure.model_dump(),
            expect=c.expect.model_dump(exclude_none=True),
            note=c.note,
        )
        for c in spec.claims
    )
    data_file = folder / "data.json"
    if not data_file.is_file():
        script = folder / "data.py"
        data_file = _generated(script) if script.is_file() else None  # type: ignore[assignment]
    return Model(
        name=name,
        title=spec.title,
        stan_file=stan_file,
        data_file=data_file,
        source=spec.source,
        lesson=" ".join(spec.lesson.split()),
        quantities=spec.quantities,
        reference=spec.reference,
        claims=claims,
        settings=spec.settings,
        limits={k: v.model_dump(exclude_none=True) for k, v in spec.limits.items()},
        batch=None if spec.batch is None else spec.batch.model_dump(),
        methods=spec.methods,
    )


def user_model(stan_file: Path, data_file: Path | None) -> Model:
    """Wrap a user's own program: every quantity is compared, NUTS is the reference.

    Raises
    ------
    ModelError
        If a file is missing or the data are not a JSON object of finite numbers.
    """
    if not stan_file.is_file():
        msg = f"no such Stan program: {stan_file}"
        raise ModelError(msg)
    if data_file is not None:
        read_data(data_file)
    return Model(
        name=stan_file.stem,
        title=stan_file.name,
        stan_file=stan_file.resolve(),
        data_file=None if data_file is None else data_file.resolve(),
        source="your own program",
    )


def write_data(data: Mapping[str, Any]) -> Path:
    """Write data given from Python into the cache, as JSON for CmdStan; return the file."""
    text = _to_json(data)
    return _publish(hashlib.sha256(text.encode()).hexdigest()[:24], text)


def read_data(path: Path) -> dict[str, Any]:
    """Read a JSON data file.

    Raises
    ------
    ModelError
        If it is missing, empty, not a JSON object, or holds NaN or infinity.
    """

    def refuse(constant: str) -> float:
        msg = f"{path}: {constant} in the data; Stan programs cannot use it: remove or impute it"
        raise ModelError(msg)

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"cannot read the data file {path}: {error}"
        raise ModelError(msg) from error
    if not text.strip():
        msg = f"{path} is empty; a program without data takes {{}}"
        raise ModelError(msg)
    try:
        data = json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError as error:
        msg = f"{path} is not valid JSON: line {error.lineno}, column {error.colno}: {error.msg}"
        raise ModelError(msg) from error
    if not isinstance(data, dict):
        msg = f'{path} holds a JSON {type(data).__name__}; Stan data are an object: {{"N": 3, …}}'
        raise ModelError(msg)
    for name, value in data.items():
        _refuse_non_finite(path, name, value)
    return data


def _refuse_non_finite(path: Path, name: str, value: Any) -> None:
    """Refuse null, and numbers such as 1e999 that JSON reads as infinity."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, list):
            # Lists of plain floats are the large ones: math.fsum would hide inf - inf.
            stack.extend(x for x in item if not isinstance(x, float) or not math.isfinite(x))
        elif item is None or (isinstance(item, float) and not math.isfinite(item)):
            msg = f"{path}: {name} holds {item}; Stan data are finite numbers"
            raise ModelError(msg)
        elif isinstance(item, (str, dict)) and not isinstance(value, dict):
            msg = f"{path}: {name} holds {type(item).__name__} {item!r:.40}; expected numbers"
            raise ModelError(msg)


def check_data(
    data: Mapping[str, Any], info: stan.ProgramInfo, data_name: str = "the data"
) -> list[str]:
    """Compare data with what the program declares; return complaints, empty if it fits.

    Bounds and sizes are CmdStan's to check; names and numbers of dimensions are told here
    because CmdStan stops at the first.
    """
    complaints = []
    for name, declared in info.inputs.items():
        if name not in data:
            same = {k.lower(): k for k in data if k not in info.inputs}
            near = difflib.get_close_matches(name.lower(), same, n=1)
            hint = f" (did you mean {same[near[0]]!r}?)" if near else ""
            complaints.append(f"the program's data variable {name!r} is not in {data_name}{hint}")
            continue
        value = data[name]
        depth = _depth(value)
        wanted = int(declared["dimensions"])
        if depth != wanted and not (_is_empty(value) and depth <= wanted):
            complaints.append(f"{name!r} has {depth} dimensions in {data_name}, declared {wanted}")
        elif declared["type"] == "int" and _has_fraction(value):
            complaints.append(f"{name!r} is declared int and has fractions in {data_name}")
    return complaints


def _depth(value: Any) -> int:
    depth = 0
    while isinstance(value, list):
        depth += 1
        if not value:
            break
        value = value[0]
    return depth


def _is_empty(value: Any) -> bool:
    while isinstance(value, list):
        if not value:
            return True
        value = value[0]
    return False


def _has_fraction(value: Any) -> bool:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, list):
            stack.extend(item)
        elif isinstance(item, float) and not item.is_integer():
            return True
    return False


def load_data(model: Model) -> dict[str, Any]:
    """Return the model's data as plain Python, ``{}`` for a program without data."""
    return {} if model.data_file is None else read_data(model.data_file)


def data_hash(model: Model) -> str:
    """Return the SHA-256 of the data file's bytes."""
    content = b"{}" if model.data_file is None else model.data_file.read_bytes()
    return hashlib.sha256(content).hexdigest()


def _generated(script: Path) -> Path:
    """Run ``make_data()`` once per version of the script; return the JSON in the cache."""
    key = hashlib.sha256(script.read_bytes()).hexdigest()[:24]
    target = stan.cache_dir() / "data" / f"{key}.json"
    if target.is_file():
        return target
    spec = importlib.util.spec_from_file_location(f"harness_data_{script.parent.name}", script)
    if spec is None or spec.loader is None:
        msg = f"cannot import {script}"
        raise ModelError(msg)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        data = module.make_data()
    except Exception as error:
        msg = f"{script}: make_data() failed: {type(error).__name__}: {error}"
        raise ModelError(msg) from error
    return _publish(key, _to_json(data))


def _to_json(data: Mapping[str, Any]) -> str:
    plain = {k: v.tolist() if hasattr(v, "tolist") else v for k, v in data.items()}
    try:
        return json.dumps(plain, allow_nan=False)
    except ValueError as error:
        msg = f"the data hold NaN or infinity ({error}); Stan data are finite numbers"
        raise ModelError(msg) from error
    except TypeError as error:
        msg = f"the data cannot be written as JSON: {error}; use numbers, lists and arrays"
        raise ModelError(msg) from error


def _publish(key: str, text: str) -> Path:
    target = stan.cache_dir() / "data" / f"{key}.json"
    if not target.is_file():
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_suffix(f".{os.getpid()}.part")
            partial.write_text(text, encoding="utf-8")
            partial.replace(target)
        except OSError as error:
            msg = f"cannot write to the cache: {error}; set HARNESS_CACHE to a writable folder"
            raise ModelError(msg) from error
    return target
