"""The command line: ``otfuse``, or ``python -m otfuse``."""

import sys


def main() -> None:
    """Does what the command line says, and ends with its exit code."""
    from . import _otfuse

    sys.exit(_otfuse.main(["otfuse", *sys.argv[1:]]))


if __name__ == "__main__":
    main()
