"""Install a CmdStan if there is none; print its folder, and progress on standard error."""

from __future__ import annotations

import sys

from harness.stan import ToolchainError, ensure_cmdstan


def main() -> int:
    """Print CmdStan's folder and return 0, or print why there is none and return 2."""
    try:
        cmdstan = ensure_cmdstan(lambda line: print(line, file=sys.stderr, flush=True))  # noqa: T201 - a command's output
    except ToolchainError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - a command's output
        return 2
    except KeyboardInterrupt:
        print("interrupted; the next call starts the build again", file=sys.stderr)  # noqa: T201 - a command's output
        return 130
    print(cmdstan.path)  # noqa: T201 - a command's output
    return 0


if __name__ == "__main__":
    sys.exit(main())
