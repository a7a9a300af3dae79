"""What a server needs to go on after a restart: a folder that always holds one whole round."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from .._errors import InputError
from .._form import Arrays

__all__ = ["State"]

_INDEX = "state.json"
_VERSION = 1


class State:
    """The folder of a strategy: ``state.json`` names the folder of the last whole round."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(folder)

    def write(self, done: int, arrays: Arrays, forms: dict[int, str], own: dict[int, Arrays], plans: Any) -> None:
        """Writes a round beside the last one, then lets the index point to it."""
        import numpy as np

        self._folder.mkdir(parents=True, exist_ok=True)
        last = self._index()
        folder = Path(tempfile.mkdtemp(prefix=f"round-{done}-", dir=self._folder))
        _write_arrays(folder / "global.npz", arrays)
        for node, held in own.items():
            _write_arrays(folder / f"client-{node}.npz", held)
        (folder / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
        index = {
            "version": _VERSION,
            "round": done,
            "folder": folder.name,
            "forms": {str(node): name for node, name in forms.items()},
            "clients": [str(node) for node in own],
            "numpy": np.__version__,
        }
        temporary = self._folder / f"{_INDEX}.part"
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(index, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self._folder / _INDEX)
        if last is not None:
            shutil.rmtree(self._folder / last["folder"], ignore_errors=True)

    def read(self) -> tuple[int, Arrays, dict[int, str], dict[int, Arrays], Any] | None:
        """The last whole round, or None where there is none."""
        index = self._index()
        if index is None:
            return None
        folder = self._folder / index["folder"]
        try:
            own = {int(node): _read_arrays(folder / f"client-{node}.npz") for node in index["clients"]}
            plans = json.loads((folder / "plans.json").read_text(encoding="utf-8"))
            forms = {int(node): name for node, name in index["forms"].items()}
            return int(index["round"]), _read_arrays(folder / "global.npz"), forms, own, plans
        except (OSError, KeyError, ValueError) as error:
            raise self._broken(str(error)) from error

    def _index(self) -> dict[str, Any] | None:
        path = self._folder / _INDEX
        if not path.exists():
            return None
        try:
            index: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise self._broken(str(error)) from error
        if index.get("version") != _VERSION:
            raise self._broken(f"version {index.get('version')}, expected {_VERSION}")
        return index

    def _broken(self, why: str) -> InputError:
        return InputError(
            f"{self._folder}: the state cannot be read: {why}", "remove the folder to begin anew, or give another"
        )


def _write_arrays(path: Path, arrays: Arrays) -> None:
    import numpy as np

    with open(path, "wb") as file:
        # Names of tensors may be anything, those of members of the archive not.
        np.savez(file, allow_pickle=False, **{f"a{at}": array for at, array in enumerate(arrays.values())})
    path.with_suffix(".names").write_text(json.dumps(list(arrays)), encoding="utf-8")


def _read_arrays(path: Path) -> Arrays:
    import numpy as np

    names = json.loads(path.with_suffix(".names").read_text(encoding="utf-8"))
    with np.load(path, allow_pickle=False) as held:
        return {name: held[f"a{at}"] for at, name in enumerate(names)}
