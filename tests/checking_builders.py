"""Projects with baselines, and observations, for the tests of checks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from baseline_builders import place, whole

from harness.check.baseline.change import Change, Margins
from harness.check.baseline.file import write
from harness.check.baseline.form import Baseline, MethodBaseline
from harness.check.baseline.observe import Observation, Trouble, describe_data, describe_program
from harness.check.look import _changes
from harness.check.request import Request, Target, asked, locate
from harness.cli.common import read_models
from harness.models import folders
from harness.records import Model

MODEL = Model("drug", "drug", Path("drug.stan"), None)
"""A model whose files are never read."""

STAN = "data { int N; }\nparameters { real x; real y; }\nmodel { x ~ normal(0, 1); }\n"
TOML = 'title = "one"\nquantities = ["x"]\n[settings.nuts]\nseeds = 3\n'


def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a user's program, a model folder, and a lecture of two models."""
    root = tmp_path / "project"
    (root / "models").mkdir(parents=True)
    (root / "models" / "mine.stan").write_text(STAN, encoding="utf-8")
    (root / "models" / "mine.json").write_text('{"N": 3}', encoding="utf-8")
    folder(root / "own")
    lecture = tmp_path / "lecture"
    for name in ("normal_mean", "mixture"):
        folder(lecture / name)
    monkeypatch.setattr(folders, "models_root", lambda: lecture)
    return root


def folder(path: Path) -> Path:
    """Make a model folder."""
    path.mkdir(parents=True)
    (path / "model.toml").write_text(TOML, encoding="utf-8")
    (path / f"{path.name}.stan").write_text(STAN, encoding="utf-8")
    (path / "data.json").write_text('{"N": 5}', encoding="utf-8")
    return path


def request(root: Path, **more: Any) -> Request:
    """Return a request for the baselines of a project."""
    return Request(root / "baselines", **more)


def mine(root: Path) -> Model:
    """Return the user's program."""
    return folders.user_model(root / "models" / "mine.stan", root / "models" / "mine.json")


def keep(root: Path, model: Model, name: str = "", **more: Any) -> Path:
    """Write the baseline of a model; return its file."""
    wanted = request(root, **more)
    path = wanted.folder / f"{name or model.name}.json"
    write(whole(model=model.name, request=asked(model, wanted)), path)
    return path


def found(root: Path, *words: str) -> dict[str, Target]:
    """Locate targets by name; none comes twice."""
    targets = locate(words, request(root), read_models)
    assert len({t.name for t in targets}) == len(targets)
    return {t.name: t for t in targets}


def described(model: Model) -> tuple[Any, Any]:
    """Return all that tells programs and data apart."""
    return describe_program(model), describe_data(model)


def now(
    methods: Mapping[str, MethodBaseline],
    troubles: Mapping[str, tuple[Trouble, ...]] | None = None,
    **more: Any,
) -> Observation:
    """Return an observation of these methods."""
    reference = {"kind": "exact", "trusted": True} | more
    told = dict.fromkeys(methods, ()) | dict(troubles or {})
    return Observation(methods, {name: {} for name in methods}, reference, {}, told)


def compared(old: Baseline, seen: Observation) -> dict[str, Change]:
    """Return the changes of a look by method and what they are of."""
    changes = _changes("drug", old, seen, Margins())
    return {place(c, method=True): c for c in changes}
