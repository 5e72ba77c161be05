"""Results on disk: the contract of columns, and a round trip that loses nothing."""

from __future__ import annotations

import csv
import gzip
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from harness.judgement import rules_for
from harness.records import (
    Cause,
    Closeness,
    Comparison,
    Doubt,
    Estimate,
    Explanation,
    Finding,
    Gap,
    Measure,
    Reason,
    SeedVerdict,
    Trial,
    Verdict,
)
from harness.records.whole import write_text
from harness.report import files
from harness.report.files.netcdf import write_draws
from harness.report.files.numbers import to_json
from harness.report.html.runs import table
from harness.why import verdicts, words


def test_columns_are_the_contract(comparison: Comparison, tmp_path: Path) -> None:
    """The promised columns come first and in order; additions stand behind."""
    files.write(comparison, tmp_path)
    promised = {
        "verdicts": "model method level cause remedy seeds seeds_failed seconds reference",
        "measures": "model method seed quantity metric value mcse level",
        "claims": "model claim expected measured error holds",
        "gaps": (
            "model method seed family family_gap family_gap_error optimiser_gap "
            "optimiser_gap_error cause exact words"
        ),
        "trials": (
            "model method remedy what level_before level_after metric quantity before after "
            "seconds_before seconds helps"
        ),
        "runs": (
            "model method seed status message seconds iterations eta khat "
            "log_density_evaluations gradient_evaluations"
        ),
    }
    for name, columns in promised.items():
        with (tmp_path / f"{name}.csv").open(newline="") as file:
            header = next(csv.reader(file))
        assert header[: len(columns.split())] == columns.split()


def test_every_verdict_run_and_measure_is_written(comparison: Comparison, tmp_path: Path) -> None:
    """No row is lost, whatever its status."""
    files.write(comparison, tmp_path)
    for name, count in {
        "verdicts": sum(len(m.verdicts) for m in comparison.models),
        "runs": sum(len(m.runs) for m in comparison.models),
        "measures": sum(len(m.measures) for m in comparison.models),
        "claims": len(comparison.claims),
    }.items():
        with (tmp_path / f"{name}.csv").open(newline="") as file:
            assert len(list(csv.DictReader(file))) == count


def test_json_is_strict_and_reads_back(comparison: Comparison, tmp_path: Path) -> None:
    """Non-finite figures are strings in the JSON and numbers again when read."""
    files.write(comparison, tmp_path)

    def refuse(constant: str) -> float:
        raise AssertionError(constant)

    json.loads((tmp_path / "results.json").read_text(), parse_constant=refuse)
    again = files.read(tmp_path)
    assert [m.model.name for m in again.models] == [m.model.name for m in comparison.models]
    for old, new in zip(comparison.models, again.models, strict=True):
        assert new.error == old.error
        assert [(v.method, v.level, v.headline) for v in new.verdicts] == [
            (v.method, v.level, v.headline) for v in old.verdicts
        ]
        assert [f.sentence for v in new.verdicts for f in v.findings] == [
            f.sentence for v in old.verdicts for f in v.findings
        ]
        assert new.levels == old.levels
        for a, b in zip(old.measures, new.measures, strict=True):
            same = a.value == b.value or (math.isnan(a.value) and math.isnan(b.value))
            assert same or b.value == pytest.approx(a.value, rel=1e-6)
    assert len(again.claims) == len(comparison.claims)


def test_which_stan_made_a_run_reads_back(comparison: Comparison, tmp_path: Path) -> None:
    """Of the embedded engine's own algorithms; the page's table of runs shows it."""
    model = comparison.models[0]
    run = replace(model.runs[0], engine="embedded", versions={"stan": "Stan 2.40 (embedded)"})
    changed = replace(model, runs=(run, *model.runs[1:]))
    files.write(replace(comparison, models=(changed, *comparison.models[1:])), tmp_path)
    again = files.read(tmp_path).models[0]
    assert [r.versions for r in again.runs] == [run.versions, *[{}] * (len(model.runs) - 1)]
    shown = table(again)
    assert shown is not None
    assert "Stan 2.40 (embedded)" in {row.engine for row in shown.rows}


def test_doubts_and_what_movement_shows_read_back(comparison: Comparison, tmp_path: Path) -> None:
    """A run's doubts, and a verdict that rests on its own draws; older files have neither."""
    model = comparison.models[0]
    doubt = Doubt(Reason.MOVED, "tail", "tau", 1.25, 0.0625, 0.75)
    rule = rules_for()["bias"]
    measure = Measure(model.model.name, "dadvi", 1, "tau", "bias", 0.75, 0.0625, "movement")
    finding = Finding(rule, measure, "wrong", "It moved.")
    verdict = replace(
        model.verdicts[0], level="fail", findings=(finding,), evidence="movement", causes=()
    )
    changed = replace(
        model,
        runs=(replace(model.runs[0], doubts=(doubt,)), *model.runs[1:]),
        verdicts=(verdict, *model.verdicts[1:]),
    )
    files.write(replace(comparison, models=(changed, *comparison.models[1:])), tmp_path)
    again = files.read(tmp_path).models[0]
    assert [r.doubts for r in again.runs] == [(doubt,), *[()] * (len(model.runs) - 1)]
    assert (again.verdicts[0].evidence, again.verdicts[0].findings) == ("movement", (finding,))
    raw = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    del raw["models"][0]["runs"][0]["doubts"], raw["models"][0]["verdicts"][0]["evidence"]
    (tmp_path / "results.json").write_text(json.dumps(raw), encoding="utf-8")
    old = files.read(tmp_path).models[0]
    assert (old.runs[0].doubts, old.verdicts[0].evidence) == ((), "none")


def test_what_more_draws_cannot_decide_reads_back(comparison: Comparison, tmp_path: Path) -> None:
    """Which sample's limit is too low is in every finding; older files know none."""
    model = next(m for m in comparison.models if any(v.findings for v in m.verdicts))
    verdict = next(v for v in model.verdicts if v.findings)
    beyond = replace(verdict.findings[0], level="unsure", beyond="exact")
    verdict = replace(verdict, findings=(beyond,), by_seed=())
    model = replace(model, verdicts=(verdict,), explanation=None, trials=())
    files.write(replace(comparison, models=(model,)), tmp_path)
    path = tmp_path / "results.json"

    def found() -> object:
        return files.read(tmp_path).models[0].verdicts[0].findings[0].beyond

    assert found() == "exact"
    plain = json.loads(path.read_text(encoding="utf-8"))
    for row in plain["models"][0]["verdicts"][0]["findings"]:
        row.pop()
    path.write_text(json.dumps(plain), encoding="utf-8")
    assert found() is None


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (None, "no results in"),
        ("{", "is damaged"),
        ("[]", "has schema list"),
        ('{"schema": 99}', "has schema 99"),
        ('{"schema": 1, "models": [{}], "claims": []}', "is damaged"),
    ],
)
def test_unreadable_results_say_what_to_do(tmp_path: Path, text: str | None, match: str) -> None:
    """Missing, cut and foreign files name the command that makes new ones."""
    if text is not None:
        (tmp_path / "results.json").write_text(text)
    with pytest.raises(files.ResultsError, match=match) as caught:
        files.read(tmp_path)
    assert "harness compare" in str(caught.value)


SKEWNESS = {"of": "theta", "skewness": [0.61, 0.02], "l_skewness": [0.1, math.inf]}
SKEW = Cause("family", "skew", 0.0412345678901, SKEWNESS)
COLLAPSED = Cause("method", "particles collapse", math.nan, {"said": "so"})
GAPS = (
    Gap("meanfield", 1, "meanfield", Estimate(0.1 + 0.2, 1e-9), Estimate(2e4, math.inf), (SKEW,)),
    Gap(
        "fullrank",
        2,
        "fullrank",
        Estimate(math.inf, math.inf),
        Estimate(-math.inf, 0.0),
        (SKEW, COLLAPSED),
        exact=False,
        words="Too few draws.",
    ),
)
WHY = Explanation(Estimate(-5_600_123.456_789, 0.01), "bridge sampling", GAPS, ("One.", "Two."))
TRIED = Trial(
    "meanfield", "smaller step", "meanfield", {"eta": 0.1}, "fail", "pass", "bias", "m",
    Estimate(1.5, 0.1), Estimate(0.01, 0.1), 3.0, 0.25, "helps",
    facts={"seeds": 3, "at": 3, "worst": False, "chance": 0.5}, luck=True,
)  # fmt: skip
HINT = Trial(
    "meanfield", "reparameterise", "meanfield", {}, "fail", None, "khat", None,
    Estimate(math.inf, 0.0), Estimate(-math.inf, 0.0), math.inf, 0.25, "not tried",
    "changes the program", {"funnel": {"said": "so"}},
)  # fmt: skip


@pytest.fixture(scope="module")
def explained(comparison: Comparison) -> Comparison:
    """Return the comparison with reasons and remedies on its first model."""
    first, *others = comparison.models
    why = replace(first, explanation=WHY, trials=(TRIED, HINT))
    return replace(comparison, models=(verdicts.explained(why), *others))


def test_reasons_and_remedies_read_back_exactly(explained: Comparison, tmp_path: Path) -> None:
    """Every digit, infinities and None come back unchanged."""
    files.write(explained, tmp_path)
    again = files.read(tmp_path)
    # A NaN is equal to nothing, but is written like another.
    assert repr(again.models[0].explanation) == repr(WHY)
    assert again.models[0].trials == (TRIED, HINT)
    for old, new in zip(explained.models[0].verdicts, again.models[0].verdicts, strict=True):
        assert repr((new.causes, new.remedies)) == repr((old.causes, old.remedies))
    assert [m.explanation for m in again.models[1:]] == [None] * (len(again.models) - 1)
    assert [m.trials for m in again.models[1:]] == [()] * (len(again.models) - 1)


def test_chain_causes_are_found_again_among_many_findings(
    explained: Comparison, tmp_path: Path
) -> None:
    """A hundred wrong quantities do not push the chains' own findings out of the file."""
    first = next(m for m in explained.models if any(r.spec.method == "nuts" for r in m.runs))

    def finding(metric: str, quantity: str, level: Closeness, value: float) -> Finding:
        measure = Measure(first.model.name, "nuts", 1, quantity, metric, value, 0.0, "exact")
        return Finding(rules_for()[metric], measure, level, f"{metric} of {quantity} is {value}.")

    found = tuple(finding("bias", f"x[{i}]", "wrong", 9.0 - i / 100) for i in range(100))
    found += (finding("rhat", "x[1]", "off", 1.3), finding("rhat", "x[2]", "off", 1.2))
    found += (finding("ess_bulk", "x[3]", "off", 90.0), finding("ebfmi", "x[4]", "off", 0.2))
    seed = SeedVerdict(1, "fail", "ok", found)
    nuts = Verdict(first.model.name, "nuts", "fail", "fail", 1, 1, "bad", found, by_seed=(seed,))
    model = replace(first, verdicts=(nuts,), explanation=replace(WHY, gaps=()), trials=())
    model = verdicts.explained(model)
    files.write(replace(explained, models=(model,), claims=()), tmp_path)
    (again,) = files.read(tmp_path).models[0].verdicts
    assert [c.cause.name for c in again.causes] == ["chains do not mix", "slow mixing"]
    assert repr(again.causes) == repr(model.verdicts[0].causes)
    for kept, most in ((again.findings, 60), (again.by_seed[0].findings, 4)):
        assert len(kept) <= most
        sentences = [f.sentence for f in kept]
        for metric in ("bias", "rhat", "ess_bulk", "ebfmi"):
            gravest = next(f.sentence for f in found if f.measure.metric == metric)
            assert gravest in sentences


def test_measures_are_kept_once_and_read_back(comparison: Comparison, tmp_path: Path) -> None:
    """In measures.csv alone, plain or compressed, whatever is in a quantity's name."""
    entry = comparison.models[0]
    measure = replace(entry.measures[0], quantity='beta[1,2] "{x}"\n')
    entry = replace(entry, measures=(measure, *entry.measures[1:]))
    files.write(replace(comparison, models=(entry, *comparison.models[1:])), tmp_path)
    assert "beta[1,2]" not in (tmp_path / "results.json").read_text()
    first = files.read(tmp_path).models[0]
    assert first.measures[0].quantity == measure.quantity
    for name in ("results.json", "measures.csv"):
        path = tmp_path / name
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    packed = files.read(tmp_path).models
    assert repr(packed[0].measures) == repr(first.measures)
    assert [m.levels for m in packed] == [m.levels for m in comparison.models]
    files.write(comparison, tmp_path)
    assert not list(tmp_path.glob("*.gz"))


def test_older_results_have_their_measures_inside(comparison: Comparison, tmp_path: Path) -> None:
    """Files of schema 1 need no measures.csv."""
    files.write(comparison, tmp_path)
    raw = json.loads((tmp_path / "results.json").read_text())
    raw["schema"] = 1
    for model, entry in zip(raw["models"], comparison.models, strict=True):
        model["measures"] = [
            [m.method, m.seed, m.quantity, m.metric, *map(to_json, (m.value, m.mcse)), level]
            for m, level in zip(entry.measures, entry.levels, strict=True)
        ]
    now = files.read(tmp_path)
    (tmp_path / "results.json").write_text(json.dumps(raw))
    (tmp_path / "measures.csv").unlink()
    old = files.read(tmp_path)
    assert repr([m.measures for m in old.models]) == repr([m.measures for m in now.models])


@pytest.mark.parametrize("damage", ["absent", "a digit", "cut", "not UTF-8", "a cut archive"])
def test_measures_of_other_results_are_refused(
    comparison: Comparison, tmp_path: Path, damage: str
) -> None:
    """A file that is absent, cut or changed is never taken for the results' own."""
    files.write(comparison, tmp_path)
    path = tmp_path / "measures.csv"
    content = path.read_bytes()
    path.unlink()
    if damage == "a digit":
        path.write_bytes(content[:-3] + b"7" + content[-2:])
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "not UTF-8":
        path.write_bytes(b"\xff" + content)
    elif damage == "a cut archive":
        path.with_name("measures.csv.gz").write_bytes(gzip.compress(content)[:-20])
    with pytest.raises(files.ResultsError, match=r"measures\.csv is damaged.* run harness compare"):
        files.read(tmp_path)


def test_line_ends_that_git_changes_are_no_damage(comparison: Comparison, tmp_path: Path) -> None:
    """Windows' line ends in measures.csv read back as they were."""
    files.write(comparison, tmp_path)
    before = files.read(tmp_path)
    path = tmp_path / "measures.csv"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert repr(files.read(tmp_path).models[0].measures) == repr(before.models[0].measures)


def test_a_file_that_cannot_be_written_to_its_end_stays_as_it_was(tmp_path: Path) -> None:
    """And nothing is left beside it."""
    path = tmp_path / "index.html"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "new" * 100_000 + "\udc80")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["index.html"]


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    """Return the rows of a CSV file."""
    with (folder / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_reasons_and_remedies_have_tables_of_their_own(
    explained: Comparison, tmp_path: Path
) -> None:
    """A row a gap and a row a trial; the table of verdicts has both in a few words."""
    files.write(explained, tmp_path)
    first, second = rows(tmp_path, "gaps")
    assert list(first.values()) == [
        "mixture", "meanfield", "1", "meanfield", "0.3", "1e-09", "20000", "inf", "skew", "true",
        "",
    ]  # fmt: skip
    assert (second["family_gap"], second["optimiser_gap"]) == ("inf", "-inf")
    assert second["cause"] == "skew; particles collapse"
    assert (second["exact"], second["words"]) == ("false", "Too few draws.")
    tried, hint = rows(tmp_path, "trials")
    assert list(tried.values()) == [
        "mixture", "meanfield", "smaller step", "a fixed step size of 0.1", "fail", "pass", "bias",
        "m", "1.5", "0.01", "0.25", "3", "true",
    ]  # fmt: skip
    assert (hint["level_after"], hint["quantity"], hint["before"]) == ("", "", "inf")
    verdict = next(r for r in rows(tmp_path, "verdicts") if r["method"] == "meanfield")
    assert verdict["cause"].startswith("family: skew, 0.041")
    assert verdict["remedy"] == "smaller step passes (3.0 s)"


def test_older_results_keep_the_sentences_of_causes_and_trials(
    explained: Comparison, tmp_path: Path
) -> None:
    """Their sentences are kept as evidence, and remedies that helped still do."""
    files.write(explained, tmp_path)
    path = tmp_path / "results.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    for gap in raw["models"][0]["explanation"]["gaps"]:
        for cause in gap["causes"]:
            del cause["figures"]
            cause["evidence"] = "theta is skewed"
    for trial in raw["models"][0]["trials"]:
        for key in ("ran", "options", "outcome", "reason", "facts"):
            del trial[key]
        trial |= {"what": "a small step", "words": "It passes."}
    path.write_text(json.dumps(raw), encoding="utf-8")
    (model, *_) = files.read(tmp_path).models
    verdict = next(v for v in model.verdicts if v.method == "meanfield")
    assert "theta is skewed" in " ".join(words.cause_sentences(verdict))
    assert words.remedy_in_short(verdict) == "smaller step passes (3.0 s)"
    assert words.remedy_sentences(verdict) == ("It passes.", "It passes.")
    assert [words.remedy_what(t) for t in model.trials] == ["a small step"] * 2
    assert [t.helps for t in model.trials] == [True, False]


def test_files_from_before_the_question_read_as_nobody_asked(
    explained: Comparison, tmp_path: Path
) -> None:
    """Results without the new keys are read, not called damaged."""
    files.write(explained, tmp_path)
    path = tmp_path / "results.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    for model in raw["models"]:
        del model["explanation"], model["trials"]
        for verdict in model["verdicts"]:
            for key in ("cause", "remedy", "causes", "remedies"):
                del verdict[key]
    path.write_text(json.dumps(raw), encoding="utf-8")
    again = files.read(tmp_path)
    assert {m.explanation for m in again.models} == {None}
    assert {m.trials for m in again.models} == {()}
    assert {(v.causes, v.remedies) for m in again.models for v in m.verdicts} == {((), ())}


def test_reasons_that_are_damaged_are_said_to_be(explained: Comparison, tmp_path: Path) -> None:
    """A gap without its error is not read as one that is sharp."""
    files.write(explained, tmp_path)
    path = tmp_path / "results.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    raw["models"][0]["explanation"]["gaps"][0]["family_gap"] = [0.3]
    path.write_text(json.dumps(raw), encoding="utf-8")
    with pytest.raises(files.ResultsError, match="is damaged"):
        files.read(tmp_path)


def test_draws_of_another_run_are_never_read(comparison: Comparison, tmp_path: Path) -> None:
    """A file of the same method and seed that holds another run's draws is left alone."""
    files.write(comparison, tmp_path)
    model = next(m for m in comparison.models if any(r.draws is not None for r in m.runs))
    run = next(r for r in model.runs if r.draws is not None)
    name = f"{run.spec.method}-{run.spec.seed}"
    for key in ("another", run.key):
        write_draws(tmp_path / "draws" / model.model.name, name, key, run.draws, None)
        read = next(m for m in files.read(tmp_path).models if m.model.name == model.model.name)
        found = next(r for r in read.runs if r.key == run.key)
        assert (found.draws is not None) is (key == run.key)
