"""Which number types (dtypes) a safetensors file may have: those that mechicl can convert without rounding.

mechicl's own files have F32 and F16. Other files may have any dtype of the format. BF16 and 8-bit floats are converted
exactly. What float32 (or, for tables, float64) cannot hold is refused; the error names the tensor and its dtype.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

# Name in the format -> name in torch: what float32 holds, and what float64 holds.
FLOATS = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}
NUMBERS = FLOATS | {
    "F64": "float64",
    "I8": "int8",
    "U8": "uint8",
    "I16": "int16",
    "U16": "uint16",
    "I32": "int32",
    "U32": "uint32",
}


class ForeignDtype(ValueError):
    """A tensor that cannot be read here at all, or not without rounding."""


def check(given: Iterable[tuple[str, str]], known: Mapping[str, str] = FLOATS) -> None:
    """Raise at the first (tensor, dtype) with an unknown dtype.

    Raises:
        ForeignDtype: the tensor, its dtype and what can be read.
    """
    for name, dtype in given:
        if dtype not in known:
            raise ForeignDtype(
                f"its tensor {name!r} has dtype {dtype}; dtypes that can be read without rounding are "
                f"{', '.join(known)}: convert it"
            )


def load(data: bytes, known: Mapping[str, str] = FLOATS, *, counts: Iterable[str] = ()) -> dict[str, Tensor]:
    """The tensors of a safetensors file, in its order; floats of FLOATS as float32, others as they are.

    Args:
        known: which dtypes it may hold.
        counts: tensors that may be whole numbers (I64), such as the step of a state.

    Raises:
        safetensors.SafetensorError: it is not a safetensors file.
        ForeignDtype: it has another dtype.
    """
    import safetensors
    import safetensors.torch

    own = set(counts)
    try:
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        kinds = {name: x["dtype"] for name, x in header.items() if name != "__metadata__"}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise safetensors.SafetensorError("it has no header of a safetensors file") from None
    check(((name, dtype) for name, dtype in kinds.items() if not (name in own and dtype == "I64")), known)
    loaded = safetensors.torch.load(data)  # in an order that changes from process to process
    return {name: loaded[name].float() if kind in FLOATS else loaded[name] for name, kind in kinds.items()}
