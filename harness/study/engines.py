"""The engines that a comparison has, and which of them makes a run."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from harness import stan
from harness.methods.method import Method
from harness.records import EngineName, Model, Program, RunSpec
from harness.stan import bridge, embedded

Wanted = Literal["auto", "both", "spare", "embedded", "cmdstan"]
"""What is asked for: with ``both``, densities by the embedded engine and CmdStan for its own rows;
``auto`` is the same where there is a CmdStan, and installs none. With ``spare``, a CmdStan that is
there makes only the runs of programs that the embedded engine refuses."""

_OF: Mapping[EngineName, tuple[str, ...]] = {
    "embedded": ("embedded",),
    "cmdstan": ("cmdstan", "compiler"),
}
"""Versions that can change a draw of an engine, and so are part of the keys of its runs."""

_ELSEWHERE: Mapping[EngineName, tuple[str, ...]] = {
    "embedded": ("cmdstan", "compiler", "cmdstanpy"),
    "cmdstan": ("embedded",),
}
"""Versions of what had no part in a run of an engine."""


class NoEngineError(RuntimeError):
    """A run that no engine here can make; the message says what it needs."""


@dataclass(frozen=True, slots=True)
class Engines:
    """What evaluates programs in this comparison."""

    versions: Mapping[str, str]
    """Of all that results depend on; ``cmdstan`` and ``embedded`` only where they are used."""
    cmdstan: stan.CmdStan | None = None
    absent: Mapping[EngineName, str] = field(default_factory=dict)
    """Why an engine is not used, though it was not ruled out."""
    spare: bool = False
    """Whether CmdStan is used only for programs that the embedded engine refuses."""

    @property
    def embedded(self) -> bool:
        """Whether the embedded engine is used."""
        return "embedded" in self.versions

    def keyed(self, engine: EngineName | None, row: Method, spec: RunSpec) -> dict[str, str]:
        """Return the versions on which the draws of a method's run depend."""
        if engine is None:
            return {}
        versions = {name: self.versions[name] for name in _OF[engine]}
        if engine == "cmdstan" and row.bridge:
            versions["bridge"] = bridge.version()
        if self._helped(row, spec):
            versions["embedded"] = self.versions["embedded"]
        return versions

    def _helped(self, row: Method, spec: RunSpec) -> bool:
        """Tell whether a run of CmdStan's starts at draws that the embedded engine may make."""
        return self.embedded and row.helped(spec.options)

    def of_run(
        self, program: Program, engine: EngineName | None, row: Method, spec: RunSpec
    ) -> Program:
        """Return a program with one engine only, so that a run cannot take the other."""
        left_out = () if engine is None or self._helped(row, spec) else _ELSEWHERE[engine]
        versions = {k: v for k, v in program.versions.items() if k not in left_out}
        if engine == "cmdstan":
            embedded = program.embedded and self._helped(row, spec)
            return dataclasses.replace(program, versions=versions, embedded=embedded)
        return dataclasses.replace(
            program, versions=versions, executable=None, cmdstan=None, library=None
        )

    def of(self, row: Method, model: Model, refused: Mapping[EngineName, str]) -> EngineName | None:
        """Return the engine that makes a method's runs, None for a method that needs none.

        ``refused`` has the words of engines that cannot serve this program. A model may ask for
        CmdStan in a method's settings; that is a wish, and not heard where there is none.

        Raises
        ------
        NoEngineError
            If there is none for it.
        """
        if not (row.bridge or row.since):
            return None
        words = {**self.absent, **refused}
        wished = not self.spare and (
            row.since is not None or model.settings.get(row.name, {}).get("engine") == "cmdstan"
        )
        old = (
            self.cmdstan is not None and row.since is not None and self.cmdstan.version < row.since
        )
        compiled = self.cmdstan is not None and "cmdstan" not in refused and not old
        serves = self.embedded and "embedded" not in refused and not row.rebinds
        if compiled and (wished or not serves):
            return "cmdstan"
        if serves:
            return "embedded"
        if self.cmdstan is not None and set(refused) == {"embedded", "cmdstan"}:
            raise NoEngineError(_both(refused, self.cmdstan))
        own = words.get("embedded", "the embedded engine was ruled out")
        if old and row.since is not None:
            wanted = ".".join(map(str, row.since))
            raise NoEngineError(f"needs CmdStan {wanted} or the embedded engine: {own}")
        refusal = "it binds new data at every step" if row.rebinds else own
        raise NoEngineError(f"needs a compiler: {refusal}; {words['cmdstan']}")


def _both(refused: Mapping[EngineName, str], cmdstan: stan.CmdStan) -> str:
    """Return why neither engine serves; what only an older CmdStan rejects may be right."""
    own, theirs = refused["embedded"], refused["cmdstan"]
    # What lacks only a function has passed Stan's newer compiler, and so has what fails later.
    accepted = "unsupported" in own or (_rejected(theirs) and not _rejected(own))
    if not (accepted and cmdstan.version < embedded.STAN_VERSION):
        return theirs
    return (
        f"the embedded engine cannot run it ({own.splitlines()[0]}), and CmdStan "
        f"{cmdstan.version_text} may be too old for it; that says: {theirs}"
    )


def _rejected(said: str) -> bool:
    """Tell whether Stan's compiler says that a program is none."""
    return re.match(r"(Syntax|Semantic) error", said) is not None


def quick(dask: str | None) -> Wanted:
    """Return the engines of a comparison without NUTS; workers elsewhere build no CmdStan."""
    return "embedded" if dask else "spare"


def choose(wanted: Wanted, say: Callable[[str], None]) -> Engines:
    """Return the engines of a comparison; CmdStan is installed only where nothing else serves.

    Raises
    ------
    harness.stan.ToolchainError
        If what is wanted is not there and cannot be installed.
    """
    why_not = embedded.available()
    if wanted == "cmdstan" or (wanted != "embedded" and why_not):
        cmdstan = stan.ensure_cmdstan(say)
        absent: dict[EngineName, str] = {} if wanted == "cmdstan" else {"embedded": why_not}
        return Engines(stan.run_versions(cmdstan), cmdstan, absent)
    if why_not:
        raise stan.ToolchainError(f"{why_not}; without it a compiler is needed: --engine cmdstan")
    own = {"embedded": embedded.version()}
    if wanted == "both":
        cmdstan = stan.ensure_cmdstan(say)
        return Engines({**stan.run_versions(cmdstan), **own}, cmdstan)
    if wanted == "embedded":
        ruled = "CmdStan, which may run it, is ruled out by --engine embedded"
        return Engines({**stan.run_versions(None), **own}, None, {"cmdstan": ruled})
    spare = wanted == "spare"
    found = stan.find_cmdstan()
    try:
        if found is not None:
            return Engines({**stan.run_versions(found), **own}, found, spare=spare)
        lacking = "there is no CmdStan"
    except stan.ToolchainError as error:
        lacking = str(error)
    if spare:
        lacking += ", which may run it; `harness doctor --install` installs it"
        return Engines({**stan.run_versions(None), **own}, None, {"cmdstan": lacking})
    say(
        f"{lacking}: NUTS and ADVI are those of {own['embedded']}, whose densities nothing "
        "compares with CmdStan's, and methods that need a compiler are left out; "
        "`harness doctor --install` installs CmdStan"
    )
    return Engines({**stan.run_versions(None), **own}, None, {"cmdstan": lacking})
