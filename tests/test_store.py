"""The store: what goes in comes out, and what is damaged is as good as absent."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import multiprocessing
import os
import pickle
import resource
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ConfigDict, TypeAdapter

from harness.records import Cost, Draws, Estimate, Reason, RunResult, RunSpec, Trace
from harness.study.arrays import packed
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
    path = folder / "arrays.bin"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def damage_meta(folder: Path) -> None:
    """Cut the JSON."""
    (folder / "result.json").write_text('{"format": 1')


def remove_arrays(folder: Path) -> None:
    """Lose the arrays."""
    (folder / "arrays.bin").unlink()


def rewrite(folder: Path, change: Callable[[Any], Any]) -> None:
    """Change the JSON of an entry and give it the checksum that fits."""
    path = folder / "result.json"
    meta = change(json.loads(path.read_bytes().partition(b"\n")[2]))
    body = meta if isinstance(meta, bytes) else json.dumps(meta).encode()
    arrays = zlib.crc32((folder / "arrays.bin").read_bytes())
    whole = f"{hashlib.sha256(body).hexdigest()}-{arrays:08x}"
    path.write_bytes(whole.encode() + b"\n" + body)


def change_format(folder: Path) -> None:
    """Pretend another version of the store wrote it."""
    rewrite(folder, lambda meta: meta | {"format": 99})


def change_key(folder: Path) -> None:
    """Make it the entry of another run."""
    rewrite(folder, lambda meta: meta | {"key": "cd" * 32})


def change_type(folder: Path) -> None:
    """Write a list where an object belongs."""
    rewrite(folder, lambda _: ["format", 2])


def change_spec(folder: Path) -> None:
    """Write a number where the spec belongs."""
    rewrite(folder, lambda meta: meta | {"spec": 3, "diagnostics": [1]})


def change_depth(folder: Path) -> None:
    """Nest it deeper than Python's stack."""
    rewrite(folder, lambda _: b"[" * 100_000 + b"]" * 100_000)


def change_names(folder: Path) -> None:
    """Name three quantities for the draws of two."""
    rewrite(folder, lambda meta: meta | {"names": ["a", "b", "c"]})


def pickle_arrays(folder: Path) -> None:
    """Put an object that is unpickled by running code among the arrays."""
    content = b"".join(packed({"draws": np.zeros(1)}))
    pickled = pickle.dumps(Evil()).ljust(64)
    changed = content.replace(b'"<f8"', b'"|O" ').replace(bytes(8) + bytes(56), pickled[:64])
    (folder / "arrays.bin").write_bytes(changed)
    rewrite(folder, lambda meta: meta)


class Evil:
    """Marks the class when it is unpickled."""

    ran = False

    def __reduce__(self) -> tuple[Any, ...]:
        """Name the call that unpickling makes."""
        return setattr, (Evil, "ran", True)


DAMAGES = [
    damage_arrays,
    damage_meta,
    remove_arrays,
    change_format,
    change_key,
    change_type,
    change_spec,
    change_depth,
]


@pytest.mark.parametrize("damage", DAMAGES)
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


@pytest.mark.parametrize("damage", [change_names, pickle_arrays])
def test_damaged_arrays_are_dropped_when_they_are_read(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    """Draws of another shape are absent, and no pickle is run."""
    said: list[str] = []
    store = Store(tmp_path, said.append)
    put = result()
    store.put(put)
    damage(tmp_path / put.key[:2] / put.key)
    assert store.get(put.key) is None
    assert len(said) == 1
    assert not Evil.ran


def test_no_object_is_kept(tmp_path: Path) -> None:
    """Writing an array of objects is refused, and leaves nothing."""
    odd = np.array([[[None]]], dtype=object)
    with pytest.raises(TypeError, match="only numbers"):
        Store(tmp_path).put(dataclasses.replace(result(), draws=Draws(("a",), odd)))
    assert not list(tmp_path.rglob("*.npz"))


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    """No one-bit flip of result.json, nor one of every 13th bit of the arrays, is taken."""
    put = result()
    Store(tmp_path).put(put)
    folder = tmp_path / put.key[:2] / put.key
    whole = {p: p.read_bytes() for p in folder.iterdir()}
    taken = tried = 0
    for path, content in whole.items():
        step = 1 if path.suffix == ".json" else 13
        for bit in range(0, 8 * len(content), step):
            flipped = bytearray(content)
            flipped[bit // 8] ^= 1 << bit % 8
            folder.mkdir(exist_ok=True)
            for other, its in whole.items():
                other.write_bytes(flipped if other == path else its)
            tried += 1
            taken += Store(tmp_path).get(put.key) is not None
    assert tried > 3000
    assert taken == 0


def test_swapped_entries_are_not_returned_as_each_others(tmp_path: Path) -> None:
    """Two entries, and two records, that changed places are absent."""
    one, two = result("ab" * 32), result("cd" * 32)
    store = Store(tmp_path)
    for key, put in (("1", one), ("2", two)):
        store.put(put)
        store.keep(key, KIND, (Estimate(float(key), 0.5),))
    swap(tmp_path / "ab" / one.key, tmp_path / "cd" / two.key)
    swap(tmp_path / "memo" / "1.record", tmp_path / "memo" / "2.record")
    assert [store.get(one.key), store.get(two.key)] == [None, None]
    assert [store.recall("1", KIND), store.recall("2", KIND)] == [None, None]


def swap(one: Path, two: Path) -> None:
    """Let two files or folders change places."""
    aside = one.with_name("aside")
    one.rename(aside)
    two.rename(one)
    aside.rename(two)


def _race(root: Path, start: float) -> None:
    time.sleep(max(0.0, start - time.time()))
    for i in range(50):
        Store(root).put(result(f"{i:064x}"))


def test_racing_writers_disturb_neither_each_other_nor_a_reader(tmp_path: Path) -> None:
    """Four processes write the same 50 entries at once: none raises, and all are whole."""
    context = multiprocessing.get_context("fork")
    start = time.time() + 0.2
    racers = [context.Process(target=_race, args=(tmp_path, start)) for _ in range(4)]
    for racer in racers:
        racer.start()
    said: list[str] = []
    store = Store(tmp_path, said.append)
    while any(r.is_alive() for r in racers):
        store.get(f"{25:064x}")
    for racer in racers:
        racer.join()
    assert [r.exitcode for r in racers] == [0] * 4
    assert all(store.get(f"{i:064x}") is not None for i in range(50))
    assert not said
    assert not list((tmp_path / "partial").iterdir())


def test_what_a_killed_writer_left_is_swept_by_its_age(tmp_path: Path) -> None:
    """An unfinished entry of an hour ago goes, one that may still be written stays."""
    store = Store(tmp_path)
    old, new = (store._aside(k) for k in ("old", "new"))
    (old / "entry").mkdir()
    os.utime(old, (time.time() - 7200,) * 2)
    store.sweep()
    assert (old.exists(), new.exists()) == (False, True)


def test_an_entry_that_cannot_be_opened_now_is_not_dropped(tmp_path: Path) -> None:
    """Without a free file descriptor reading raises, and the entry is whole afterwards."""
    store = Store(tmp_path)
    store.put(result())
    store.keep("k", KIND, (Estimate(1.0, 0.5),))
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limit[1]))
    try:
        with pytest.raises(StoreError, match="Too many open files"):
            store.get(result().key)
        with pytest.raises(StoreError, match="Too many open files"):
            store.recall("k", KIND)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    assert store.get(result().key) is not None
    assert store.recall("k", KIND) is not None


KIND = TypeAdapter(tuple[Estimate, ...], config=ConfigDict(ser_json_inf_nan="constants"))


def test_a_kept_record_reads_back_equal(tmp_path: Path) -> None:
    """Infinities, NaN and every digit survive; the file is a checksum and JSON."""
    store = Store(tmp_path)
    put = (Estimate(0.1 + 0.2, math.inf), Estimate(math.nan, 0.0))
    store.keep("k", KIND, put)
    back = store.recall("k", KIND)
    assert repr(back) == repr(put)
    _, body = (tmp_path / "memo" / "k.record").read_bytes().split(b"\n")
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
    path = tmp_path / "memo" / "k.record"
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


def test_entries_of_an_earlier_version_are_read_and_verified(tmp_path: Path) -> None:
    """Their checksum is one SHA-256 over all bytes."""
    store = Store(tmp_path)
    run = result()
    store.put(run)
    folder = next(tmp_path.glob("ab/*"))
    path, arrays = folder / "result.json", folder / "arrays.bin"
    body = path.read_bytes().partition(b"\n")[2]
    path.write_bytes(hashlib.sha256(body + arrays.read_bytes()).hexdigest().encode() + b"\n" + body)
    found = store.get(run.key)
    assert found is not None
    assert found.draws is not None
    assert run.draws is not None
    np.testing.assert_array_equal(found.draws.values, run.draws.values)
    whole = bytearray(arrays.read_bytes())
    whole[-70] ^= 1
    arrays.write_bytes(whole)
    assert store.get(run.key) is None
