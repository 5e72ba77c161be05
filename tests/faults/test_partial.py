"""Ctrl-C in Python leaves a result of what had finished."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.stan import embedded

pytestmark = [
    pytest.mark.skipif(bool(embedded.available()), reason=embedded.available() or "-"),
    pytest.mark.skipif(os.name == "nt", reason="one process sends Ctrl-C to another"),
]

SCRIPT = """
import json, os, signal, sys, time
import numpy as np
import harness

DRAWS = {"x": np.random.default_rng(1).normal(1, 2, size=(1, 5000, 2))}
OPTIONS = {"quick": True, "jobs": 1, "reference": DRAWS, "reference_iid": True}
PID = os.getpid()

def pressing(target, rng, draws):
    os.kill(PID, signal.SIGINT)
    time.sleep(100)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    methods = {name: None for name in sys.argv[1:]} | {"slow": pressing}
    try:
        result = harness.compare("my.stan", methods=methods, **OPTIONS)
    except harness.Interrupted as interrupted:
        print(json.dumps({"raised": str(interrupted)}))
    else:
        whole = harness.compare("my.stan", methods=["laplace"], **OPTIONS)
        print(json.dumps({
            "complete": [result.complete, whole.complete],
            "verdicts": {k: v.level for k, v in result.verdicts.items()},
            "same": result.table.query("method == 'laplace'").to_csv()
            == whole.table.query("method == 'laplace'").to_csv(),
            "notes": result.comparison.models[0].notes,
            "draws": sorted(result.draws),
            "said": str(result),
        }))
"""


def pressed(folder: Path, *methods: str) -> dict[str, Any]:
    """Run the script, whose method ``slow`` presses Ctrl-C, and return what it printed."""
    (folder / "my.stan").write_text("parameters { vector[2] x; } model { x ~ normal(1, 2); }")
    (folder / "script.py").write_text(SCRIPT)
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "script.py", *methods],
        cwd=folder,
        env={**os.environ, "HARNESS_CACHE": str(folder / "cache"), "PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_what_had_finished_is_a_result(tmp_path: Path) -> None:
    """It says that it is not complete, has no row of what was ended, and its figures are right."""
    found = pressed(tmp_path, "laplace")
    assert found["complete"] == [False, True]
    assert found["verdicts"] == {"laplace": "pass"}
    assert found["draws"] == ["laplace"]
    assert found["same"]
    assert found["notes"][-1] == "interrupted: 1 of 2 runs had finished"


def test_nothing_finished_is_no_result(tmp_path: Path) -> None:
    """Then Ctrl-C is an exception, as ever."""
    assert "interrupted: 0 of 1 runs finished" in pressed(tmp_path)["raised"]
