"""A check as JUnit XML and as GitHub's annotations: what machines read."""

import dataclasses
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import check_outcomes as outcomes
import pytest
from check_outcomes import NASTY, mean
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.check.baseline.change import AddedSeeds, Change, CheckOutcome, ModelCheck, NoMoments
from harness.check.show import annotations, junit
from harness.check.show.annotations import MOST
from harness.records.text import one_line

COUNTS = {"tests", "failures", "errors"}
# From junit-10.xsd of Jenkins' xUnit plugin, the strictest of the common readers.
SCHEMA: dict[str, tuple[set[str], set[str], set[str]]] = {
    "testsuites": (set(), {"name", "time", *COUNTS}, {"testsuite"}),
    "testsuite": (
        {"name", *COUNTS},
        {"time", "skipped", "timestamp", "hostname", "id", "package", "file", "log", "url"},
        {"testsuite", "properties", "testcase", "system-out", "system-err"},
    ),
    "testcase": (
        {"name", "classname"},
        {"time", "group"},
        {"skipped", "error", "failure", "system-out", "system-err"},
    ),
    "failure": (set(), {"type", "message"}, set()),
    "error": (set(), {"type", "message"}, set()),
    "system-out": (set(), set(), set()),
}
"""Element: attributes it must have, others that it may have, and what may stand in it."""

texts = st.one_of(st.text(max_size=40), st.sampled_from(NASTY))


@st.composite
def checks(draw: st.DrawFn) -> CheckOutcome:
    """Return any check: models of any names with changes of any conclusions, errors, candidates."""
    models = []
    for _ in range(draw(st.integers(0, 3))):
        name = draw(texts)
        methods = st.sampled_from(["", "nuts", "model", name])
        changes = draw(
            st.lists(
                st.builds(
                    lambda conclusion, method, quantity, name=name: mean(
                        conclusion, model=name, method=method, quantity=quantity
                    ),
                    st.sampled_from(["same", "changed", "inconclusive"]),
                    methods,
                    texts,
                ),
                max_size=15,
            )
        )
        error = draw(st.none() | texts)
        models.append(
            ModelCheck(name, tuple(changes), error=error, notes=(NoMoments(name, draw(texts), 10),))
        )
    return CheckOutcome(tuple(models), seconds=2.0, command=draw(texts))


def read(outcome: CheckOutcome) -> ET.Element:
    """Parse a check's JUnit XML and hold it to the readers' rules."""
    text = junit(outcome)
    root = ET.fromstring(text.encode())  # noqa: S314 - written by ourselves one line above
    assert root.tag == "testsuites"
    for element in root.iter():
        needed, allowed, inside = SCHEMA[element.tag]
        assert needed <= set(element.attrib) <= needed | allowed
        assert {child.tag for child in element} <= inside
        if "time" in element.attrib:
            assert re.fullmatch(r"\d+\.\d{3}", element.attrib["time"])
    for suite in [root, *root]:
        for count, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error")):
            assert int(suite.attrib[count]) == len(list(suite.iter(tag)))
    for case in root.iter("testcase"):
        assert len(case.findall("failure")) + len(case.findall("error")) <= 1
    for suite in root:
        names = [case.attrib["name"] for case in suite]
        assert len(names) == len(set(names))
    return root


@settings(deadline=None)  # machines are shared
@given(checks())
def test_junit_obeys_its_readers_whatever_happened(outcome: CheckOutcome) -> None:
    """It parses, has only what readers know, counts right, and is green only for exit code 0."""
    root = read(outcome)
    failures, errors = int(root.attrib["failures"]), int(root.attrib["errors"])
    assert (failures > 0) == (outcome.exit_code == 1)
    assert (failures + errors == 0) == (outcome.exit_code == 0)


def test_one_suite_a_model_and_one_case_a_method() -> None:
    """Cases carry model and method, and one more the model itself."""
    root = read(outcomes.everything())
    assert [s.attrib["name"] for s in root] == ["mixture", "normal_mean", "fresh", "broken"]
    cases = [(c.attrib["classname"], c.attrib["name"]) for c in root[0]]
    assert cases[0] == ("mixture", "model")
    assert cases[1:] == [("mixture", m) for m in ("meanfield", "fullrank", "nuts", "laplace")]
    assert root.attrib["time"] == "93.400"
    assert root[0].attrib["timestamp"] == "2026-11-21T00:00:00"
    assert [c.find("failure") is None for c in root[1]] == [True, True]


def test_a_failure_shows_the_table_and_the_reasons() -> None:
    """The text of a failure is what the terminal shows of that method, and why it may be."""
    failure = read(outcomes.everything())[0][1].find("failure")
    assert failure is not None
    assert failure.text is not None
    assert failure.attrib == {
        "message": "3 figures changed; 2 figures undecided",
        "type": "changed",
    }
    assert "0.352 ± 0.002" in failure.text
    assert "× 0.85 (0.84 to 0.86; margin ÷/× 1.1)" in failure.text
    assert "the data changed" in failure.text
    out = read(outcomes.everything())[0][0].findtext("system-out")
    assert out is not None
    assert "-  real<lower=0> s;" in out


def test_candidates_fail_and_what_could_not_be_told_is_an_error() -> None:
    """A missing baseline is a failure that says what to do; no answer is an error."""
    root = read(outcomes.everything())
    candidate, broken = (root[i][0] for i in (2, 3))
    assert candidate[0].tag == "failure"
    assert "mv baselines/fresh.candidate.json" in (candidate[0].text or "")
    assert broken[0].attrib["type"] == "could not run"
    assert "is damaged" in broken[0].attrib["message"]
    open_ = read(outcomes.open_question())
    assert {e.attrib["type"] for e in open_.iter("error")} == {"inconclusive"}
    whole = Change("m", "", "", "reference", "moved", "changed", was="exact", now="nuts")
    assert read(CheckOutcome((ModelCheck("m", (whole,)),)))[0][0][0].tag == "failure"


def test_an_error_does_not_hide_what_changed() -> None:
    """A model that changed and could not be checked to the end is a failure with both texts."""
    whole = Change("m", "", "", "reference", "moved", "changed", was="exact", now="nuts")
    (failure,) = read(CheckOutcome((ModelCheck("m", (whole,), error="disk full"),)))[0][0]
    assert failure.tag == "failure"
    assert failure.attrib["message"] == "1 figure changed; disk full"
    assert failure.text is not None
    assert "disk full" in failure.text
    assert "exact" in failure.text


def test_nothing_checked_is_not_green() -> None:
    """An empty check and an empty model are errors: readers take silence for success."""
    for outcome in (CheckOutcome(()), CheckOutcome((ModelCheck("m", ()),))):
        assert read(outcome).attrib["errors"] == "1"


def test_the_time_is_written_in_plain_decimals() -> None:
    """One model has the check's time; where that is unknown, there is none."""
    for seconds, text in ((2.0, "2.000"), (1e-7, "0.000"), (1e6, "1000000.000")):
        root = read(dataclasses.replace(outcomes.same(), seconds=seconds))
        assert {e.get("time") for e in (root, root[0], root[0][0])} == {text}
    assert "time" not in read(dataclasses.replace(outcomes.same(), seconds=None)).attrib


@pytest.mark.parametrize("name", NASTY)
def test_names_come_out_of_the_xml_as_they_went_in(name: str) -> None:
    """Characters that XML allows are kept, and others are removed."""
    root = read(outcomes.named(name))
    assert root[0].attrib["name"] == one_line(name)
    assert root[0][0].attrib["classname"] == one_line(name)


# --- annotations ----------------------------------------------------------------------------


def parse(line: str) -> tuple[str, dict[str, str], str]:
    """Read a workflow command as GitHub's runner does."""
    found = re.fullmatch(r"::(error|notice) ([^:\r\n]*)::([^\r\n]*)", line)
    assert found is not None, line
    properties = dict(part.split("=", 1) for part in found[2].split(","))
    decoded = {k: _decoded(_decoded(v, ("%2C", ","), ("%3A", ":"))) for k, v in properties.items()}
    return found[1], decoded, _decoded(found[3])


def _decoded(text: str, *pairs: tuple[str, str]) -> str:
    for code, plain in pairs or (("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        text = text.replace(code, plain)
    return text


@settings(deadline=None)  # machines are shared
@given(checks())
def test_annotations_are_errors_exactly_where_the_check_is_not_zero(outcome: CheckOutcome) -> None:
    """At most ten errors, one a line, and none where everything is the same."""
    parsed = [parse(line) for line in annotations(outcome)]
    errors = [p for p in parsed if p[0] == "error"]
    assert (len(errors) > 0) == (outcome.exit_code != 0)
    assert len(errors) <= MOST


@pytest.mark.parametrize("name", NASTY)
def test_titles_and_messages_survive_the_escaping(name: str) -> None:
    """Colons, commas, per cents and line breaks come out of GitHub's decoding as they went in."""
    parsed = [parse(line) for line in annotations(outcomes.named(name))]
    plain = one_line(name)
    assert parsed[0][1]["title"] == f"{plain}: could not be checked".strip()
    titles = [p[1]["title"] for p in parsed]
    if plain:
        assert f"{plain} / {plain} / {plain} / mean: changed" in titles
        assert any(p[0] == "error" and plain in p[2].split("\n") for p in parsed)


def test_annotations_stand_at_the_baseline() -> None:
    """Each names the baseline's file, and says what moved and by how much."""
    kind, properties, message = parse(annotations(outcomes.open_question())[0])
    assert (kind, properties["file"]) == ("error", "baselines/mixture.json")
    assert properties["title"] == "mixture / meanfield / x / mean: undecided"
    assert message == ("1.024 ± 0.003 → 1.134 ± 0.003\n+0.31 sd (0.28 to 0.34; margin 0.1), 14 se")


def test_the_last_annotation_counts_what_github_does_not_show() -> None:
    """Nine of the gravest, every model's first, and one that counts the rest."""
    parsed = [parse(line) for line in annotations(outcomes.many(50, 3))]
    assert len(parsed) == MOST
    assert {p[1]["file"] for p in parsed[:9]} == {f"baselines/model_{i}.json" for i in range(3)}
    assert parsed[-1][1]["title"] == "141 more findings"
    assert "150 of 150 figures" in parsed[-1][2]
    ten = [parse(line) for line in annotations(outcomes.many(10))]
    assert "more" not in ten[-1][1]["title"]


def test_added_seeds_are_notices() -> None:
    """GitHub shows a notice where a check took more seeds; other notes are left out."""
    notes = (NoMoments("nuts", "seeds added", 10), AddedSeeds("meanfield", 20, 10))
    model = dataclasses.replace(outcomes.same().models[0], notes=notes)
    (line,) = annotations(CheckOutcome((model,)))
    assert parse(line) == (
        "notice", {"title": "normal_mean", "file": "baselines/normal_mean.json"},
        "meanfield: 20 seeds where the baseline has 10",
    )  # fmt: skip
    assert annotations(outcomes.same()) == []


def test_files_count_from_the_root_of_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder of a repository GitHub still finds the file; elsewhere it counts from here."""
    model = ModelCheck("m", (mean(),), path=Path("baselines/m.json"))
    (tmp_path / "models").mkdir()
    monkeypatch.chdir(tmp_path / "models")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    assert "file=models/baselines/m.json::" in annotations(CheckOutcome((model,)))[0]
    monkeypatch.delenv("GITHUB_WORKSPACE")
    assert "file=baselines/m.json::" in annotations(CheckOutcome((model,)))[0]
    inside = dataclasses.replace(model, path=tmp_path / "models" / "baselines" / "m.json")
    assert "file=baselines/m.json::" in annotations(CheckOutcome((inside,)))[0]
