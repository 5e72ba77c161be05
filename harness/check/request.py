"""What to check: baselines, their models, and what each baseline was asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.check.baseline.change import ALPHA, BUDGET, Margins
from harness.check.baseline.file import CANDIDATE, SUFFIX, read
from harness.check.baseline.form import Baseline, BaselineError
from harness.methods import METHODS
from harness.methods.options import from_words, refuse_unused
from harness.methods.settings import OptionError
from harness.models import folders
from harness.models.data import ModelError
from harness.records import CHOICES, Model
from harness.records.text import listed
from harness.study.engines import Wanted
from harness.study.plan import COMPILE_TIMEOUT_S, methods_run


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asked for on the command line; ``folder`` holds the baselines."""

    folder: Path
    methods: tuple[str, ...] | None = None
    seeds: int | None = None
    reference: str = "auto"
    quantities: tuple[str, ...] = ()
    generated: bool | None = None
    """Whether generated quantities are computed; None for as they were."""
    jobs: int | None = None
    timeout_s: float = 600.0
    compile_timeout_s: float = COMPILE_TIMEOUT_S
    memory_gb: float | None = None
    command: str = ""
    alpha: float = ALPHA
    margins: Margins = field(default_factory=Margins)
    budget: int = BUDGET
    seed_offset: int = 0
    exact: bool = False
    engine: Wanted = "auto"
    settings: tuple[str, ...] = ()
    """Options of methods as ``--set`` takes them, ``advi.iterations=20000``."""


@dataclass(frozen=True, slots=True)
class Target:
    """A model to check.

    Without ``old`` it has no baseline yet; ``error`` says why it cannot be checked, and ``gone``
    that the model no longer exists.
    """

    name: str
    path: Path
    model: Model | None = None
    old: Baseline | None = None
    error: str | None = None
    gone: bool = False


def asked(model: Model, request: Request) -> dict[str, Any]:
    """Return what a check must ask for again, with files relative to the baselines' folder."""
    quantities: list[str] | None = list(model.quantities)
    folder = model.stan_file.resolve().parent
    source: dict[str, Any]
    if (folder / "model.toml").is_file() and folder.name == model.name:
        lecture = folder.parent == folders.models_root().resolve()
        source = {"lecture": model.name} if lecture else {"folder": _from(request.folder, folder)}
        if folders.load(str(folder)).quantities == model.quantities:
            quantities = None
    else:
        data = model.data_file
        source = {
            "program": _from(request.folder, model.stan_file),
            "data": None if data is None else _from(request.folder, data),
        }
    reference = request.reference
    if reference not in CHOICES:
        reference = _from(request.folder, Path(reference))
    # Baselines without settings stay as they are.
    settings = {"settings": list(request.settings)} if request.settings else {}
    generated = {} if model.generated else {"generated": False}
    return {
        "source": source,
        "methods": None if request.methods is None else list(request.methods),
        "seeds": request.seeds,
        "reference": reference,
        "quantities": quantities or None,
        **settings,
        **generated,
    }


def _from(folder: Path, file: Path) -> str:
    """Return a path relative to the baselines: a repository moves both together."""
    return Path(os.path.relpath(file.resolve(), folder.resolve())).as_posix()


def as_asked(old: Baseline | None, request: Request) -> Request:
    """Return the request with what it leaves open taken from the baseline."""
    if old is None:
        return request
    methods, reference = old.request.get("methods"), str(old.request.get("reference", "auto"))
    if reference not in CHOICES:
        reference = str(request.folder / reference)
    if request.methods is None and methods is not None:
        request = replace(request, methods=tuple(methods))
    return replace(
        request,
        seeds=old.request.get("seeds") if request.seeds is None else request.seeds,
        reference=reference if request.reference == "auto" else request.reference,
        settings=request.settings or tuple(old.request.get("settings") or ()),
    )


def engines_of(old: Baseline) -> Wanted:
    """Return the engines that a baseline was made with: a check uses them, whatever else is there.

    So another engine is never the reason for a change.
    """
    if "embedded" in old.written:
        return "both" if "cmdstan" in old.written else "embedded"
    return "cmdstan" if "cmdstan" in old.written else "auto"


def to_write(
    words: Sequence[str],
    request: Request,
    read_models: Callable[[Sequence[str]], list[Model]],
) -> list[Target]:
    """Find the models to write baselines of: those named, else those with a baseline.

    If there are no baselines at all, these are the lecture models. An unreadable baseline is
    written again if its name is that of a lecture model.

    Raises
    ------
    harness.ModelError
        For a word that names nothing, and a program without the data that it declares.
    harness.OptionError
        For a setting that no method takes, or of a method that is not run.
    """
    targets = _to_write(words, request, read_models)
    if request.generated is not None:
        targets = [
            replace(t, model=replace(t.model, generated=request.generated)) if t.model else t
            for t in targets
        ]
    if request.settings:
        options = from_words(request.settings)
        for target in targets:
            if target.model is not None:
                methods = as_asked(target.old, request).methods
                refuse_unused(options, methods_run((target.model,), methods))
    return targets


def _to_write(
    words: Sequence[str],
    request: Request,
    read_models: Callable[[Sequence[str]], list[Model]],
) -> list[Target]:
    if not words and not any(request.folder.glob(f"*{SUFFIX}")):
        return [_of_model(m, request.folder) for m in read_models([])]
    targets = locate(words, request, read_models)
    lecture = folders.lecture_models()
    targets = [
        _of_model(folders.load(t.name), request.folder)
        if t.model is None and not t.gone and t.name in lecture
        else t
        for t in targets
    ]
    chosen = request.quantities
    return [
        replace(t, model=replace(t.model, quantities=chosen)) if t.model and chosen else t
        for t in targets
    ]


def locate(
    words: Sequence[str],
    request: Request,
    read_models: Callable[[Sequence[str]], list[Model]],
) -> list[Target]:
    """Find what to check: baselines by name, and what ``read_models`` reads of the other words.

    Without words that is every baseline; if one is a lecture model's, all of them are expected.

    Raises
    ------
    harness.ModelError
        For a word that names nothing, and a program without the data that it declares.
    harness.check.baseline.form.BaselineError
        If there is nothing to check at all.
    """
    folder = request.folder
    if not words:
        return _all_in(folder)
    targets, others = [], []
    for word in words:
        named = folder / f"{word}{SUFFIX}"
        if word.endswith((".stan", ".json")) or not named.is_file():
            others.append(word)
        elif named.name.endswith(CANDIDATE):
            targets.append(_unaccepted(named, folder))
        else:
            targets.append(_target(named))
    models = read_models(others) if others else []
    folders.require_data(models)
    targets += [_of_model(m, folder) for m in models]
    names = [t.name for t in targets]
    for name in names:
        if names.count(name) > 1:
            raise ModelError(f"{name} is named twice; a model has one baseline")
    return targets


def _all_in(folder: Path) -> list[Target]:
    files = sorted(folder.glob(f"*{SUFFIX}"))
    targets = [_target(f) for f in files if not f.name.endswith(CANDIDATE)]
    have = {f"{t.name}{CANDIDATE}" for t in targets}
    candidates = (f for f in files if f.name.endswith(CANDIDATE))
    targets += [_unaccepted(f, folder) for f in candidates if f.name not in have]
    if any(t.old is not None and "lecture" in _source(t.old) for t in targets):
        have = {t.name for t in targets}
        lecture = [n for n in folders.lecture_models() if n not in have]
        targets += [_of_model(folders.load(n), folder) for n in lecture]
    if not targets:
        raise BaselineError(
            f"no baselines in {folder}{os.sep}; write some: harness baseline [MODEL …], "
            "or name a model: harness check MODEL"
        )
    return targets


def _source(old: Baseline) -> Mapping[str, Any]:
    source = old.request.get("source", {})
    return source if isinstance(source, Mapping) else {}


def _of_model(model: Model, folder: Path) -> Target:
    path = folder / f"{model.name}{SUFFIX}"
    if not path.is_file():
        return Target(model.name, path, model)
    try:
        return _beside(read(path), Target(model.name, path, model))
    except BaselineError as error:
        return Target(model.name, path, model, error=str(error))


def _beside(old: Baseline, target: Target) -> Target:
    """Return a target with its baseline and its quantities, if the baseline is its model's."""
    model = target.model
    if model is None or not old.model == model.name == target.name:
        name = target.name if model is None else model.name
        msg = f"{target.path} is the baseline of {old.model!r}, but its model is {name!r}"
        if old.model == name:
            msg = f"{target.path} is the baseline of {name!r}; rename it to {name}{SUFFIX}"
        return replace(target, model=None, old=old, error=msg)
    unknown = [m for m in old.request.get("methods") or () if m not in METHODS]
    if unknown:
        msg = f"{target.path} has methods that are unknown: {listed(unknown)}; write it again"
        return replace(target, model=None, old=old, error=msg)
    try:
        from_words(old.request.get("settings") or ())
    except OptionError as error:
        msg = f"{target.path} has settings that cannot be used: {error}; write it again"
        return replace(target, model=None, old=old, error=msg)
    chosen = tuple(old.request.get("quantities") or model.quantities)
    generated = bool(old.request.get("generated", True))
    return replace(target, model=replace(model, quantities=chosen, generated=generated), old=old)


def _unaccepted(path: Path, folder: Path) -> Target:
    """Return the model of a candidate that nobody has accepted, without a baseline."""
    found = _target(path)
    return replace(found, path=folder / f"{found.name}{SUFFIX}", old=None)


def _target(path: Path) -> Target:
    """Read a baseline and find its model."""
    name = path.name.removesuffix(CANDIDATE).removesuffix(SUFFIX)
    try:
        old = read(path)
    except BaselineError as error:
        return Target(name, path, error=str(error))
    source = _source(old)
    try:
        if "lecture" in source:
            if source["lecture"] not in folders.lecture_models():
                return Target(name, path, old=old, gone=True)
            model = folders.load(str(source["lecture"]))
        elif "folder" in source:
            model = folders.load(str(path.parent / source["folder"]))
        elif "program" in source:
            data = source.get("data")
            model = folders.user_model(
                path.parent / source["program"], None if data is None else path.parent / data
            )
        else:
            why = f"{path} does not name its model; write it again"
            return Target(name, path, old=old, error=why)
        folders.require_data([model])
    except ModelError as error:
        return Target(name, path, old=old, error=f"the model of {path} cannot be read: {error}")
    return _beside(old, Target(name, path, model))
