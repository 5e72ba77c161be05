"""Descriptions of a program's data for the C side, which reads arrays without copies."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.stan.bridge.loading import Array, BridgeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_KINDS = {np.dtype(np.float64): 0, np.dtype(np.int32): 1, np.dtype(np.int64): 2}

_INT32 = 2**31


def described(data: Mapping[str, Any]) -> tuple[Any, list[Any]]:
    """Describe arrays for the C side; the list keeps alive what the descriptions point to.

    Raises
    ------
    BridgeError
        If Stan has no such value.
    """
    kept = []
    slots = (Array * len(data))()
    for slot, (name, value) in zip(slots, data.items(), strict=True):
        array = _plain(name, value)
        shape = (ctypes.c_int64 * array.ndim)(*array.shape)
        strides = (ctypes.c_int64 * array.ndim)(*array.strides)
        slot.name = name.encode()
        slot.kind = _KINDS[array.dtype]
        slot.ndim = array.ndim
        slot.shape, slot.strides = shape, strides
        slot.data = array.ctypes.data
        kept.append((array, shape, strides))
    return slots, kept


def _plain(name: str, value: Any) -> NDArray[Any]:
    if np.ma.is_masked(value):
        msg = f"{name} has masked elements, but Stan has no missing values; leave them out"
        raise BridgeError(msg)
    try:
        array = np.asarray(value)
    except ValueError as error:
        msg = f"{name} is ragged; allowed: arrays whose rows have one length"
        raise BridgeError(msg) from error
    if array.dtype in _KINDS:
        return array
    if array.dtype == np.bool_ or np.issubdtype(array.dtype, np.integer):
        if array.size and (array.max() >= _INT32 or array.min() < -_INT32):
            raise BridgeError(f"{name} has integers beyond 32 bits, which Stan does not support")
        return array.astype(np.int64)
    if array.size == 0:
        return array.astype(np.float64)
    if np.iscomplexobj(array):
        return np.stack([array.real, array.imag], axis=-1).astype(np.float64)
    try:
        return array.astype(np.float64, casting="same_kind")
    except TypeError as error:
        msg = f"{name} has type {array.dtype}; allowed: real numbers and integers"
        raise BridgeError(msg) from error
