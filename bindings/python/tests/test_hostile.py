"""Files that were made to do harm end soon, in an error of the package or in a right result."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import otfuse
import pytest

HOSTILE = Path(__file__).parents[4] / "shared" / "cases" / "hostile"
FILES = sorted(HOSTILE.iterdir()) if HOSTILE.is_dir() else []
CALLS: dict[str, Callable[[str], object]] = {
    "open": otfuse.open,
    "inspect": otfuse.inspect,
    "verify": otfuse.verify,
    "fuse": lambda path: otfuse.fuse([path, path]),
}
# Seconds that a call computes at most, on all cores together, and bytes of address space.
SECONDS, SPACE = 4, 4 << 30


def limited() -> None:
    """What a call may take, beside what Python and its libraries take."""
    resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
    resource.setrlimit(resource.RLIMIT_AS, (SPACE, SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@pytest.mark.skipif(not FILES and os.environ.get("OTFUSE_REQUIRE_SHARED") != "1", reason="no files made to do harm")
@pytest.mark.parametrize("call", CALLS)
def test_files_of_strangers(call: str) -> None:
    """All files in one process for each call, so that what one leaves behind would be seen in the next."""
    assert FILES
    done = subprocess.run(
        [sys.executable, __file__, call, *map(str, FILES)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        preexec_fn=limited,
    )
    assert done.returncode == 0, f"{done.returncode}: {done.stdout[-400:]} {done.stderr[-2000:]}"
    assert done.stdout.count("\n") == len(FILES)


def main() -> None:
    """Calls a function on each file; only errors of the package may come of it."""
    for path in sys.argv[2:]:
        begin = time.process_time()
        try:
            CALLS[sys.argv[1]](path)
            outcome = "ok"
        except otfuse.Error as error:
            outcome = type(error).__name__
        computed = time.process_time() - begin
        assert computed < SECONDS, f"{path}: {computed} s"
        print(path, outcome, flush=True)


if __name__ == "__main__":
    main()
