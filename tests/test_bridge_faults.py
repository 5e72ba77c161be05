"""No program, data or library file can crash the interpreter."""

from __future__ import annotations

import ctypes
import platform
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.stan import CmdStan
from harness.stan.bridge import BridgeError, BridgeModel, Status, library
from harness.stan.bridge.loading import INTERFACE, content_hash

pytestmark = pytest.mark.stan

FAULTS = """
functions {
  real endless(vector v, int n) {
    return v[1] + endless(v, n + 1) * endless(v, n + 2);
  }
}
data {
  int where;
  int zero;
  int huge;
  int n;
}
transformed data {
  vector[3] y = [1, 2, 3]';
  int before = where == 1 ? 7 / zero : 0;
}
parameters {
  vector[n] a;
}
model {
  a ~ normal(0, 1);
  if (where == 2) target += 7 / zero;
  if (where == 3) target += 7 % zero;
  if (where == 4) target += y[zero];
  if (where == 5) target += endless(a, 1);
  if (where == 6) {
    matrix[huge, huge] m = rep_matrix(a[1], huge, huge);
    target += sum(m);
  }
  if (where == 7) target += (-2147483647 - 1) / (zero - 1);
  if (where == 8) target += sum(cholesky_decompose(rep_matrix(-a[1], 2, 2)));
  if (where == 9) target += sum(y[1:2] + y);
}
generated quantities {
  int after = where == 10 ? 7 / zero : 0;
}
"""

TRAPS = platform.machine() in {"x86_64", "AMD64", "i686"}
"""On other processors an integer divided by zero is a number."""


@pytest.fixture(scope="module")
def faults(cmdstan: CmdStan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the program whose only job is to go wrong."""
    file = tmp_path_factory.mktemp("programs") / "faults.stan"
    file.write_text(FAULTS, encoding="utf-8")
    return library(file, cmdstan)


def data(where: int = 0, n: int = 1) -> dict[str, Any]:
    """Return data that lead the program to one fault, or to none."""
    return {"where": where, "zero": 0, "huge": 2**31 - 1, "n": n}


CASES = [
    pytest.param(2, "integer division by zero", marks=pytest.mark.skipif(not TRAPS, reason="")),
    (3, "modulus"),
    (4, "out of range"),
    (5, "calls itself without an end"),
    (6, "not enough memory"),
    pytest.param(7, "integer division by zero", marks=pytest.mark.skipif(not TRAPS, reason="")),
    (8, "not positive definite"),
    (9, "must match in size"),
]


@pytest.mark.parametrize(("where", "words"), CASES)
def test_faults_of_the_log_density_are_exceptions(faults: Path, where: int, words: str) -> None:
    """The fault is reported, and the next gradient is the same as before."""
    model, sound = BridgeModel(faults, data(where)), BridgeModel(faults, data())
    before = sound.value_and_gradient([0.3])
    for _ in range(3):
        with pytest.raises(BridgeError, match=words):
            model.value_and_gradient([0.3])
        again = sound.value_and_gradient([0.3])
        assert again[0] == before[0]
        np.testing.assert_array_equal(again[1], before[1])
    found = model.log_density(np.full((2, 1), 0.3))
    assert not found.ok.any()


@pytest.mark.parametrize(("where", "words"), CASES[:4:3])
def test_faults_in_another_thread_are_exceptions(faults: Path, where: int, words: str) -> None:
    """Faults in a thread, which has its own stack and signals, raise the same exceptions."""
    model = BridgeModel(faults, data(where))
    seen: list[str] = []
    thread = threading.Thread(
        target=lambda: seen.append(model.log_density_gradient([[0.3]]).message)
    )
    thread.start()
    thread.join()
    assert len(seen) == 1
    assert words in seen[0]


@pytest.mark.skipif(not TRAPS, reason="this processor divides by zero without a trap")
def test_faults_outside_the_model_block_are_exceptions(faults: Path) -> None:
    """Division by zero in transformed data, at a rebind, and in generated quantities."""
    with pytest.raises(BridgeError, match="integer division by zero"):
        BridgeModel(faults, data(1))
    model = BridgeModel(faults, data(10))
    with pytest.raises(BridgeError, match="integer division by zero"):
        model.rebind(data(1))
    out, status = model.constrain([[0.3]], generated=True)
    assert status.tolist() == [Status.REJECT]
    assert np.isnan(out).all()
    assert model.value_and_gradient([0.3])[1] == [-0.3]


def test_a_fault_that_is_not_ours_still_ends_the_process(faults: Path) -> None:
    """The handlers hide nothing: a wild pointer outside the bridge still crashes."""
    code = (
        "import ctypes, faulthandler, sys; from pathlib import Path\n"
        "from harness.stan.bridge import BridgeModel\n"
        f"BridgeModel(Path({str(faults)!r}), {data()!r})\n"
        "faulthandler.disable(); print('open', flush=True); ctypes.string_at(1)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "open\n"
    assert done.returncode == -11


def test_a_closed_model_says_so(faults: Path) -> None:
    """Every call to a closed model raises an error; closing twice is allowed."""
    model = BridgeModel(faults, data())
    point = model.at_point()
    assert np.isfinite(point())
    model.close()
    model.close()
    z = np.zeros((1, 1))
    assert np.isnan(point())
    assert point.status is Status.FAILED
    for use in (
        point.check,
        lambda: model.value_and_gradient(z[0]),
        lambda: model.rebind(data()),
        lambda: model.unconstrain({"a": [0.0]}),
        model.constrained_names,
        lambda: model.constrain(z),
    ):
        with pytest.raises(BridgeError, match="closed"):
            use()
    assert "closed" in model.log_density(z).message
    assert model.messages() == ""


def test_a_model_may_be_closed_while_threads_use_it(faults: Path) -> None:
    """They get a value or an error, never freed memory."""
    model = BridgeModel(faults, data())
    ends: list[str] = []

    def work() -> None:
        point = model.at_point()
        while np.isfinite(point()):
            pass
        ends.append(model.last_error())

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    model.close()
    for thread in threads:
        thread.join()
    assert len(ends) == 3
    assert all("closed" in words for words in ends)


def test_points_of_a_model_that_changed_its_dimension_say_so(faults: Path) -> None:
    """Their buffers have the wrong size for the new data; a new point works."""
    model = BridgeModel(faults, data(n=2))
    point = model.at_point()
    assert np.isfinite(point())
    model.rebind(data(n=5))
    assert model.dimension == 5
    assert np.isnan(point())
    with pytest.raises(BridgeError, match="5 dimensions, not 2"):
        point.check()
    assert np.isfinite(model.at_point()())


def test_a_damaged_library_is_refused_before_it_is_opened(faults: Path, tmp_path: Path) -> None:
    """A truncated or changed file is refused, because the dynamic loader would crash on it."""
    whole = faults.read_bytes()
    for name, content in {
        "half": whole[: len(whole) // 2],
        "empty": b"",
        "changed": whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:],
    }.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / faults.name).write_bytes(content)
        with pytest.raises(BridgeError, match="damaged"):
            BridgeModel(folder / faults.name, data())
    with pytest.raises(BridgeError, match="no library"):
        BridgeModel(tmp_path / "missing.so", data())


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("int hb_interface() { return 99; }", f"interface 99, this harness needs {INTERFACE}"),
        ("int other() { return 0; }", "not a library of the bridge"),
    ],
)
def test_a_library_of_another_interface_is_refused(tmp_path: Path, code: str, words: str) -> None:
    """Its functions are not called, because their arguments may differ."""
    source, built = tmp_path / "other.c", tmp_path / "other.so"
    source.write_text(code, encoding="utf-8")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", built, source], check=True)
    named = built.rename(tmp_path / f"bridge-0-{content_hash(built)}.so")
    with pytest.raises(BridgeError, match=words):
        BridgeModel(named, {})


def test_eigens_assertions_are_exceptions(cmdstan: CmdStan, tmp_path: Path) -> None:
    """A sum of two vectors of different lengths throws under the guard, and does not abort."""
    eigen = next((cmdstan.path / "stan/lib/stan_math/lib").glob("eigen_*"))
    guard = Path(__file__).parents[1] / "harness" / "stan" / "bridge" / "guard.hpp"
    source, built = tmp_path / "lengths.cpp", tmp_path / "lengths.so"
    source.write_text(
        "#include <Eigen/Dense>\n"
        'extern "C" int lengths() { Eigen::VectorXd a(2), b(3);\n'
        "  try { return (a + b).eval().size(); }\n"
        "  catch (const std::logic_error& e) { return -1; } }\n",
        encoding="utf-8",
    )
    command = ["c++", "-std=c++14", "-w", "-shared", "-fPIC", "-I", str(eigen)]
    subprocess.run([*command, "-include", str(guard), "-o", built, source], check=True)
    assert ctypes.CDLL(str(built)).lengths() == -1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"n": [[1], [1, 2]]}, "ragged"),
        ({"n": np.ma.masked_array([1, 2], [False, True])}, "masked"),
        ({"n": {"a": 1}}, "object"),
        ({"n": None}, "object"),
    ],
)
def test_data_that_are_no_arrays_have_words(
    faults: Path, given: dict[str, Any], words: str
) -> None:
    """Data that NumPy cannot turn into numbers are named."""
    with pytest.raises(BridgeError, match=words):
        BridgeModel(faults, {**data(), **given})


def test_seeds_outside_32_bits_are_refused(faults: Path) -> None:
    """They are refused and not truncated to another seed."""
    for seed in (-1, 2**32):
        with pytest.raises(ValueError, match="allowed: 0 to 4294967295"):
            BridgeModel(faults, data(), seed)
