"""An embedded engine whose densities are wrong: a library file in front of the real one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.stan.embedded import library

WRONG = """
#include <dlfcn.h>
typedef int (*gradient)(void *, const double *, double *, double *);
int stanli_grad(void *model, const double *z, double *lp, double *g) {
  static gradient real;
  if (!real) real = (gradient) dlsym(RTLD_NEXT, "stanli_grad");
  int code = real(model, z, lp, g);
  *lp += z[0] * z[0];
  if (g) g[0] += 2 * z[0];
  return code;
}
"""
"""The library's gradient with an error: the square of the first coordinate is added."""

buildable = pytest.mark.skipif(
    shutil.which("cc") is None or sys.platform != "linux",
    reason="the wrong library needs a C compiler, and is linked as on Linux",
)


def build(folder: Path) -> Path:
    """Build the library; name its file in ``HARNESS_EMBEDDED_LIBRARY`` to have it used."""
    code, wrong = folder / "wrong.c", folder / "wrong.so"
    code.write_text(f"#define _GNU_SOURCE\n{WRONG}", encoding="utf-8")
    real = library.path()
    link = ["-Wl,--no-as-needed", str(real), f"-Wl,-rpath,{real.parent}", "-ldl"]
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(wrong), str(code), *link], check=True)
    return wrong
