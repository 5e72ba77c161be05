"""Reading what CmdStan prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.records import Reason
from harness.stan import console

# Lines as CmdStan 2.27 prints them.
HEADER = "  iter             ELBO   delta_ELBO_mean   delta_ELBO_med   notes "
CONVERGED = """Success! Found best value [eta = 1] earlier than expected.
   100          -40.050             1.000            1.000
   200          -39.938             0.501            1.000
   300          -39.952             0.334            0.003   MEDIAN ELBO CONVERGED
"""
LIMIT = """   100          -61.415             1.000            1.000
Informational Message: The maximum number of iterations is reached! \
The algorithm may not have converged.
This variational approximation is not guaranteed to be meaningful.
"""
PREVIOUS = (
    CONVERGED
    + """
Informational Message: The ELBO at a previous iteration is larger than the ELBO upon \
convergence!
This variational approximation may not have converged to a good optimum.
"""
)
DIVERGING_THEN_FINE = """  1500          -40.029       0.602      0.703   MAY BE DIVERGING...
  1600          -40.081             0.096            0.003   MEDIAN ELBO CONVERGED
"""
DIVERGED = """  1500          -40.029             0.602            0.703
  1600         -140.081             0.696            0.803   MAY BE DIVERGING... INSPECT ELBO
"""


@pytest.mark.parametrize(
    ("text", "status", "reason", "word"),
    [
        (CONVERGED, "ok", None, ""),
        (LIMIT, "not_converged", Reason.ITERATION_LIMIT, "maximum number of iterations"),
        (PREVIOUS, "not_converged", Reason.LOWER_ELBO, "good optimum"),
        (
            DIVERGING_THEN_FINE,
            "not_converged",
            Reason.DIVERGING,
            "MAY BE DIVERGING at 1 of 2",
        ),
        (DIVERGED, "diverged", Reason.DIVERGING, "MAY BE DIVERGING"),
        (DIVERGED + LIMIT.split("\n", 1)[1], "diverged", Reason.DIVERGING, "maximum number"),
    ],
)
def test_all_three_ways_of_not_converging_are_read(
    text: str, status: str, reason: Reason | None, word: str
) -> None:
    """All three of CmdStan's messages are detected; CmdStanPy looks for one."""
    said = console.read_advi(text)
    assert (said.status, said.reason) == (status, reason)
    assert word in said.message


def test_silence_is_not_convergence() -> None:
    """Text without an ELBO is never read as converged."""
    said = console.read_advi("nothing\n")
    assert (said.status, said.reason) == ("not_converged", Reason.NO_ELBO)


def test_the_chosen_step_size_is_read() -> None:
    """Eta is the value that the adaptation reports, or None."""
    assert console.read_advi(CONVERGED).eta == 1.0
    assert console.read_advi(LIMIT).eta is None


def test_gradients_count_the_adaptation() -> None:
    """Gradient evaluations are (adaptation steps + iterations) × grad_samples."""
    text = "Iteration: 250 / 250 [100%]  (Adaptation)\n" + CONVERGED
    said = console.read_advi(text)
    assert said.gradient_evaluations({"grad_samples": 20}, {"iterations": 300.0}) == 550 * 20
    assert said.gradient_evaluations({"grad_samples": 20}, {}) is None


def test_error_text_is_cmdstans_own_without_the_settings() -> None:
    """An error message keeps the exception and drops the echo of the arguments."""
    text = (
        "method = variational\n  variational\n    t0 = 10 (Default)\n"
        "Success! Found best value [eta = 10] earlier than expected.\n"
        f"{HEADER}\nException: variable does not exist; variable name=x\n"
    )
    assert console.error_text(text) == "Exception: variable does not exist; variable name=x"


def test_excerpt_is_short_and_keeps_the_messages() -> None:
    """Kept console text loses the middle of the ELBO table, never a message."""
    rows = "\n".join(f"{i:6d}      -40.050     1.000      1.000" for i in range(100, 20100, 100))
    short = console.excerpt(f"method = variational\n{HEADER}\n{rows}\nWarning: odd\n")
    assert "194 more" in short
    assert "Warning: odd" in short
    assert len(short.splitlines()) < 12


# The next text is CmdStan 2.27's own, shortened: what a mean-field run printed.
CMDSTAN_SAID = """method = variational
  variational
    algorithm = meanfield (Default)
output
  file = /home/someone/secret/output.csv

------------------------------------------------------------
EXPERIMENTAL ALGORITHM:
  This procedure has not been thoroughly tested and may be unstable
  or buggy. The interface is subject to change.
------------------------------------------------------------


Begin stochastic gradient ascent.
  iter             ELBO   delta_ELBO_mean   delta_ELBO_med   notes 
   100          -61.415             1.000            1.000
   200          -43.026             0.714            1.000
   300          -40.021             0.501            0.427   MAY BE DIVERGING... INSPECT ELBO
   400          -39.900             0.376            0.427
Informational Message: The maximum number of iterations is reached! The algorithm may not have converged.
"""  # noqa: W291, E501 - as it was printed


def test_an_excerpt_names_no_file_of_the_machine() -> None:
    """CmdStan's echo of its settings goes; its warnings stay."""
    said = console.excerpt(CMDSTAN_SAID)
    assert "secret" not in said
    assert "MAY BE DIVERGING" in said
    assert said.endswith("may not have converged.")


def test_a_flood_of_messages_is_cut_in_the_middle() -> None:
    """Both ends are kept, and the omitted lines counted."""
    said = console.excerpt("first\n" + "\n".join(f"Exception: {i}" for i in range(5000)) + "\nlast")
    assert said.startswith("first")
    assert said.endswith("last")
    assert "more lines" in said
    assert len(said) < 2000


PROGRAM = """parameters { real m; } // generated quantities {
model {
  m ~ normal(0, 1);
}
generated quantities {
  if (m > 1.5) reject("too large: ", m);
}
"""


def test_exceptions_of_generated_quantities_are_no_failed_fit(tmp_path: Path) -> None:
    """The line tells the block: what stands before generated quantities belongs to the fit."""
    path = tmp_path / "some.stan"
    path.write_text(PROGRAM)
    thrown = "Exception: too large: 2.7 (in './some.stan', line 6, column 15 to column 40)"
    model = "Exception: bad (in './some.stan', line 3, column 2 to column 4)"
    other = "Exception: bad (in 'included.stan', line 9, column 2 to column 4)"
    said = console.generated_error(f"The maximum number\n{thrown}\n", path)
    assert said.startswith("the fit ended, its generated quantities failed: too large: 2.7 (in")
    assert console.generated_error(f"{thrown}\n{model}\n", path) == ""
    assert console.generated_error(other, path) == ""
    assert console.generated_error("", path) == ""
    warned = console.sampler_warning(f"{thrown}\n{thrown}\n{model}\n{other}\n", path)
    assert warned.startswith("2 proposals rejected, the first: bad (in './some.stan', line 3")
    assert "; 2 draws without generated quantities, the first: too large: 2.7" in warned
    assert "generated" not in console.sampler_warning(model, path)
    assert console.sampler_warning("", path) == ""


PATHS = """Path [1] :Initial log joint density = -5.382568
Path [2] :Initial log joint density = -7.1
Path [1] : Iter      log prob        ||dx||      ||grad||     alpha      alpha0      # evals       ELBO    Best ELBO        Notes
              1      -4.172e+00      3.742e-01   3.347e+00    1.000e-01  1.000e-03        30       -inf -1.305e+04
Path [2] : Iter      log prob        ||dx||      ||grad||     alpha      alpha0      # evals       ELBO    Best ELBO        Notes
              1      -2.126e+00      1.061e+00   2.764e+00    5.012e-01  1.000e+00         6       -inf       -inf
Path [1] : Iter      log prob        ||dx||      ||grad||     alpha      alpha0      # evals       ELBO    Best ELBO        Notes
              2      -2.126e+00      1.061e+00   2.764e+00    5.012e-01  1.000e+00        61 -1.305e+04 -1.464e+01
Path [1] :Best Iter: [2] ELBO (-14.640000) evaluations: (61)
Path [2] :Failure: None of the LBFGS iterations completed successfully
"""  # noqa: E501 - as Stan prints it


def test_pathfinders_paths_are_told_apart() -> None:
    """Interleaved tables, one of a path that failed before it estimated an ELBO."""
    found = console.read_pathfinder(PATHS, 25)
    assert found == {
        1: console.Climb(iterations=2, gradients=6, log_densities=50, elbo=-14.64),
        2: console.Climb(iterations=1, gradients=6, log_densities=0, elbo=None),
    }
    assert console.read_pathfinder("Chain 1: nothing of the kind", 25) == {}


def test_the_optimisers_table_is_read() -> None:
    """Its last row has the running total; a table that is not there is no climb."""
    table = """Initial log joint probability = -5.3
    Iter      log prob        ||dx||      ||grad||       alpha      alpha0  # evals  Notes
       8      -1.64257   0.000248789   0.000125935      0.9973      0.9973       13
Optimization terminated normally:"""
    assert console.read_climb(table) == console.Climb(iterations=8, gradients=13)
    assert console.read_climb("") is None


def test_a_row_of_advis_table_has_its_elbo() -> None:
    """Other lines have none."""
    assert console.elbo_of("  1800           -2.169             0.009            0.012   MEAN") == (
        1800,
        -2.169,
    )
    assert console.elbo_of("Begin stochastic gradient ascent.") is None
