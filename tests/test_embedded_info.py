"""What a program declares, without CmdStan: the same as CmdStan's stanc says."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.stan import CmdStan, ProgramError, ProgramInfo
from harness.stan import program_info as cmdstans
from harness.stan.embedded import program_info

ROOT = Path(__file__).parents[1]
PROGRAMS = [
    *sorted(ROOT.glob("stan/*/*.stan")),
    # One uses a function that Stan no longer has; the engine refuses it.
    *(p for p in sorted(ROOT.glob("benchmarks/cases/*/*.stan")) if p.parent.name != "gp_chol"),
]

HARD = """
functions { real f(real x) { return x; } }
data {
  int N; array[N, 3] matrix[2, 2] m; row_vector[2] r; cov_matrix[2] S; // real comment;
  array[N] cholesky_factor_cov[3, 2] L; corr_matrix[2] C;
}
transformed  data { real hidden; }
parameters {
  real<lower=0, upper=(N > 2 ? 1 : 2)> a; simplex[3] s; array[2] unit_vector[2] u;
  positive_ordered[2] p; real<offset=1, multiplier=2> om;
}
transformed parameters {
  real t = f(a); matrix[2, 2] Q;
  { real local; }
  for (i in 1:2) { real inner; Q[i, 1] = 1; Q[i, 2] = 2; }
  vector[2] w = [1, 2]';
  array[2, 2] real k = {{1, 2}, {a > 1 ? 1 : 2, 3}};
  if (a > 1) print("x; real fake; {");
}
model { real local_too; }
generated quantities {
  int k1; real g = normal_rng(0, 1);
  if (N > 1) k1 = 2; else { k1 = 3; real no; }
  array[2] vector[2] vv = {[1, 2]', [3, 4]'}; real last;
  while (k1 < 2) k1 += 1;
}
"""


@pytest.mark.stan
def test_declarations_are_those_that_cmdstans_stanc_lists(cmdstan: CmdStan, tmp_path: Path) -> None:
    """On every program of the repository, and on one with every kind of statement, in order."""
    hard = tmp_path / "hard.stan"
    hard.write_text(HARD, encoding="utf-8")
    for file in (*PROGRAMS, hard):
        ours, theirs = program_info(file), cmdstans(file, cmdstan)
        for name in ProgramInfo.__slots__:
            found = list(getattr(ours, name).items())
            assert found == list(getattr(theirs, name).items()), (file, name)


def test_what_stanc_rejects_has_its_words(tmp_path: Path) -> None:
    """The file, the place and the reason."""
    file = tmp_path / "wrong.stan"
    file.write_text("parameters { real x; } model { x ~ norml(0, 1); }", encoding="utf-8")
    with pytest.raises(ProgramError, match=r"(?s)wrong\.stan', line 1, column .*norml"):
        program_info(file)


def test_several_names_of_one_type_are_listed(tmp_path: Path) -> None:
    """Stan 2.40 has such declarations, CmdStan 2.27 has not."""
    file = tmp_path / "several.stan"
    code = "parameters { real x, y; array[2] vector[3] a, b; } model { x ~ normal(y, 1); }"
    file.write_text(code, encoding="utf-8")
    found = program_info(file).parameters
    assert {name: d["dimensions"] for name, d in found.items()} == {"x": 0, "y": 0, "a": 2, "b": 2}
