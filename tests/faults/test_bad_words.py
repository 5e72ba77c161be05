"""Bad input ends in one line that says what is allowed, with exit code 2, before anything runs."""

from __future__ import annotations

import json
import time
import zipfile
from pathlib import Path
from types import ModuleType

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from report_fixture import build, normal
from scripts import load

from harness.check.baseline.file import dumps
from harness.cli import main
from harness.intake import DrawsError, read_draws_files
from harness.models.data import ModelError, read_data
from harness.models.folders import load as load_model
from harness.models.folders import user_model
from harness.records import Draws
from harness.records.untrusted import file_name, inside, parse_json, read_bytes, unpacked
from harness.report import files
from harness.report.files.netcdf import remove_draws, to_datatree

PROGRAM = "data { int N; vector[N] y; } parameters { real m; } model { y ~ normal(m, 1); }\n"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return a folder with a model folder ``m``, its program beside, and data."""
    folder = tmp_path / "m"
    folder.mkdir()
    for path in (folder / "m.stan", tmp_path / "m.stan"):
        path.write_text(PROGRAM)
    (tmp_path / "m.json").write_text('{"N": 1, "y": [1]}')
    (folder / "data.json").write_text('{"N": 1, "y": [1]}')
    return tmp_path


def refused(*words: object) -> str:
    """Run a command that must be refused in one line; return the line."""
    result = CliRunner().invoke(main, [str(w) for w in words])
    assert result.exit_code == 2, (result.output, result.exception)
    assert isinstance(result.exception, SystemExit)
    said = result.output.strip().splitlines()[-1]
    assert said.startswith("Error: ")
    assert "Traceback" not in result.output
    return said


@pytest.mark.parametrize(
    "words",
    [
        *(("--timeout", t) for t in ("nan", "inf", "-1", "0", "1e400", "1e300", "a")),
        *(("--seeds", n) for n in ("0", "1001", "1.5", "nan")),
        *(("--jobs", n) for n in ("0", "-1", "1000000000")),
        *(
            ("--set", s)
            for s in (
                "nuts.chains=0", "nuts.chains=1e9", "nuts.chains=nan", "nuts.chains=" + "9" * 5000,
                "nuts.max_treedepth=1000", "nuts.adapt_delta=1", "meanfield.tol_rel_obj=-1",
                "meanfield.tol_rel_obj=nan", "meanfield.iter=1e18", "dadvi.base_draws=1e15",
                "svgd.particles=1e9", "nuts.=1", "=", "nope.chains=1",
            )
        ),
    ],
    ids=lambda words: "".join(words)[:40],
)  # fmt: skip
def test_an_option_out_of_range_is_refused(model: Path, words: tuple[str, ...]) -> None:
    """NaN, infinity, zero and counts that no machine holds are refused before anything runs."""
    assert len(refused("compare", model / "m.stan", model / "m.json", *words)) < 1000


@pytest.mark.parametrize("name", ["--alpha", "--location", "--scale", "--timeout"])
def test_a_check_takes_no_nan(name: str) -> None:
    """A margin or a level that is NaN would make everything the same."""
    assert "not a number" in refused("check", name, "nan")


BAD_DATA: dict[str, tuple[str | bytes, str]] = {
    "deep": ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
    "deep inside": ('{"N": ' + "[" * 60 + "]" * 60 + "}", "nested too deeply"),
    "digits": ('{"N": ' + "9" * 5000 + "}", "more than 4300 digits"),
    "twice": ('{"N": 1, "N": 2, "y": []}', "'N' stands twice"),
    "twice inside": ('{"N": 1, "y": {"a": 1, "a": 2}}', "'a' stands twice"),
    "latin": (b'{"caf\xe9": 1}', "is not a JSON file"),
    "empty": ("", "is empty"),
    "array": ("[1]", "holds a JSON list"),
    "number": ("3", "holds a JSON int"),
    "zeros": (b"\0" * 100, "not valid JSON"),
}


@pytest.mark.parametrize("kind", BAD_DATA)
def test_data_that_are_none_are_refused(model: Path, kind: str) -> None:
    """Nested without end, thousands of digits, keys twice, no UTF-8, empty, no object."""
    content, words = BAD_DATA[kind]
    path = model / "bad.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert words in refused("compare", model / "m.stan", path)
    with pytest.raises(ModelError, match=words):
        read_data(path)


def test_data_from_a_device_are_not_read() -> None:
    """A device or a pipe may never end."""
    with pytest.raises(ModelError, match="no regular file"):
        read_data(Path("/dev/zero"))


CLAIM = 'title = "a"\n[[claims]]\ntext = "x"\nfigure = {{method = "nuts", metric = "bias"}}\n{}'
BAD_TOML: dict[str, str | bytes] = {
    "empty": "",
    "latin": b'title = "\xe9"',
    "deep": "a = " + "[" * 100_000 + "]" * 100_000,
    "digits": "a = " + "9" * 5000,
    "seeds": 'title = "a"\n[settings.nuts]\nseeds = "a"',
    "no seeds": 'title = "a"\n[settings.nuts]\nseeds = 0',
    "draws": 'title = "a"\n[settings.nuts]\ndraws = nan',
    "engine": 'title = "a"\n[settings.nuts]\nengine = "x"',
    "limit": 'title = "a"\n[limits.bias]\nclose = inf',
    "reference": 'title = "a"\nreference = "nobody"',
    **{e: CLAIM.format(f"expect = {{{e}}}") for e in ("at_most = nan", "at_most = true",
       "near = inf", "near = 1, within = nan")},
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD_TOML)
def test_a_damaged_model_folder_is_refused(model: Path, kind: str) -> None:
    """What ``model.toml`` sets has the type and the range that it must have."""
    content = BAD_TOML[kind]
    path = model / "m" / "model.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert str(path) in refused("compare", model / "m")
    with pytest.raises(ModelError):
        load_model(str(model / "m"))


@pytest.mark.parametrize(
    "toml",
    [
        "[settings.nuts]\nchains = 0",
        "[settings.nobody]\nseeds = 1",
        'methods = ["nobody"]',
        "[limits.nobody]\nclose = 1",
    ],
)
@pytest.mark.usefixtures("isolated_cache")
def test_a_model_folder_asks_for_what_there_is(model: Path, toml: str) -> None:
    """An unknown method or metric, or an option out of range, is that model's error."""
    (model / "m" / "model.toml").write_text(f'title = "a"\n{toml}\n')
    said = refused("compare", model / "m", "--quick", "--methods", "laplace", "--quiet")
    assert said.startswith("Error: m: ")


NAMES = (
    "", ".", "..", ".hidden", "../evil", "a/b", "a\\b", "a\0b", "a\nb", "a\x1b[2Jb", "a\u202eb",
    "a\u2066b", "\ud800", "x" * 101, "é" * 60, None, 3, ["a"],
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_is_one_that_stays_where_it_is_put(name: object) -> None:
    """No separator, leading dot, control or bidirectional character, and no name too long."""
    with pytest.raises(ValueError, match="name"):
        file_name(name)


def test_plain_names_are_names() -> None:
    """Letters of any script, spaces and points inside are fine."""
    for name in ("m", "eight_schools-8", "modèle 2.1", "δ", "x" * 100):
        assert file_name(name) == name


@pytest.mark.parametrize("name", [".hidden.stan", "a\u202eb.stan", "a\x1bb.stan", "x" * 120])
def test_a_program_with_such_a_name_is_refused(tmp_path: Path, name: str) -> None:
    """The name of a program becomes that of folders, files and headings."""
    path = tmp_path / (name if name.endswith(".stan") else f"{name}.stan")
    path.write_text(PROGRAM)
    with pytest.raises(ModelError, match="cannot be a model's"):
        user_model(path, None)


@pytest.mark.parametrize("name", ["x" * 300 + ".stan", "a\0b.stan", "x" * 5000, "a\0b"])
def test_names_that_no_file_can_have_are_unknown(name: str) -> None:
    """A name beyond the file system's limits is a model that there is not."""
    assert "no such Stan program" in refused("compare", name) or "unknown" in refused(
        "compare", name
    )
    refused("judge", name, "--against", name)
    refused("check", name)
    if "\0" not in name:  # no shell can pass it on
        refused("report", name)
        refused("league", name)


def test_files_have_a_size_that_is_allowed(tmp_path: Path) -> None:
    """A file, and what an archive unpacks to, is measured before it is read."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("big.json", "0" * 10_000_000)
    with zipfile.ZipFile(path) as archive, pytest.raises(ValueError, match="10000000 bytes"):
        unpacked(archive, "big.json", 1000)
    with pytest.raises(ValueError, match="bytes; allowed: 100"):
        read_bytes(path, 100)
    assert read_bytes(path).startswith(b"PK")


def test_a_link_is_not_followed_out(tmp_path: Path) -> None:
    """A path stays inside its folder, wherever links lead."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "out").symlink_to(tmp_path)
    assert inside(tmp_path / "in" / "x", tmp_path / "in")
    for bad in ("../x", "out/x", "/etc/passwd"):
        with pytest.raises(ValueError, match="leads out"):
            inside(tmp_path / "in" / bad, tmp_path / "in")


def test_json_has_every_key_once() -> None:
    """The last of two would silently win."""
    assert parse_json('{"a": {"b": 1}, "b": NaN}')["a"] == {"b": 1}
    with pytest.raises(ValueError, match="'b' stands twice"):
        parse_json(b'{"a": {"b": 1, "b": 2}}')
    with pytest.raises(ValueError, match="NaN is not a number"):
        parse_json("NaN", constants=False)


# --- results of strangers ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the results of small comparisons, without draws."""
    folder = tmp_path_factory.mktemp("results")
    rng = np.random.default_rng(1)
    files.write(build(folder, parts=[lambda: normal(folder, 2, 200, rng)]), folder)
    return folder


def altered(results: Path, folder: Path, **model: object) -> Path:
    """Copy results with something of the first model replaced."""
    folder.mkdir()
    for path in results.iterdir():
        if path.suffix in {".csv", ".json"}:
            (folder / path.name).write_bytes(path.read_bytes())
    raw = json.loads((folder / "results.json").read_text())
    raw["models"][0]["model"] |= model
    (folder / "results.json").write_text(json.dumps(raw))
    return folder


@pytest.mark.parametrize(
    "model",
    [
        {"name": "../../../evil", "stan_file": "x/.bashrc"},
        {"name": "../evil"},
        {"name": "/evil"},
        {"name": "a\u202eb"},
        {"stan_file": "x/.bashrc"},
        {"stan_file": "x/authorized_keys"},
    ],
    ids=str,
)
def test_a_report_writes_nothing_where_the_results_say(
    results: Path, tmp_path: Path, model: dict[str, str]
) -> None:
    """Names in ``results.json`` name no place: they are refused, and nothing is written."""
    folder = altered(results, tmp_path / "r", **model)
    before = set(tmp_path.rglob("*"))
    assert "is damaged" in refused("report", folder)
    assert "is damaged" in refused("league", folder, "--out", tmp_path / "r" / "league")
    assert set(tmp_path.rglob("*")) == before


def test_a_report_follows_no_link_out(results: Path, tmp_path: Path) -> None:
    """Where ``draws`` is a link to another folder, nothing is read or written there."""
    folder = altered(results, tmp_path / "r")
    (tmp_path / "other").mkdir()
    (folder / "draws").symlink_to(tmp_path / "other")
    assert "leads out" in refused("report", folder)
    assert not list((tmp_path / "other").iterdir())


def test_no_index_of_draws_names_a_file_elsewhere(tmp_path: Path) -> None:
    """An index is in the folder of the results: its files may be removed, and no others."""
    (tmp_path / "draws").mkdir()
    (tmp_path / "mine.nc").write_text("mine")
    (tmp_path / "draws" / "keys.json").write_text('{"../mine": "0"}')
    remove_draws(tmp_path / "draws")
    assert (tmp_path / "mine.nc").read_text() == "mine"


# --- at random -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    """Return ``benchmarks/fuzz.py``."""
    return load(Path(__file__).parents[2] / "benchmarks" / "fuzz.py")


def test_two_thousand_inputs_are_taken_or_refused(fuzz: ModuleType, results: Path) -> None:
    """Files and words damaged at random are refused in one line, or taken; nothing else."""
    from baseline_builders import whole

    found = fuzz.readers(json.loads(dumps(whole())), results)
    assert not fuzz.loop(found, 2000, seed=20261129)


def test_the_loop_finds_what_is_wrong(fuzz: ModuleType) -> None:
    """A reader that lets an error through, or says it in two lines, is found."""
    found = fuzz.Reader(lambda *_: None, lambda _: 1 / 0, ModelError)
    assert fuzz.loop({"zero": found}, 3, 1).total() == 3

    def two_lines(_: Path) -> None:
        raise ModelError("a\nb")

    assert (
        fuzz.loop({"two": fuzz.Reader(lambda *_: None, two_lines, ModelError)}, 3, 1).total() == 3
    )


def test_the_loop_finds_what_never_ends(fuzz: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that does not end is found, also if it takes the end of its time for bad input."""
    monkeypatch.setattr(fuzz, "LIMIT_S", 0.05)

    def endless(_: Path) -> None:
        try:
            time.sleep(5)
        except TimeoutError as error:
            raise ModelError("it cannot be read") from error

    assert fuzz.loop({"z": fuzz.Reader(lambda *_: None, endless, ModelError)}, 2, 1).total() == 2


@pytest.mark.parametrize("inside", ["posterior", "/"])
def test_a_file_whose_group_contains_itself_is_refused(tmp_path: Path, inside: str) -> None:
    """Such a NetCDF file has no end; one wrong byte can make it."""
    path = tmp_path / "draws.nc"
    draws = Draws(("a",), np.random.default_rng(1).normal(size=(2, 10, 1)))
    to_datatree(draws).to_netcdf(path, engine="h5netcdf")
    assert read_draws_files(str(path))
    with h5py.File(path, "a") as file:
        file["posterior/again"] = file[inside]
    with pytest.raises(DrawsError, match=r"draws\.nc is damaged: the group /posterior/again"):
        read_draws_files(str(path))
