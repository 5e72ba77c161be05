"""CmdStan's files: names, truncation, traces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from harness.records.names import stan_name
from harness.stan import csv
from harness.stan.csv import CsvError, read_chains, read_elbo, read_stan_csv


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("m", "m"),
        ("beta.2", "beta[2]"),
        ("z.2.10", "z[2,10]"),
        ("t:1.3", "t:1[3]"),
        ("c.1.real", "c[1].real"),
        ("c.real", "c.real"),
    ],
)
def test_columns_become_stan_names(column: str, name: str) -> None:
    """CSV columns are renamed as Stan users write them."""
    assert stan_name(column) == name


def test_comments_may_stand_between_the_rows(tmp_path: Path) -> None:
    """Adaptation comments after the header do not disturb the columns."""
    path = tmp_path / "a.csv"
    path.write_text("# x = 1\nlp__,m,z.1\n# eta = 1\n0,1.5,2\n0,-2.5,3\n# done\n")
    table = read_stan_csv(path)
    assert table.quantities == ("m", "z[1]")
    assert table.quantity_values().tolist() == [[1.5, 2.0], [-2.5, 3.0]]
    with pytest.raises(CsvError, match="no column 'log_p__'"):
        table.column("log_p__")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "is empty"),
        ("# only\n", "is empty"),
        ("lp__,m\n", "no rows"),
        ("lp__,m\n0,1\n0,2.5", "middle of a line"),
        ("lp__,m\n0,1\n0,1,2\n", "cannot be read"),
        ("lp__,m\n0,abc\n", "cannot be read"),
        ("lp__,m\n0,1\n0\n", "cannot be read"),
        ("lp__,m,k\n0,1\n", "2 numbers per row for 3 columns"),
        ("lp__,m", "no rows"),
        ("lp__,m\n0,1\n# a comment that ends", "middle of a line"),
        ("lp__,m\n0,1\n0\n1,1,1\n", "cannot be read"),
        ("lp__,m\n0,1\n0,\n", "cannot be read"),
        ("lp__,m\n0,1\n,0\n0,1\n", "cannot be read"),
        ("lp__,m\n0,1\n0,1.50.3\n", "cannot be read"),
        ("lp__,m\n0,1\n0,1\0\0\n", "cannot be read"),
        ('lp__,m\n0,1\n0,"1"\n', "cannot be read"),
        ("lp__,m\n0,1\n0,NA\n", "cannot be read"),
        ("lp__,m\n0,1\n0,0x1\n", "cannot be read"),
    ],
)
def test_files_that_are_not_whole_are_refused(tmp_path: Path, text: str, match: str) -> None:
    """Empty, truncated and garbled files raise, and the message distinguishes them."""
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(CsvError, match=match):
        read_stan_csv(path)


def test_numbers_are_exactly_those_that_were_printed(tmp_path: Path) -> None:
    """Seventeen digits come back to the last bit; NaN, infinity and subnormal numbers are known."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, 7)) * 10.0 ** rng.integers(-300, 300, size=(200, 7))
    x[3, 2], x[100, 0], x[150, 1], x[199, 6] = np.nan, np.inf, -np.inf, 5e-324
    path = tmp_path / "a.csv"
    rows = "\n".join(",".join(f"{v:.17g}" for v in row) for row in x)
    path.write_text(f"# a\na,b,c,d,e,f,g\n{rows}\n# b\n")
    np.testing.assert_array_equal(read_stan_csv(path).values, x)


@pytest.mark.parametrize("size", [1, 2, 7, 30, 1000])
def test_blocks_may_end_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Wherever a block of the file ends, in a number or a comment, the rows are the same."""
    monkeypatch.setattr(csv, "_BLOCK", size)
    path = tmp_path / "a.csv"
    path.write_text("# x = 1\nlp__,m,z.1\n# eta = 1\n0,1.5,2\r\n\n# more\n0,-2.5,nan\n4,5,6\n")
    values = read_stan_csv(path).values
    np.testing.assert_array_equal(values, [[0, 1.5, 2], [0, -2.5, np.nan], [4, 5, 6]])
    path.write_text(path.read_text() + "7,8")
    with pytest.raises(CsvError, match="middle of a line"):
        read_stan_csv(path)


def _chains(folder: Path, texts: Sequence[str]) -> list[Path]:
    paths = [folder / f"{i}.csv" for i, _ in enumerate(texts)]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    return paths


def test_chains_are_read_side_by_side(tmp_path: Path) -> None:
    """Quantities by chain and draw, and the statistics that are asked for."""
    texts = [f"lp__,stepsize__,m,z.1\n# a\n{c},9,1,2\n{c + 1},9,3,4\n" for c in (0, 5)]
    found = read_chains(_chains(tmp_path, texts), 2, ["lp__"])
    assert found.quantities == ("m", "z[1]")
    assert found.values.tolist() == [[[1, 2], [3, 4]]] * 2
    assert found.statistics["lp__"].tolist() == [[0, 1], [5, 6]]


@pytest.mark.parametrize(
    ("second", "match"),
    [
        ("lp__,m\n0,1\n", "1 draws where 2 were asked for"),
        ("lp__,m\n0,1\n0,1\n0,1\n", "3 draws where 2 were asked for"),
        ("lp__,k\n0,1\n0,1\n", "other columns"),
        ("m,lp__\n0,1\n0,1\n", "other columns"),
        ("lp__,m\n0,1\n0,2", "middle of a line"),
        ("", "is empty"),
    ],
)
def test_chains_that_are_not_whole_are_refused(tmp_path: Path, second: str, match: str) -> None:
    """A chain with fewer or more draws, other columns or damage is named."""
    good = "lp__,m\n0,1\n0,2\n"
    with pytest.raises(CsvError, match=match):
        read_chains(_chains(tmp_path, [good, second]), 2, ["lp__"])
    with pytest.raises(CsvError, match="no column 'energy__'"):
        read_chains(_chains(tmp_path, [good, good]), 2, ["energy__"])
    with pytest.raises(CsvError, match="no output file"):
        read_chains([], 2, ["lp__"])


def test_the_first_row_of_the_elbo_file_is_kept(tmp_path: Path) -> None:
    """The header is a comment, and the first iteration is not lost."""
    (tmp_path / "m-diagnostic.csv").write_text(
        "# iter,time_in_seconds,ELBO\n100,0,-40\n200,0.1,-39\n3"
    )
    trace = read_elbo(tmp_path)
    assert trace is not None
    assert trace.iteration.tolist() == [100, 200]
    assert trace.elbo.tolist() == [-40, -39]
    assert read_elbo(tmp_path / "nowhere") is None
