"""Bad input is a typed error with a hint in Python's words."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import otfuse
import pytest

BAD: dict[str, tuple[object, dict[str, object], str]] = {
    "no list": ("a.onnx", {}, "several networks"),
    "one": (["A"], {}, "two"),
    "none": ([], {}, "found none"),
    "missing": (["A", "none.onnx"], {}, "none.onnx"),
    "number": (["A", 3], {}, "expected a network, found int"),
    "option": (["A", "B"], {"wieghts": [1, 2]}, "no option `wieghts`"),
    "value": (["A", "B"], {"method": "otter"}, "`method`"),
    "type": (["A", "B"], {"ridge": "much"}, "`ridge`"),
    "weights": (["A", "B"], {"weights": [1.0]}, "weights"),
    "samples": (["A", "B"], {"samples": np.zeros((3, 5), dtype=np.float32)}, "5"),
    "no samples": (["A", "B"], {"samples": []}, "no samples"),
    "objects": (["A", "B"], {"samples": np.array([None, {}])}, "expected numbers"),
    "kind": (["A", "B"], {"samples": "cifar:none"}, "cifar"),
    "empty": (["A", {}], {}, "empty"),
    "nested": (["A", {"model": {"w": np.zeros(2)}}], {}, "state\\['model'\\]"),
    "bytes": (["A", b"no onnx"], {}, "bytes 1"),
    "device": (["A", "B"], {"device": "abacus"}, "abacus"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case: str, digits: tuple[Path, Path]) -> None:
    models, options, expected = BAD[case]
    if isinstance(models, list):
        models = [{"A": digits[0], "B": digits[1]}.get(one, one) if isinstance(one, str) else one for one in models]
    with pytest.raises(otfuse.InputError, match=expected) as found:
        otfuse.fuse(models, **options)
    error = found.value
    assert error.hint and "--" not in str(error), str(error)
    assert isinstance(error, otfuse.Error) and isinstance(error, ValueError) and error.kind == "input"


def test_fields_say_what_is_to_blame(digits: tuple[Path, Path]) -> None:
    with pytest.raises(otfuse.InputError) as found:
        otfuse.verify("none.onnx")
    assert found.value.file == "none.onnx"
    again = pickle.loads(pickle.dumps(found.value))
    assert (again.message, again.hint, again.file) == (found.value.message, found.value.hint, found.value.file)
    name = next(iter(otfuse.fuse(digits).state_dict()))
    state = otfuse.fuse(digits).state_dict()
    state[name] = np.full_like(state[name], np.nan)
    with pytest.raises(otfuse.InputError, match="NaN") as found:
        otfuse.fuse([state, state], model=digits[0])
    assert found.value.tensor == name


def test_outputs_are_no_inputs(digits: tuple[Path, Path]) -> None:
    before = digits[0].read_bytes()
    with pytest.raises(otfuse.InputError, match="one of the inputs"):
        otfuse.fuse(digits).save(digits[0])
    assert digits[0].read_bytes() == before
