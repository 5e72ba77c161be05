"""CmdStan's files: names, truncation, traces."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.records.names import stan_name
from harness.stan.csv import CsvError, read_elbo, read_stan_csv


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
    ],
)
def test_files_that_are_not_whole_are_refused(tmp_path: Path, text: str, match: str) -> None:
    """Empty, truncated and garbled files raise, and the message distinguishes them."""
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(CsvError, match=match):
        read_stan_csv(path)


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
