"""What a comparison returns: its verdicts as tables, its draws as ArviZ trees, and its figures."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import stan
from harness.intake import read_reference
from harness.methods import makes
from harness.records import Comparison, Draws, ModelComparison, Verdict
from harness.records.text import listed
from harness.report import files
from harness.report.decision import decide
from harness.report.files.netcdf import to_datatree
from harness.report.rows import Row
from harness.study.store import Store

if TYPE_CHECKING:
    import pandas as pd
    from xarray import DataTree

    from harness.report.figures import Figure


class DrawsByMethod(Mapping[str, "DataTree"]):
    """Draws of one model's runs as ArviZ DataTrees, read when asked for.

    ``draws["meanfield"]`` is the first seed's; ``draws["meanfield", 3]`` the third's.
    """

    def __init__(
        self,
        model: str,
        runs: Collection[tuple[str, int]],
        read: Callable[[str, int], Draws | str],
    ) -> None:
        """Take runs by method and seed, and what returns draws, or why there are none."""
        self._model = model
        self._runs = runs
        self._read = read

    def __getitem__(self, name: str | tuple[str, int]) -> DataTree:
        """Return one run's draws.

        Raises
        ------
        KeyError
            For an unknown run, or one that ended without draws.
        """
        first = min((s for m, s in self._runs if m == name), default=1)
        method, seed = name if isinstance(name, tuple) else (name, first)
        if (method, seed) not in self._runs:
            known = ", ".join(f"{m} (seed {s})" for m, s in self._runs)
            raise KeyError(f"no run {method!r} with seed {seed}; there are {known}")
        found = self._read(method, seed)
        if isinstance(found, str):
            raise KeyError(f"{method} (seed {seed}) has no draws: {found}")
        about = {"model": self._model, "method": method, "seed": seed}
        about |= {"made_by": makes(method), "iid": found.iid}
        return to_datatree(found, about)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(m for m, _ in self._runs))

    def __len__(self) -> int:
        return len({m for m, _ in self._runs})


class ComparisonResult:
    """What :func:`harness.compare` and :func:`harness.judge` return.

    ``comparison`` is the full record, see :class:`harness.records.Comparison`.
    """

    def __init__(
        self,
        comparison: Comparison,
        figures: Mapping[str, tuple[Any, ...]],
        draws: Mapping[tuple[str, int], Draws] | None = None,
        reference: Draws | None = None,
    ) -> None:
        """Take a comparison with its figures, and draws where no store has them."""
        self.comparison = comparison
        self._reference = reference
        self._figures = figures
        self._draws = draws

    @property
    def complete(self) -> bool:
        """Whether all runs were made; False where Ctrl-C ended them, and the rest was judged.

        The same comparison again goes on from there.
        """
        return not self.comparison.provenance.get("interrupted", False)

    def __repr__(self) -> str:
        """Return the models and the answer on one line."""
        models = ", ".join(m.model.name for m in self.comparison.models)
        return f"<{type(self).__name__} {models}: {decide(self.comparison).answer}>"

    def __str__(self) -> str:
        """Return the answer and the table of verdicts, 80 columns wide."""
        from harness.report.terminal import verdicts_text

        return verdicts_text(self.comparison)

    def _repr_html_(self) -> str:
        """Return the answer and the table of verdicts for a notebook."""
        from harness.report.html import fragment

        return fragment(self.comparison)

    def summary(self) -> pd.DataFrame:
        """Return the table of verdicts: a row a model and method, what can be used first.

        ``times`` is how many times as fast as the method in ``timed_against`` a run is: NUTS, else
        short chains where they are the reference, else the cheapest method that passes.
        """
        import pandas as pd

        rows = [
            {"model": model.model, **dataclasses.asdict(row), "timed_against": model.base}
            for model in decide(self.comparison).models
            for row in model.rows
        ]
        columns = ["model", *(f.name for f in dataclasses.fields(Row)), "timed_against"]
        return pd.DataFrame(rows, columns=columns)

    @property
    def table(self) -> pd.DataFrame:
        """Every measure as a tidy table; the columns of ``measures.csv``."""
        import pandas as pd

        rows = files.tables(self.comparison)["measures"]
        return pd.DataFrame(rows, columns=list(files.COLUMNS["measures"]))

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """Verdicts by method; by ``model/method`` where several models were compared."""
        models = self.comparison.models
        if len(models) == 1:
            return {v.method: v for v in models[0].verdicts}
        return {f"{m.model.name}/{v.method}": v for m in models for v in m.verdicts}

    @property
    def draws(self) -> DrawsByMethod:
        """Draws by method; of the first model where several were compared (see ``of``)."""
        return self.of(self.comparison.models[0].model.name)

    def of(self, model: str) -> DrawsByMethod:
        """Return one model's draws by method."""
        found = self._entry(model)
        runs = [(r.spec.method, r.spec.seed) for r in found.runs]
        return DrawsByMethod(model, runs, self._reader(found))

    def _entry(self, model: str | None) -> ModelComparison:
        """Return one model's comparison, the first without a name."""
        models = {m.model.name: m for m in self.comparison.models}
        if model is None:
            return next(iter(models.values()))
        if model not in models:
            raise KeyError(f"no model {model!r}; there are {listed(list(models))}")
        return models[model]

    def _reader(self, found: ModelComparison) -> Callable[[str, int], Draws | str]:
        """Return what gives a run's draws, or says why there are none."""
        keys = {(r.spec.method, r.spec.seed): r.key for r in found.runs}
        given = {(r.spec.method, r.spec.seed): r.draws for r in found.runs if r.draws is not None}
        given |= self._draws or {}
        store = Store(stan.cache_dir() / "results")

        def read(method: str, seed: int) -> Draws | str:
            if (method, seed) in given:
                return given[method, seed]
            stored = store.get(keys[method, seed])
            if stored is None:
                return "it is no longer in the cache"
            return stored.message if stored.draws is None else stored.draws

        return read

    def to_datatree(self, model: str | None = None) -> DataTree:
        """Return all draws of a model, the first without a name, as one tree.

        Each run with draws is a child ``METHOD`` with ArviZ's groups, ``METHOD_SEED`` from the
        second seed on. The attribute ``without_draws`` names the other runs.

        Raises
        ------
        KeyError
            If there is no such model.
        """
        from xarray import DataTree

        entry = self._entry(model)
        draws, children, lacking = self.of(entry.model.name), {}, []
        for method in draws:
            seeds = sorted(r.spec.seed for r in entry.runs if r.spec.method == method)
            for seed in seeds:
                name = method if seed == seeds[0] else f"{method}_{seed}"
                try:
                    children[name] = draws[method, seed]
                except KeyError as error:
                    lacking.append(str(error.args[0]))
        tree = DataTree(children=children)
        tree.attrs = {"model": entry.model.name, "without_draws": "; ".join(lacking)}
        return tree

    def plot(self, quantity: str, model: str | None = None) -> Figure:
        """Return the densities of a quantity: a panel a method, the reference shaded.

        It shows itself in a notebook; ``.panels`` have the images as SVG. ``model`` is the first
        unless it is named.

        Raises
        ------
        KeyError
            If there is no such model, or no run has draws of the quantity.
        """
        from harness.report.figures import density_figure

        entry = self._entry(model)
        read = self._reader(entry)
        found = ((r, read(r.spec.method, r.spec.seed)) for r in entry.runs)
        runs = tuple(
            dataclasses.replace(r, draws=None if isinstance(d, str) else d) for r, d in found
        )
        draws = self._reference_draws(dataclasses.replace(entry, runs=runs))
        reference = dataclasses.replace(entry.reference, draws=draws)
        whole = dataclasses.replace(entry, runs=runs, reference=reference)
        figure = density_figure(whole, quantity)
        names = dict.fromkeys(n for r in runs if r.draws is not None for n in r.draws.names)
        if figure is None or quantity not in names:
            raise KeyError(f"no draws of {quantity!r}; there are {listed(list(names), 20)}")
        return figure

    def _reference_draws(self, entry: ModelComparison) -> Draws | None:
        """Return the draws of a reference, which a comparison that is kept has no more."""
        reference = entry.reference
        if reference.draws is not None or reference.kind == "none":
            return reference.draws
        if reference.kind == "supplied":
            word = self.comparison.provenance["reference"]
            return self._reference or read_reference(
                str(entry.model.draws_file) if word == "auto" else word
            )
        if reference.kind == "exact":
            from harness.study.reference import exact_draws

            return exact_draws(entry.model)
        return next((r.draws for r in entry.runs if r.spec.method == reference.method), None)

    def plot_cost(self) -> Figure:
        """Return seconds against error; it shows itself in a notebook.

        Raises
        ------
        ValueError
            If there are fewer than three points to compare.
        """
        from harness.report.figures import cost_figure

        figure = cost_figure(self.comparison)
        if figure is None:
            raise ValueError("fewer than three methods were timed and measured: nothing to plot")
        return figure

    def to_html(self, path: str | Path) -> Path:
        """Write the report as one self-contained HTML file."""
        from harness.report.html import render

        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        render(self.comparison, target, figures=self._figures)
        return target
