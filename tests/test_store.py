"""The store: what goes in comes out, and what is damaged is as good as absent."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydantic import ConfigDict, TypeAdapter

from harness.records import Cost, Draws, Estimate, Reason, RunResult, RunSpec, Trace
from harness.study.store import Store, StoreError, cmdstan_seed, run_key

SPEC = RunSpec("m", "meanfield", {"eta": 1.0}, 3, 5)


def result(key: str = "ab" * 32) -> RunResult:
    """Return a result with everything a result can have."""
    rng = np.random.default_rng(1)
    return RunResult(
        spec=SPEC,
        key=key,
        status="not_converged",
        message="it said so",
        draws=Draws(("a", "b[1]"), rng.normal(size=(1, 5, 2)), rng.normal(size=(1, 5)), None),
        trace=Trace(np.arange(3.0), np.arange(3.0), np.array([-3.0, -2.0, np.nan])),
        diagnostics={"eta": 100.0, "elbo": -np.inf},
        cost=Cost(1.5, None, 7),
        versions={"cmdstan": "2.27.0"},
        console="text",
    )


def test_round_trip_is_exact(tmp_path: Path) -> None:
    """Arrays come back bit for bit, infinities and NaN included."""
    store = Store(tmp_path)
    put = dataclasses.replace(result(), reason=Reason.STILL_RISING)
    store.put(put)
    got = store.get(put.key)
    assert got is not None
    assert got.reason is Reason.STILL_RISING
    assert got.draws is not None
    assert put.draws is not None
    assert np.array_equal(got.draws.values, put.draws.values)
    assert got.draws.names == put.draws.names
    assert got.draws.log_q is None
    assert got.trace is not None
    assert np.isnan(got.trace.elbo[2])
    assert got.diagnostics == put.diagnostics
    assert got.cost == put.cost
    assert got.spec == put.spec
    light = store.get(put.key, with_arrays=False)
    assert light is not None
    assert light.draws is None


def damage_arrays(folder: Path) -> None:
    """Flip a byte, as a failing disk would."""
    path = folder / "arrays.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def damage_meta(folder: Path) -> None:
    """Cut the JSON."""
    (folder / "result.json").write_text('{"format": 1')


def remove_arrays(folder: Path) -> None:
    """Lose the arrays."""
    (folder / "arrays.npz").unlink()


def change_format(folder: Path) -> None:
    """Pretend another version of the store wrote it."""
    meta = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps(meta | {"format": 99}))


@pytest.mark.parametrize("damage", [damage_arrays, damage_meta, remove_arrays, change_format])
@pytest.mark.parametrize("with_arrays", [True, False])
def test_a_damaged_entry_is_dropped_and_said(
    tmp_path: Path, damage: Callable[[Path], None], with_arrays: bool
) -> None:
    """A damaged entry is absent, and a sentence says so."""
    said: list[str] = []
    store = Store(tmp_path, said.append)
    put = result()
    store.put(put)
    damage(tmp_path / put.key[:2] / put.key)
    assert store.get(put.key, with_arrays=with_arrays) is None
    assert len(said) == 1
    assert "computed again" in said[0]
    store.put(put)
    assert store.get(put.key) is not None


KIND = TypeAdapter(tuple[Estimate, ...], config=ConfigDict(ser_json_inf_nan="constants"))


def test_a_kept_record_reads_back_equal(tmp_path: Path) -> None:
    """Infinities, NaN and every digit survive; the file is a checksum and JSON."""
    store = Store(tmp_path)
    put = (Estimate(0.1 + 0.2, math.inf), Estimate(math.nan, 0.0))
    store.keep("k", KIND, put)
    back = store.recall("k", KIND)
    assert repr(back) == repr(put)
    _, body = (tmp_path / "memo" / "k.json").read_bytes().split(b"\n")
    assert json.loads(body)[0] == [0.1 + 0.2, math.inf]
    assert store.recall("absent", KIND) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda kept: kept[:-1],
        lambda kept: kept.replace(b"1.0", b"2.0"),
        lambda _: b"",
        lambda kept: kept.partition(b"\n")[2],
    ],
)
def test_a_damaged_record_is_dropped(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    """A record whose checksum does not match is absent, and a sentence says so once."""
    said: list[str] = []
    store = Store(tmp_path, said.append)
    store.keep("k", KIND, (Estimate(1.0, 0.5),))
    path = tmp_path / "memo" / "k.json"
    path.write_bytes(damage(path.read_bytes()))
    assert store.recall("k", KIND) is None
    assert store.recall("k", KIND) is None
    (sentence,) = said
    assert "computed again" in sentence


def test_a_record_of_another_form_is_dropped(tmp_path: Path) -> None:
    """JSON that is whole but holds something else is never taken for the record."""
    said: list[str] = []
    store = Store(tmp_path, said.append)
    store.keep("k", TypeAdapter(dict[str, str]), {"a": "b"})
    assert store.recall("k", KIND) is None
    assert said


def test_a_run_of_the_first_format_is_still_read(tmp_path: Path) -> None:
    """Entries of earlier versions are valid."""
    store = Store(tmp_path)
    put = result()
    store.put(put)
    path = tmp_path / put.key[:2] / put.key / "result.json"
    checksum = json.loads(path.read_text())["arrays_sha256"]
    path.write_text(
        '{"format": 1, "spec": {"model": "m", "method": "meanfield", "options": {"eta": 1.0}, '
        f'"seed": 3, "draws": 5}}, "key": "{put.key}", "status": "not_converged", '
        '"message": "it said so", "names": ["a", "b[1]"], "iid": true, "trace": true, '
        '"diagnostics": {"eta": "100.0", "elbo": "-inf"}, "cost": {"seconds": 1.5, '
        '"log_density_evaluations": null, "gradient_evaluations": 7}, '
        f'"versions": {{"cmdstan": "2.27.0"}}, "console": "text", "arrays_sha256": "{checksum}"}}'
    )
    got = store.get(put.key)
    assert got is not None
    assert repr(dataclasses.replace(got, draws=None, trace=None)) == repr(
        dataclasses.replace(put, draws=None, trace=None)
    )
    assert got.draws is not None
    assert got.trace is not None


def test_an_unwritable_store_says_what_to_do(tmp_path: Path) -> None:
    """A store under a file cannot be written, and the error names the variable to set."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="HARNESS_CACHE"):
        Store(tmp_path / "file" / "store").put(result())


def test_the_key_covers_everything_a_run_depends_on() -> None:
    """Changing any one of spec, program, data, method or tools changes the key."""
    base = {
        "spec": SPEC,
        "program_hash": "p",
        "data_hash": "d",
        "version": 1,
        "versions": {"cmdstan": "2.27.0"},
    }
    changed = [
        base,
        base | {"spec": dataclasses.replace(SPEC, seed=4)},
        base | {"spec": dataclasses.replace(SPEC, draws=6)},
        base | {"spec": dataclasses.replace(SPEC, options={"eta": 0.1})},
        base | {"program_hash": "q"},
        base | {"data_hash": "e"},
        base | {"version": 2},
        base | {"versions": {"cmdstan": "2.35.0"}},
    ]
    keys = [run_key(**c) for c in changed]  # type: ignore[arg-type]
    assert len(set(keys)) == len(keys)


def test_seeds_are_large_and_do_not_depend_on_the_draws() -> None:
    """More draws are draws of the same q; small seeds would start CmdStan 2.27 in one place."""
    seeds = [cmdstan_seed(dataclasses.replace(SPEC, seed=s), "p", "d") for s in range(1, 201)]
    assert len(set(seeds)) == 200
    assert min(seeds) >= 1
    assert max(seeds) < 2**31 - 1
    # 200 uniform seeds have a mean within 4 standard errors of the middle.
    assert abs(np.mean(seeds) / 2**31 - 0.5) < 4 * np.sqrt(1 / 12 / 200)
    assert cmdstan_seed(SPEC, "p", "d") == cmdstan_seed(
        dataclasses.replace(SPEC, draws=99), "p", "d"
    )


def test_seeds_depend_on_content_and_not_on_names() -> None:
    """The program, the data, the method and its options each give another seed."""
    renamed = dataclasses.replace(SPEC, model="another")
    assert cmdstan_seed(renamed, "p", "d") == cmdstan_seed(SPEC, "p", "d")
    assert run_key(renamed, "p", "d", 1, {}) == run_key(SPEC, "p", "d", 1, {})
    others = [
        cmdstan_seed(SPEC, "p", "d"),
        cmdstan_seed(SPEC, "q", "d"),
        cmdstan_seed(SPEC, "p", "e"),
        cmdstan_seed(dataclasses.replace(SPEC, method="fullrank"), "p", "d"),
        cmdstan_seed(dataclasses.replace(SPEC, options={"iter": 7}), "p", "d"),
    ]
    assert len(set(others)) == len(others)


def test_a_result_that_another_model_stored_keeps_the_name_asked_for(tmp_path: Path) -> None:
    """Draws come from the store, the spec from who asks."""
    store = Store(tmp_path)
    store.put(result())
    spec = dataclasses.replace(SPEC, model="renamed")
    light = dataclasses.replace(result(), spec=spec, draws=None, trace=None)
    (found,) = store.with_arrays([light])
    assert found.spec.model == "renamed"
    assert found.draws is not None
