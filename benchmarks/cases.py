"""Programs of kinds that people meet, with what must come out beside what does.

    python benchmarks/cases.py [--quick] [NAME…]

benchmarks/cases/cases.toml says what is right. The exit code is 1 where something else came out.
"""

from __future__ import annotations

import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import chdir
from pathlib import Path
from typing import Any

import click
import numpy as np

import harness
from harness.records import Draws, ModelComparison, Verdict
from harness.report.files.netcdf import to_datatree

FOLDER = Path(__file__).parent / "cases"

SUPPLIED = 4000
"""Draws of a supplied reference."""

SURE = 3.0
"""Standard errors that a gap may be off."""

TOLERANCE = 0.1
"""Relative error of an sd that a pass may have."""


def cases() -> dict[str, dict[str, Any]]:
    """Return the table of cases by name."""
    return tomllib.loads((FOLDER / "cases.toml").read_text(encoding="utf-8"))


def differences(name: str, case: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Run one case; return what came out in a few words, and what of it is not right."""
    folder = FOLDER / case.get("program", name)
    data = folder / case.get("data", "data.json")
    methods = [*case["methods"], *([] if "supply" in case else ["nuts"])]
    with tempfile.TemporaryDirectory() as scratch:
        reference = "auto"
        if "supply" in case:
            reference = str(_supplied(case["supply"], Path(scratch) / "reference.nc"))
        here = Path(scratch) / "here"
        here.mkdir()
        try:
            with chdir(here):
                result = harness.compare(
                    folder / "model.stan",
                    data if data.exists() else None,
                    methods=methods,
                    seeds=2,
                    reference=reference,
                )
        except (harness.ModelError, harness.NothingToRunError, ValueError) as error:
            return f"refused: {error}", list(_refusal(case, str(error)))
        left = [f"{path.name} was left in the user's folder" for path in here.iterdir()]
    if "error" in case:
        return "it ran", ["it should have been refused"]
    return _short(result.comparison.models[0]), [*left, *wrong(case, result)]


def wrong(case: Mapping[str, Any], result: harness.ComparisonResult) -> list[str]:
    """Return what of a comparison is not what the case expects."""
    (model,) = result.comparison.models
    return [
        *_reference(case, model),
        *_verdicts(case, model),
        *_gaps(case, model),
        *_means(case, result),
    ]


def _supplied(parts: list[list[float]], path: Path) -> Path:
    rng = np.random.default_rng(1)
    share, mean, sd = np.array(parts).T
    which = rng.choice(len(share), SUPPLIED, p=share)
    x = rng.normal(mean[which], sd[which])
    to_datatree(Draws(("x",), x[None, :, None], iid=True), {}).to_netcdf(path, engine="h5netcdf")
    return path


def _refusal(case: Mapping[str, Any], error: str) -> Iterator[str]:
    if "error" not in case:
        yield "it should not have been refused"
    for word in case.get("error", ()):
        if word.lower() not in error.lower():
            yield f"the error does not mention {word!r}"


def _reference(case: Mapping[str, Any], model: ModelComparison) -> Iterator[str]:
    got = "trusted" if model.reference.trusted else "refused"
    if case.get("reference", got) != got:
        yield f"reference {got} instead of {case['reference']}: {model.reference.why}"


def _verdicts(case: Mapping[str, Any], model: ModelComparison) -> Iterator[str]:
    verdicts = {v.method: v for v in model.verdicts}
    right: dict[str, list[str]] = dict(case.get("verdicts", {}))
    for method, levels in case.get("trusted", {}).items():
        right[method] = levels if model.reference.trusted else ["unknown", "fail"]
    for method, levels in right.items():
        verdict = verdicts[method]
        if verdict.level not in levels:
            yield f"{method} {verdict.level} instead of {' or '.join(levels)}: {verdict.headline}"
    for method, causes in case.get("cause", {}).items():
        got = _first_cause(verdicts[method])
        if got not in causes:
            yield f"{method}'s cause is {got or 'missing'} instead of {' or '.join(causes)}"


def _first_cause(verdict: Verdict) -> str:
    return verdict.causes[0].cause.name if verdict.causes else ""


def _gaps(case: Mapping[str, Any], model: ModelComparison) -> Iterator[str]:
    explanation = model.explanation
    for method, (values, tolerance) in case.get("gap", {}).items():
        gaps = () if explanation is None else explanation.of(method)
        if not gaps:
            yield f"{method} has no family gap"
        for gap in gaps:
            off = np.min(np.abs(np.atleast_1d(values) - gap.family_gap.value))
            # The evidence's own error is that of the reference's draws.
            if not off <= max(tolerance, SURE * gap.family_gap.mcse):
                yield f"{method}'s family gap is {gap.family_gap.value:.4f} instead of {values}"
    if case.get("no_gap") and explanation is not None:
        for gap in explanation.gaps:
            if np.isfinite(gap.family_gap.value) or np.isfinite(gap.optimiser_gap.value):
                yield f"{gap.method} has a gap: {gap.family_gap.value}, {gap.optimiser_gap.value}"


def _means(case: Mapping[str, Any], result: harness.ComparisonResult) -> Iterator[str]:
    for method, (vector, right) in case.get("mean_sd", {}).items():
        if result.verdicts[method].level == "pass":
            draws = np.asarray(result.draws[method]["posterior"][vector])
            sd = float(np.std(draws.reshape(draws.shape[0] * draws.shape[1], -1).mean(axis=1)))
            if not abs(sd / right - 1) <= TOLERANCE:
                yield f"{method} passes with an sd of mean({vector}) of {sd:.3f} instead of {right}"


def _short(model: ModelComparison) -> str:
    reference = "trusted" if model.reference.trusted else "refused"
    levels = ", ".join(f"{v.method} {v.level}" for v in model.verdicts if v.method != "nuts")
    return f"{model.reference.kind} {reference}; {levels}"


def _expected(case: Mapping[str, Any]) -> str:
    said = [f"reference {case['reference']}"] if "reference" in case else []
    if "error" in case:
        said.append(f"refused ({', '.join(case['error'])})")
    for key in ("verdicts", "trusted"):
        said += [f"{m} {'/'.join(levels)}" for m, levels in case.get(key, {}).items()]
    said += [f"gap of {m} {nats}" for m, (nats, _) in case.get("gap", {}).items()]
    said += [f"{m}: {'/'.join(causes)}" for m, causes in case.get("cause", {}).items()]
    said += [f"{m} right if it passes" for m in case.get("mean_sd", {})]
    return "; ".join([*said, *(["no gap"] if case.get("no_gap") else [])])


@click.command(help=__doc__)
@click.argument("names", nargs=-1)
@click.option("--quick", is_flag=True, help="Only those that take seconds.")
def main(names: tuple[str, ...], quick: bool) -> None:  # noqa: FBT001 - click passes by name
    """Print a paragraph a case."""
    table = cases()
    unknown = sorted(set(names) - set(table))
    if unknown:
        raise click.UsageError(f"no such case: {', '.join(unknown)}; there are {', '.join(table)}")
    chosen = {n: c for n, c in table.items() if n in names or not names}
    if quick:
        chosen = {n: c for n, c in chosen.items() if c.get("quick")}
    wrong = 0
    for name, case in chosen.items():
        begin = time.perf_counter()
        got, found = differences(name, case)
        wrong += bool(found)
        click.echo(f"{'DIFFERS' if found else 'right  '} {name}: {case['what']}")
        click.echo(f"        expected  {_expected(case)}")
        click.echo(f"        got       {got}  ({time.perf_counter() - begin:.0f} s)")
        for difference in found:
            click.echo(f"        -> {difference}")
    click.echo(f"{len(chosen) - wrong} of {len(chosen)} cases right")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
