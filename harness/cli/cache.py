"""``harness cache``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from harness.cli.common import fail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.stan.usage import Entry

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_SIZE = re.compile(r"(\d+(?:\.\d+)?) *([KMGT]?)B?", re.IGNORECASE)


class _Size(click.ParamType[int]):
    """A number of bytes, such as 5GB or 500 MB."""

    name = "size"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        if isinstance(value, int):
            return value
        found = _SIZE.fullmatch(str(value).strip())
        if found is None:
            self.fail(f"{value!r} is no size; allowed: 5GB, 500MB, 0", param, ctx)
        number, unit = float(found[1]), found[2].upper()
        if number and found[0][-1].isdigit():
            # A forgotten unit would remove nearly everything.
            self.fail(f"{value!r} has no unit; write {value}GB, or {value}B for bytes", param, ctx)
        return int(number * _UNITS[unit])


@click.command(
    epilog="""\b
    harness cache                  what is kept, by kind
    harness cache --keep 5GB       remove what was least recently used
    harness cache --clear data     remove all data; all kinds without a name
    """
)
@click.option("--keep", type=_Size(), metavar="SIZE", help="Remove the least recently used beyond.")
@click.option(
    "--clear",
    is_flag=False,
    flag_value="all",
    metavar="[KIND]",
    help="Remove one kind, or all but CmdStan. Not while a comparison runs.",
)
def cache(*, keep: int | None, clear: str | None) -> None:
    """Show what the cache holds, limit it, or clear it. What is removed is computed again."""
    from harness.records.text import count
    from harness.stan import cache_dir, usage

    if keep is not None and clear is not None:
        raise fail("--keep and --clear exclude each other")
    if clear is not None:
        kinds = sorted({*usage.KINDS, *(e.kind for e in usage.entries())})
        if clear not in {"all", *kinds}:
            raise fail(f"no kind {clear!r} in the cache; there are all, {', '.join(kinds)}")
        gone = usage.clear(None if clear == "all" else clear)
    else:
        gone = [] if keep is None else usage.shrink(keep)
    if keep is not None or clear is not None:
        click.echo(f"removed {count(len(gone), 'entry', 'entries')}, {_size(gone)}")
    there = usage.entries()
    click.echo(f"{cache_dir()}: {_size(there)}")
    for kind in dict.fromkeys((*usage.KINDS, *sorted({e.kind for e in there}))):
        if own := [e for e in there if e.kind == kind]:
            words = usage.KINDS.get(kind, "")
            click.echo(
                f"  {kind:<12} {_size(own):>9}  {count(len(own), 'entry', 'entries'):<14} {words}"
            )


def _size(entries: Sequence[Entry]) -> str:
    from harness.records.text import fixed

    size = sum(e.size for e in entries)
    unit = next((u for u in ("G", "M") if size >= _UNITS[u]), "k")
    return f"{fixed(size / _UNITS[unit.upper()], 1)} {unit}B"
