"""Sixteen numbers at once, as a type of numba's: loops over a batch whose vectors are not left to the compiler to see.

LLVM vectorises the innermost loop only. Where that loop is short (32 sequences), beginning it costs more than running
it, and every sum goes through memory. With a vector as a value, the loops over positions and dimensions are the inner
ones, and their sums stay in registers. Each of the sixteen lanes is computed as the plain loop computes it, in the same
order and with the same fused multiplications, so its bits are those of the plain loop.

A pointer to an array's numbers does not keep the array alive: only a caller's arrays may be pointed to.
"""

# pyright: reportMissingParameterType=false
# (compiled: numba finds the types, and the docstrings give the shapes)
from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numba.extending
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import models, overload, register_model

from mechicl.system import compiling
from mechicl.system.compiling import Decorator

intrinsic: Any = numba.extending.intrinsic  # its functions are called without their first argument

WIDTH = 16  # two registers of AVX2: the second one's work hides the first one's latency
LINE = 64  # bytes of a cache line

# No reordering of sums: each operation is written as it is meant.
exact: Decorator = compiling.compiled(nogil=True, error_model="numpy")
inlined: Decorator = compiling.compiled(nogil=True, error_model="numpy", forceinline=True)  # a part of an `exact` loop


class Lanes(types.Type):
    """WIDTH numbers of one dtype."""

    def __init__(self, dtype: Any):  # a number's type
        self.dtype = dtype
        super().__init__(name=f"Lanes({dtype})")


@register_model(Lanes)
class LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, lanes: Lanes):
        super().__init__(manager, lanes, _vector(lanes.dtype))


def _vector(dtype: types.Type) -> ir.VectorType:
    return ir.VectorType(ir.FloatType() if dtype == types.float32 else ir.DoubleType(), WIDTH)


@intrinsic
def start(typing, x):
    """A pointer to the first number of an array without gaps."""
    if x.layout != "C":
        raise TypingError("lanes.start needs a contiguous array.")

    def code(context, builder, signature, args):
        return context.make_array(x)(context, builder, args[0]).data

    return types.CPointer(x.dtype)(x), code


@intrinsic
def line_start(typing, x):
    """As `start`, from the first cache line that begins in the array: no vector then lies across two lines, which takes
    twice as long. Up to LINE bytes at the end are needed for it."""
    pointer = types.CPointer(x.dtype)

    def code(context, builder, signature, args):
        word, first = ir.IntType(64), context.make_array(x)(context, builder, args[0]).data
        up = builder.add(builder.ptrtoint(first, word), ir.Constant(word, LINE - 1))
        return builder.inttoptr(builder.and_(up, ir.Constant(word, -LINE)), context.get_value_type(pointer))

    return pointer(x), code


@intrinsic
def offset(typing, pointer, by):
    """The pointer, `by` numbers further on."""
    return pointer(pointer, by), lambda context, builder, signature, args: builder.gep(args[0], [args[1]])


@intrinsic(prefer_literal=True)
def registers(typing, like, count):
    """A pointer to room for `count` (a constant) vectors of like's dtype. Where all loops over it are unrolled, the
    vectors stay in registers."""

    def code(context, builder, signature, args):
        room = cgutils.alloca_once(builder, _vector(like.dtype), size=count.literal_value)
        return builder.bitcast(room, context.get_value_type(like.dtype).as_pointer())

    return types.CPointer(like.dtype)(like, count), code


@intrinsic
def load(typing, pointer, at):
    """The WIDTH numbers from `at` on."""

    def code(context, builder, signature, args):
        return builder.load(_at(builder, pointer, *args), align=pointer.dtype.bitwidth // 8)

    return Lanes(pointer.dtype)(pointer, at), code


@intrinsic
def store(typing, pointer, at, value):
    """Write WIDTH numbers from `at` on."""

    def code(context, builder, signature, args):
        builder.store(args[2], _at(builder, pointer, *args[:2]), align=pointer.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(pointer, at, value), code


def _at(builder, pointer, base, at):
    return builder.bitcast(builder.gep(base, [at]), _vector(pointer.dtype).as_pointer())


@intrinsic
def splat(typing, x):
    """One number in every lane."""

    def code(context, builder, signature, args):
        empty, index = ir.Constant(_vector(x), ir.Undefined), ir.IntType(32)
        first = builder.insert_element(empty, args[0], ir.Constant(index, 0))
        return builder.shuffle_vector(first, empty, ir.Constant(ir.VectorType(index, WIDTH), [0] * WIDTH))

    return Lanes(x)(x), code


def _infix(sign: Callable[..., Any], name: str) -> None:
    """a sign b of two vectors."""

    @intrinsic
    def instruction(typing, a, b):
        return a(a, b), lambda context, builder, signature, args: getattr(builder, name)(*args)

    @overload(sign)
    def infix(a, b):
        return (lambda a, b: instruction(a, b)) if isinstance(a, Lanes) and isinstance(b, Lanes) else None


for _sign, _name in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _infix(_sign, _name)


@intrinsic
def largest(typing, a, b):
    """The larger number in each lane."""

    def code(context, builder, signature, args):
        return builder.select(builder.fcmp_ordered(">", *args), *args)

    return a(a, b), code


@intrinsic
def smallest(typing, a, b):
    """The smaller number in each lane."""

    def code(context, builder, signature, args):
        return builder.select(builder.fcmp_ordered("<", *args), *args)

    return a(a, b), code


def _call(name: str, a: Lanes, builder, args):
    vector = _vector(a.dtype)
    kind = ir.FunctionType(vector, [vector] * len(args))
    suffix = f"v{WIDTH}f{a.dtype.bitwidth}"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.{suffix}"), args)


@intrinsic
def fma(typing, a, b, c):
    """a b + c, rounded once where the CPU can."""
    return a(a, b, c), lambda context, builder, signature, args: _call("fmuladd", a, builder, args)


@intrinsic
def _floor(typing, a):
    return a(a), lambda context, builder, signature, args: _call("floor", a, builder, args)


@intrinsic
def _exp(typing, a):
    return a(a), lambda context, builder, signature, args: _call("exp", a, builder, args)


@intrinsic
def _two_to(typing, a):
    """2^a of whole numbers, in float32."""

    def code(context, builder, signature, args):
        whole = ir.VectorType(ir.IntType(32), WIDTH)
        biased = builder.add(builder.fptosi(args[0], whole), ir.Constant(whole, [127] * WIDTH))
        return builder.bitcast(builder.shl(biased, ir.Constant(whole, [23] * WIDTH)), _vector(a.dtype))

    return a(a), code


@exact
def exp_single(x):
    """`kernels.exp_single` in every lane, with the same bits."""
    x = largest(x, splat(np.float32(-87.0)))
    n = _floor(fma(x, splat(np.float32(1.44269504088896341)), splat(np.float32(0.5))))
    r = fma(n, splat(np.float32(-0.693359375)), x)
    r = fma(n, splat(np.float32(2.12194440e-4)), r)
    p = splat(np.float32(1.9875691500e-4))
    p = fma(p, r, splat(np.float32(1.3981999507e-3)))
    p = fma(p, r, splat(np.float32(8.3334519073e-3)))
    p = fma(p, r, splat(np.float32(4.1665795894e-2)))
    p = fma(p, r, splat(np.float32(1.6666665459e-1)))
    p = fma(p, r, splat(np.float32(5.0000001201e-1)))
    return (fma(p * r, r, r) + splat(np.float32(1))) * _two_to(n)


@exact
def exp_double(x):
    return _exp(x)
