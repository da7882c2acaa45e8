"""WebAssembly's text to its bytes: as much of the format as `assets/kernel.wat` uses, one function in one module.

So the kernel is readable source in the repository and no compiled file, and no compiler is needed to export. Any tool
for WebAssembly reads the same text. The format is that of the WebAssembly specification 2.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

TYPES = {"i32": 0x7F, "v128": 0x7B}
_NOTHING = 0x40  # the type of a block that leaves nothing on the stack
_VECTOR = 0xFD  # before the number of an instruction on four numbers
PLAIN = {
    "i32.gt_u": 0x4B,
    "i32.ge_u": 0x4F,
    "i32.lt_u": 0x49,
    "i32.add": 0x6A,
    "i32.sub": 0x6B,
    "i32.shl": 0x74,
    "select": 0x1B,
}
LOCALS = {"local.get": 0x20, "local.set": 0x21, "local.tee": 0x22}
BLOCKS = {"block": 0x02, "loop": 0x03, "if": 0x04}
BRANCHES = {"br": 0x0C, "br_if": 0x0D}
MEMORY = {"v128.load": (0, 4), "v128.load32_splat": (9, 2), "v128.store": (11, 4)}  # (number, log2 of the alignment)
VECTORS = {"f32x4.add": 228, "f32x4.mul": 230}


def assemble(text: str) -> bytes:
    """The module as a browser loads it.

    Raises:
        ValueError: the text uses something that is not known here; it names it.
    """
    text = re.sub(r";;.*", "", text)
    owner, memory = _one(r'\(import "(\w+)" "(\w+)" \(memory 1\)\)', text)
    (name,) = _one(r'\(func \(export "(\w+)"\)', text)
    parameters, local = (re.findall(rf"\({what} (\$\w+) (\w+)\)", text) for what in ("param", "local"))
    ends = [found.end() for found in re.finditer(r"\((?:param|local) \$\w+ \w+\)", text)]
    body = text[max(ends) :].rstrip().removesuffix(")").rstrip().removesuffix(")")
    places = {each: i for i, (each, _) in enumerate([*parameters, *local])}
    code = bytes([*_declared(local), *_instructions(body, places), 0x0B])
    function = [0x60, *_vector([[TYPES[kind]] for _, kind in parameters]), 0]
    sections = {
        1: _vector([function]),
        2: _vector([[*_name(owner), *_name(memory), 2, 0, 1]]),
        3: _vector([[0]]),
        7: _vector([[*_name(name), 0, 0]]),
        10: _vector([[*_number(len(code)), *code]]),
    }
    out = bytearray(b"\0asm\1\0\0\0")
    for number, content in sections.items():
        out += bytes([number, *_number(len(content)), *content])
    return bytes(out)


def _instructions(body: str, places: dict[str, int]) -> Iterator[int]:
    words, open_blocks, at = body.split(), [], 0
    while at < len(words):
        word, at = words[at], at + 1
        following = words[at] if at < len(words) else ""
        if word in PLAIN:
            yield PLAIN[word]
        elif word in LOCALS:
            yield from (LOCALS[word], *_number(places[following]))
            at += 1
        elif word == "i32.const":
            yield from (0x41, *_signed(int(following)))
            at += 1
        elif word in BLOCKS:
            named = following.startswith("$")
            open_blocks.append(following if named else "")
            at += named
            yield from (BLOCKS[word], _NOTHING)
        elif word == "end":
            open_blocks.pop()
            yield 0x0B
        elif word in BRANCHES:
            yield from (BRANCHES[word], open_blocks[::-1].index(following))
            at += 1
        elif word in MEMORY:
            number, alignment = MEMORY[word]
            offset = int(following.removeprefix("offset=")) if following.startswith("offset=") else None
            at += offset is not None
            yield from (_VECTOR, *_number(number), alignment, *_number(offset or 0))
        elif word in VECTORS:
            yield from (_VECTOR, *_number(VECTORS[word]))
        elif word == "v128.const" and words[at : at + 5] == ["i32x4", "0", "0", "0", "0"]:
            yield from (_VECTOR, 12, *bytes(16))
            at += 5
        else:
            raise ValueError(f"no instruction {word!r} is known here (followed by {following!r})")
    if open_blocks:
        raise ValueError(f"{len(open_blocks)} blocks have no end")


def _one(pattern: str, text: str) -> tuple[str, ...]:
    found = re.findall(pattern, text)
    if len(found) != 1:
        raise ValueError(f"expected one {pattern}, found {len(found)}")
    return found[0] if isinstance(found[0], tuple) else (found[0],)


def _declared(local: list[tuple[str, str]]) -> list[int]:
    return _vector([[1, TYPES[kind]] for _, kind in local])


def _vector(items: Iterable[Iterable[int]]) -> list[int]:
    """Their number, then one after another."""
    listed = [list(item) for item in items]
    return [*_number(len(listed)), *(byte for item in listed for byte in item)]


def _name(text: str) -> list[int]:
    return [*_number(len(text)), *text.encode()]


def _number(value: int) -> list[int]:
    """LEB128: seven bits in a byte, the lowest first."""
    out = []
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return [*out, value]


def _signed(value: int) -> list[int]:
    """LEB128 of a number 0 or more that a reader takes as signed."""
    last = _number(value)
    return last if last[-1] < 0x40 else [*last[:-1], last[-1] | 0x80, 0]
