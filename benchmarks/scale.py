"""Seconds and memory of very many quantities: metrics, CmdStan's CSV, the store, a report.

``python benchmarks/scale.py [metrics|csv|report|generated] [--counts 1000,3000,10000]`` prints a
table. Each
row is measured in a process of its own, in seconds of the processor, so that what else the machine
does counts little, and its memory is the peak of that process. Beside the CSV stands Polars where
it is installed; it is no dependency. Nothing has a limit here: the rows of one run are compared.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy is loaded
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import click
import numpy as np

from harness.metrics import measure
from harness.records import (
    Cost,
    Draws,
    Model,
    Program,
    Reference,
    RunContext,
    RunResult,
    RunSpec,
)
from harness.stan.csv import read_chains
from harness.study.store import Store

CHAINS, DRAWS, OWN = 4, 1000, 10_000


def peak_mib() -> float:
    """Return the largest memory that this process has had, in MiB."""
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the processor's seconds of some work, and what it returned."""
    begin = time.process_time()
    found = work()
    return time.process_time() - begin, found


def draws_of(count: int, chains: int, draws: int, *, iid: bool) -> Draws:
    """Return normals with ten common parts: correlated, and of Markov chains autocorrelated."""
    rng = np.random.default_rng(chains)
    x = rng.standard_normal((chains, draws, count))
    if not iid:
        for t in range(1, draws):
            x[:, t] = 0.5 * x[:, t - 1] + 0.75**0.5 * x[:, t]
    common = rng.standard_normal((chains, draws, 10))
    for j in range(count):
        x[:, :, j] += 0.7 * common[:, :, j % 10]
    return Draws(("mu", *(f"x[{i}]" for i in range(1, count))), x, iid=iid)


def run_of(method: str, draws: Draws) -> RunResult:
    """Return a run with some draws."""
    spec = RunSpec("m", method, {}, 1, draws.values.shape[1])
    return RunResult(spec, f"{method:0<64}", "ok", "", draws, None, {}, Cost(1.0), {})


def metrics(count: int) -> dict[str, float]:
    """Measure all metrics of chains and of independent draws beside them."""
    reference = draws_of(count, CHAINS, DRAWS, iid=False)
    own = run_of("meanfield", draws_of(count, 1, OWN, iid=True))
    before = peak_mib()

    def work() -> int:
        selection = measure.select(Model("m", "m", Path("m.stan"), None), reference)
        chains = measure.chain_measures(run_of("nuts", reference), selection.names, "nuts")
        given = Reference("nuts", trusted=True, why="", draws=reference)
        yardstick = measure.Yardstick("m", given, selection)
        found = [*yardstick.own_summaries(), *yardstick.run(own).measures, *chains]
        return len(found) + len(yardstick.correlations())

    begin = time.perf_counter()
    seconds, _ = timed(work)
    row = {"quantities": count, "seconds": seconds, "by the clock": time.perf_counter() - begin}
    return row | {"draws MiB": before, "peak MiB": peak_mib()}


def csv(count: int) -> dict[str, float]:
    """Measure CmdStan's CSV, the store, and Polars on the same files."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{c}.csv" for c in range(CHAINS)]
        names = ("lp__", *(f"x.{i}" for i in range(1, count)))
        for c, path in enumerate(paths):
            rows = np.random.default_rng(c).standard_normal((DRAWS, count))
            with path.open("w") as file:
                file.write("# method = sample\n" + ",".join(names) + "\n# adapted\n")
                file.writelines(",".join(f"{v:.18g}" for v in row) + "\n" for row in rows)
        before = peak_mib()
        seconds, found = timed(lambda: read_chains(paths, DRAWS, ["lp__"]))
        memory = (peak_mib() - before) / (found.values.nbytes / 2**20)
        store = Store(Path(folder) / "store")
        run = run_of("nuts", Draws(found.quantities, found.values, found.statistics["lp__"]))
        store.put(run)
        kept, _ = timed(lambda: store.get(run.key))
        row: dict[str, float] = {
            "columns": count,
            "seconds": seconds,
            "× the array": memory,
            "store, s": kept,
        }
        try:
            polars = import_module("polars")
        except ImportError:
            return row
        polars_s, _ = timed(
            lambda: [polars.read_csv(p, comment_prefix="#").to_numpy() for p in paths]
        )
        return row | {"Polars, s": polars_s}


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ASK = "<script>addEventListener('load', () => document.title = performance.now())</script>"


def opened(page: Path) -> dict[str, float]:
    """Return the seconds from the start of loading to all being loaded, by Chromium's own clock."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        click.echo("the report is not opened: there is no Chromium on the PATH", err=True)
        return {}
    text = page.read_text(encoding="utf-8")
    # The page allows no script but its own.
    text = re.sub(r"<meta[^>]*Content-Security-Policy[^>]*>", "", text)
    copy = page.with_name("copy.html")
    copy.write_text(text.replace("</body>", ASK + "</body>"), encoding="utf-8")
    flags = ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={page.parent}/own")
    command = [browser, *flags, "--dump-dom", copy.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    found = re.search(r"<title>([0-9.]+)</title>", done.stdout)
    if found is None:
        raise ValueError("Chromium did not say when the page was loaded")
    return {"opened, s": float(found[1]) / 1000}


def report(count: int) -> dict[str, float]:
    """Measure a report of one approximation, and how long a browser takes to open it."""
    import harness

    own, reference = ({"x": draws_of(count, c, DRAWS, iid=True).values} for c in (1, CHAINS))
    result = harness.judge(own, reference, why=False)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        seconds, _ = timed(lambda: result.to_html(path))
        row = {"quantities": count, "seconds": seconds, "MB": path.stat().st_size / 1e6}
        return row | opened(path)


PROGRAM = """
data { int N; }
parameters { real mu; vector[10] b; }
model { mu ~ normal(0, 1); b ~ normal(mu, 1); }
generated quantities { vector[N] y; for (i in 1:N) y[i] = normal_rng(b[1 + i % 10], 1); }
"""


def generated(count: int) -> dict[str, float]:
    """Measure runs of 4000 draws with all generated quantities, with one, and with none."""
    row: dict[str, float] = {"generated quantities": count}
    for words, left_out in (("none", {"y": ()}), ("one", {"y": ("y[7]",)}), ("all", {})):
        command = [sys.executable, __file__, "one-run", "--counts", str(count), "--one"]
        given = {**os.environ, "LEFT_OUT": json.dumps(left_out)}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=given)
        found = json.loads(done.stdout)
        row |= {f"{words}: {name}": value for name, value in found.items()}
    return row


def one_run(count: int) -> dict[str, float]:
    """Run deterministic ADVI in the embedded engine, and keep what the environment says."""
    from harness.methods import METHODS

    left_out = {k: tuple(v) for k, v in json.loads(os.environ["LEFT_OUT"]).items()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "scratch").mkdir()
        (folder / "m.stan").write_text(PROGRAM)
        (folder / "m.json").write_text(json.dumps({"N": count}))
        row = METHODS["dadvi"]
        spec = RunSpec("m", "dadvi", row.defaults, 1, CHAINS * DRAWS, left_out)
        program = Program(folder / "m.stan", {}, embedded=True)
        context = RunContext(program, folder / "m.json", 600.0, 1)
        seconds, run = timed(lambda: row.run(spec, context, folder / "scratch"))
        size = 0 if run.draws is None else run.draws.values.nbytes
        return {
            "seconds": seconds,
            "draws MiB": size / 2**20,
            "peak MiB": peak_mib(),
        }


PARTS: dict[str, Callable[[int], dict[str, float]]] = {
    "metrics": metrics,
    "csv": csv,
    "report": report,
    "generated": generated,
    "one-run": one_run,
}


@click.command(help=__doc__)
@click.argument("part", type=click.Choice(list(PARTS)), default="metrics")
@click.option("--counts", default="1000,3000,10000", help="Numbers of quantities, with commas.")
@click.option("--one", is_flag=True, hidden=True)
def main(part: str, counts: str, *, one: bool) -> None:
    """Print a row for each count."""
    if one:
        click.echo(json.dumps(PARTS[part](int(counts))))
        return
    for place, count in enumerate(counts.split(",")):
        command = [sys.executable, __file__, part, "--counts", count, "--one"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        row = json.loads(done.stdout)
        if place == 0:
            print("| " + " | ".join(row) + " |\n" + "|---:" * len(row) + "|")
        print("| " + " | ".join(f"{v:.4g}" for v in row.values()) + " |")


if __name__ == "__main__":
    main()
