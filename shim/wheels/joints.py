"""Empty deflate blocks, which move the stream to a wanted bit of a byte. Facts: RFC 1951 section 3.2."""

from __future__ import annotations

__all__ = ["to_bit", "to_byte"]

_EMPTY_STORED = b"\x00\x00\xff\xff"
"""Length 0 and its complement; three header bits 000 and padding to a byte stand before."""

_EMPTY_FIXED = (0b0000000_01_0, 10)
"""Not the last block, fixed Huffman codes (01), end of block (seven zero bits): value and number of bits."""


def _empty_dynamic() -> tuple[int, int]:
    """A block of 95 bits that yields nothing. An odd number: fixed blocks alone reach even bits only.

    All its Huffman codes are complete, as some inflaters ask: literal 255 and end of block have one bit each,
    so do two distances that are never used.
    """
    bits = position = 0

    def put(value: int, width: int) -> None:
        nonlocal bits, position
        bits |= value << position
        position += width

    put(0, 1)  # not the last block
    put(2, 2)  # dynamic Huffman codes
    put(257 - 257, 5)  # literal codes
    put(2 - 1, 5)  # distance codes
    put(19 - 4, 4)  # code length codes
    for symbol in (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15):
        put(1 if symbol in (18, 1) else 0, 3)
    # Codes of one bit, by symbol: 0 says "length 1", 1 says "11 to 138 zeros, 7 more bits tell".
    for zeros in (138, 255 - 138):
        put(1, 1)
        put(zeros - 11, 7)
    for _ in range(4):  # literal 255, end of block, two distances
        put(0, 1)
    put(1, 1)  # end of block
    return bits, position


_EMPTY_DYNAMIC = _empty_dynamic()


def to_byte(pending: int, count: int) -> bytes:
    """End a stream's last, partial byte with an empty stored block.

    Args:
        pending: value of the `count` lowest bits of that byte.
        count: 0 to 7; nothing is needed for 0.
    """
    if count == 0:
        return b""
    size = (count + 3 + 7) // 8
    return pending.to_bytes(size, "little") + _EMPTY_STORED


def to_bit(bit: int) -> tuple[bytes, int]:
    """Empty blocks from the start of a byte to bit `bit` (0 to 7) of another.

    Returns:
        The whole bytes, and the value of the `bit` lowest bits of the next one.
    """
    bits = position = 0
    blocks = [_EMPTY_DYNAMIC] if bit % 2 else []
    length = sum(size for _, size in blocks)
    while (length - bit) % 8:
        blocks.append(_EMPTY_FIXED)
        length += _EMPTY_FIXED[1]
    for value, size in blocks:
        bits |= value << position
        position += size
    whole = position // 8
    return (bits & (1 << whole * 8) - 1).to_bytes(whole, "little"), bits >> whole * 8
