"""Compare a method with its baseline: one Change for every figure that either has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from harness.check.baseline import difference
from harness.check.baseline.change import USUAL, Change, Conclusion, Margins, Part, Reason
from harness.check.baseline.difference import Difference
from harness.check.baseline.form import SUMMARIES, Figure, MethodBaseline, Share
from harness.check.baseline.precision import freedom
from harness.check.baseline.summarise import unit
from harness.metrics.sample import QUANTILES, Sample
from harness.records import Estimate, Level

SUSPICIOUS = 1e-3
"""Shares of seeds with a smaller p-value are never called the same."""

SEVERITY: tuple[Level, ...] = ("reference", "pass", "unknown", "warn", "fail")

WELL_MIXED = 400.0
"""Chains with this effective size mix well; with less, barely."""

ROUNDING = 1e-9
"""Constants of a program may differ by this share: they pass through text."""


def compare_method(
    model: str,
    name: str,
    old: MethodBaseline,
    new: MethodBaseline,
    samples: Mapping[str, Sample] | None = None,
    margins: Margins = USUAL,
) -> list[Change]:
    """Compare a method with its baseline; ``samples`` are new draws that carry their own error.

    A change is ``same`` where the 95% interval of the difference lies inside the margin, else
    ``inconclusive``; what is missing, new or not a number is ``changed``. Which of the
    inconclusive ones changed, :func:`harness.check.baseline.change.conclude` decides over all
    figures together.
    """
    where = (model, name)
    identical = bool(old.fingerprints) and old.fingerprints == new.fingerprints
    out = [*_level(where, old, new, identical=identical)]
    if old.causes != new.causes:
        was, now = ("; ".join(m.causes) or "none" for m in (old, new))
        out.append(Change(*where, "", "causes", "moved", "changed", was=was, now=now))
    if not identical:
        out += _shares(where, old, new)
    if old.kind != new.kind and not new.no_moments:
        return [*out, Change(*where, "", "kind", "moved", "changed", was=old.kind, now=new.kind)]
    if old.no_moments or new.no_moments:
        return [*out, *_moments(where, old, new, identical=identical)]
    both = _Both(old, new, samples or {}, margins, identical=identical)
    names = dict.fromkeys([*old.quantities, *new.quantities])
    return [*out, *(change for q in names for change in both.quantity((*where, q)))]


def _moments(
    where: tuple[str, str], old: MethodBaseline, new: MethodBaseline, *, identical: bool
) -> list[Change]:
    """Compare whether there are moments, where at least one side has none."""
    if old.no_moments:
        if identical or new.no_moments:
            return []
        # The shares above have judged seeds that agree now, but not chains that mix now.
        conclusion: Conclusion = "same" if new.kind == "seeds" else "inconclusive"
    else:
        changed = identical or _stopped_mixing(old, new)
        conclusion = "changed" if changed else "inconclusive"
    was, now = (m.no_moments or "moments worth comparing" for m in (old, new))
    return [Change(*where, "", "moments", "moved", conclusion, was=was, now=now)]


def _stopped_mixing(old: MethodBaseline, new: MethodBaseline) -> bool:
    """Tell whether chains that mixed well no longer do.

    Failed runs do not show it, nor do chains that hardly mixed before; the shares judge seeds
    that scatter.
    """
    if new.kind != "chains" or new.kept == 0:
        return False
    return min((f.ess for f, _, _ in old.figures), default=0.0) >= WELL_MIXED


# --- seeds ----------------------------------------------------------------------------------


def level_words(method: MethodBaseline) -> str:
    """Return ``fail (3 of 10 seeds)``."""
    at = method.levels.get(method.level, 0) if method.level else 0
    total = sum(method.levels.values())
    return f"{method.level} ({at} of {total} seeds)" if total > 1 else str(method.level)


def _level(
    where: tuple[str, str], old: MethodBaseline, new: MethodBaseline, *, identical: bool
) -> list[Change]:
    """Compare verdict levels by how many seeds reach each of them."""
    if old.level is None and new.level is None:
        return []
    words = (level_words(old), level_words(new))
    if identical or old.level is None or new.level is None:
        agree = old.level == new.level and old.levels == new.levels
        return [
            Change(*where, "", "level", "moved", "same" if agree else "changed", p=float(agree),
                   was=words[0], now=words[1],
                   reason="judged otherwise" if identical and not agree else None)
        ]  # fmt: skip
    n_old, n_new = sum(old.levels.values()), sum(new.levels.values())
    reach = [(_reaching(old, i), _reaching(new, i)) for i in range(1, len(SEVERITY))]
    told = sorted({r for r in reach if r not in {(0, 0), (n_old, n_new)}})
    ps = [difference.counts(a, n_old, b, n_new) for a, b in told]
    p = min([1.0, *(len(ps) * q for q in ps)])
    same = p >= SUSPICIOUS and (old.level == new.level or _overlap(old, new))
    reason: Reason | None = None
    if same and old.level != new.level:
        reason = "as seeds differ"
    elif not same and p >= SUSPICIOUS:
        reason = "no common level"
    return [
        Change(*where, "", "level", "moved", "same" if same else "inconclusive", p=p,
               was=words[0], now=words[1], reason=reason)
    ]  # fmt: skip


def _reaching(method: MethodBaseline, severity: int) -> int:
    return sum(n for level, n in method.levels.items() if _severity(level) >= severity)


def _severity(level: Any) -> int:
    return SEVERITY.index(level) if level in get_args(Level) else len(SEVERITY)


def _overlap(old: MethodBaseline, new: MethodBaseline) -> bool:
    a, b = ([_severity(level) for level, n in m.levels.items() if n] for m in (old, new))
    return bool(a and b) and max(a) >= min(b) and max(b) >= min(a)


def _shares(where: tuple[str, str], old: MethodBaseline, new: MethodBaseline) -> list[Change]:
    """Compare how many seeds failed or ran away, are off by each metric, and have each cause."""
    shares = sorted({*old.shares, *new.shares})
    out = [_share(where, "share", n, old.shares.get(n), new.shares.get(n)) for n in shares]
    parts: tuple[tuple[Part, Mapping[str, int], Mapping[str, int]], ...] = (
        ("cause", old.seed_causes, new.seed_causes),
        ("fault", old.faults, new.faults),
    )
    for part, before, now in parts:
        for name in sorted({*before, *now}):
            was = Share(before.get(name, 0), len(old.seeds))
            out.append(_share(where, part, name, was, Share(now.get(name, 0), len(new.seeds))))
    return out


def _share(
    where: tuple[str, str], part: Part, name: str, was: Share | None, now: Share | None
) -> Change:
    if was is None or now is None:
        kind: Literal["new", "missing"] = "new" if was is None else "missing"
        return Change(*where, "", part, kind, "changed", name)
    p = difference.counts(was.count, was.of, now.count, now.of)
    # With few seeds, chance can set all against none, but that is never the same either.
    opposed = {was.value, now.value} == {0.0, 1.0}
    same = p >= SUSPICIOUS and min(was.of, now.of) > 0 and not opposed
    return Change(
        *where, "", part, "moved", "same" if same else "inconclusive", name,
        old=Estimate(was.value, was.mcse),
        new=Estimate(now.value, now.mcse),
        difference=now.value - was.value,
        sds=(now.value - was.value) / math.hypot(was.mcse, now.mcse),
        p=p,
        was=f"{was.count} of {was.of}",
        now=f"{now.count} of {now.of}",
    )  # fmt: skip


# --- moments --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Both:
    """A method and its baseline; both have moments."""

    old: MethodBaseline
    new: MethodBaseline
    samples: Mapping[str, Sample]
    margins: Margins
    identical: bool

    def quantity(self, where: tuple[str, str, str]) -> list[Change]:
        """Compare every figure of one quantity."""
        name = where[2]
        if name not in self.new.quantities:
            return [Change(*where, "quantity", "missing", "changed")]
        if name not in self.old.quantities:
            return [Change(*where, "quantity", "new", "changed")]
        # The baseline may give a value and the reason why it has no error.
        old = self.old.quantities[name]
        kept = [w for w in SUMMARIES if not (old[w].why and math.isfinite(old[w].value))]
        return [self._figure(where, what) for what in kept]

    def _figure(self, where: tuple[str, str, str], what: str) -> Change:
        before, now = self.old.quantities[where[2]], self.new.quantities[where[2]]
        old, new = before[what], now[what]
        change = Change(
            *where, "summary", "moved", "inconclusive", what,
            old=Estimate(old.value, old.mcse),
            new=Estimate(new.value, new.mcse),
            margin=self.margins.of(what, old),
        )  # fmt: skip
        if not math.isfinite(old.value):
            return replace(change, kind="unusable", reason="no figure before", detail=old.why)
        if not math.isfinite(new.value):
            change = replace(change, kind="unusable", reason="no figure now", detail=new.why)
            return replace(change, conclusion="changed")
        if self.identical:
            change = replace(change, conclusion="same", difference=0.0, interval=(0.0, 0.0))
            return replace(change, sds=0.0, p=1.0, chance=1.0)
        if before["sd"].value == 0 or now["sd"].value == 0:
            return _constant(change, before, now)
        found = self._difference(what, before, now, self.samples.get(where[2]), change.margin)
        if found is None or math.isnan(found.p):
            return replace(change, kind="unusable", reason="no error", detail=new.why)
        inside = -change.margin <= found.low and found.high <= change.margin
        return replace(
            change,
            conclusion="same" if inside else "inconclusive",
            difference=found.value,
            interval=(found.low, found.high),
            sds=found.sds,
            p=found.p,
            chance=found.chance,
        )

    def _difference(
        self,
        what: str,
        before: Mapping[str, Figure],
        now: Mapping[str, Figure],
        sample: Sample | None,
        margin: float,
    ) -> Difference | None:
        """Compare two figures; None where one of them has no error."""
        old, new = before[what], now[what]
        if self.old.kind == "seeds":
            return self._over_seeds(what, old, new, margin, unit(before))
        dfs = [freedom(m.kind, f.ess) for m, f in ((self.old, old), (self.new, new))]
        if what in QUANTILES and sample is not None:
            # A quantile at a value that many draws share has an error of zero, and yet the share
            # of draws under it has one.
            if not (old.ess > 0 and new.ess > 0 and math.isfinite(old.mcse)):
                return None
            df = _welch((old.ess**-0.5, new.ess**-0.5), dfs)
            return difference.quantile(what, old, sample, df, margin, unit(before))
        if not all(math.isfinite(e) and e > 0 for e in (old.mcse, new.mcse)):
            return None
        errors = difference.errors(old, new)
        df = _welch(errors, dfs)
        if what == "sd":
            return difference.scale_of_draws(old, new, df, margin)
        joint = math.hypot(*errors)
        return difference.location(old.value, new.value, joint, df, margin, unit(before))

    def _over_seeds(
        self, what: str, old: Figure, new: Figure, margin: float, scale: float
    ) -> Difference | None:
        """Compare means over seeds by Student's test, with the spread of both sides' seeds."""
        k = (self.old.kept, self.new.kept)
        if old.spread is None or new.spread is None or min(k) < 2 or sum(k) < 4:  # noqa: PLR2004
            return None
        spreads = (old.spread, new.spread)
        if what == "sd":
            spreads = (old.spread / old.value, new.spread / new.value)
        df = sum(k) - 2
        pooled = math.hypot(*(s * math.sqrt((n - 1) / df) for n, s in zip(k, spreads, strict=True)))
        error = pooled * math.sqrt(1 / k[0] + 1 / k[1])
        if what == "sd":
            logs = math.log(old.value), math.log(new.value)
            return difference.location(*logs, error, df, margin, 1.0)
        return difference.location(old.value, new.value, error, df, margin, scale)


def _constant(change: Change, before: Mapping[str, Figure], now: Mapping[str, Figure]) -> Change:
    """Compare two figures, one of a constant: they have no error to allow for.

    But draws of a rare event may lack it on one side. Then the number of draws that have another
    value decides, by Fisher's exact test.
    """
    close = math.isclose(change.old.value, change.new.value, rel_tol=ROUNDING)
    p = float(close)
    if not close and before["sd"].value != now["sd"].value:
        p = _lacking(*((before, now) if before["sd"].value == 0 else (now, before)))
    same = p >= SUSPICIOUS
    return replace(
        change,
        conclusion="same" if same else "changed" if p == 0 else "inconclusive",
        difference=0.0 if close else math.nan if same else math.inf,
        p=p,
        chance=p,
        reason=None if same else "constants differ",
    )


def _lacking(constant: Mapping[str, Figure], varied: Mapping[str, Figure]) -> float:
    """Return the p-value of "the constant only lacks what is rare in the other draws"."""
    value = constant["mean"].value
    sizes = varied["mean"].ess, constant["mean"].ess
    if value not in {varied["q5"].value, varied["q95"].value} or not min(sizes) > 0:
        return 0.0
    # A value that a share s of the draws does not have: (mean − value)² / sd² is at most
    # s / (1 − s), and just that if they all have one other value.
    odds = ((varied["mean"].value - value) / varied["sd"].value) ** 2
    others = max(round(odds / (1 + odds) * sizes[0]), 1)
    return difference.counts(others, round(sizes[0]), 0, round(sizes[1]))


def _welch(errors: tuple[float, float], dfs: list[float]) -> float:
    """Return Welch's degrees of freedom of a difference."""
    a, b = ((e / max(errors)) ** 2 for e in errors)
    return (a + b) ** 2 / (a**2 / dfs[0] + b**2 / dfs[1])
