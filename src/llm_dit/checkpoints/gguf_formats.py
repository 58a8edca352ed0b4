"""GGUF's packed formats turned back into numbers on any device: the formulas of the `gguf` package, in torch.

Each gives that package's float32 numbers to the last bit, and waits for no device. Formats with a codebook (IQ1 to IQ3)
are not among them; the package unpacks those.

Source: gguf 0.19 `quants.py`, which follows llama.cpp's `ggml-quants.c`.

Legend: R rows, N blocks, G bytes of a block; `d` and `m` are a block's scale and offset.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

IQ4_VALUES = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
DOUBLED_FLOAT4 = (0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12)
"""Twice the numbers of e2m1; their scales are halved."""
HALVED_E4M3 = tuple(
    0.0
    if code == 0x7F
    else (code & 7) * 2.0**-10
    if not code >> 3 & 15
    else (8 + (code & 7)) * 2.0 ** ((code >> 3 & 15) - 11)
    for code in range(256)
)
"""Half of what a byte is as unsigned e4m3, whose sign is not read."""


def unpack_gguf(packed: Tensor, *, kind: str) -> Tensor:
    """Unpack rows of a matrix.

    Args:
        packed: As they are stored, uint8, [R, bytes of a row].
        kind: A key of `FORMATS`.

    Returns:
        float32, [R, C].
    """
    block_bytes, formula = FORMATS[kind]
    blocks = packed.reshape(-1, block_bytes)  # [N, G]
    return formula(blocks).reshape(len(packed), -1)


def _half(stored: Tensor) -> Tensor:
    """Read two bytes as a float16 number, float32, [N, 1]."""
    import torch

    return stored.contiguous().view(torch.float16).float()


def _signed(stored: Tensor) -> Tensor:
    """Read bytes as whole numbers from -128 to 127, float32."""
    import torch

    return stored.contiguous().view(torch.int8).float()


def _fields(stored: Tensor, width: int, shifts: range, mask: int) -> Tensor:
    """Cut bytes into bit fields: [N, bytes] to [N, bytes / width, len(shifts), width], uint8."""
    import torch

    amounts = torch.arange(shifts.start, shifts.stop, shifts.step, dtype=torch.uint8, device=stored.device)
    return (stored.reshape(len(stored), -1, 1, width) >> amounts[:, None]) & mask


@cache
def _table(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Numbers by their codes, float32; made once, since the copy to a device waits for it."""
    import torch

    with torch.inference_mode(False):
        return torch.tensor(values, dtype=torch.float32, device=device)


def _nibbles(stored: Tensor, width: int = 16) -> Tensor:
    return _fields(stored, width, range(0, 8, 4), 15).flatten(1)


def _q4_0(blocks: Tensor) -> Tensor:
    return _half(blocks[:, :2]) * _nibbles(blocks[:, 2:]).float().sub_(8)


def _q4_1(blocks: Tensor) -> Tensor:
    return (_half(blocks[:, :2]) * _nibbles(blocks[:, 4:]).float()).add_(_half(blocks[:, 2:4]))


def _fifth_bits(stored: Tensor) -> Tensor:
    """One bit a number, lowest first, at its place above four others: [N, 4] to [N, 32]."""
    return _fields(stored, 1, range(8), 1).flatten(1) << 4


def _q5_0(blocks: Tensor) -> Tensor:
    codes = _nibbles(blocks[:, 6:]) | _fifth_bits(blocks[:, 2:6])
    return _half(blocks[:, :2]) * codes.float().sub_(16)


def _q5_1(blocks: Tensor) -> Tensor:
    codes = _nibbles(blocks[:, 8:]) | _fifth_bits(blocks[:, 4:8])
    return (_half(blocks[:, :2]) * codes.float()).add_(_half(blocks[:, 2:4]))


def _q8_0(blocks: Tensor) -> Tensor:
    return _signed(blocks[:, 2:]) * _half(blocks[:, :2])


def _q2_k(blocks: Tensor) -> Tensor:
    scales, stored, d, m = blocks.split([16, 64, 2, 2], dim=1)
    codes = _fields(stored, 32, range(0, 8, 2), 3).reshape(-1, 16, 16).float()
    scale = (_half(d) * (scales & 15).float())[..., None]
    offset = (_half(m) * (scales >> 4).float())[..., None]
    unpacked: Tensor = (scale * codes).sub_(offset)
    return unpacked


def _q3_k(blocks: Tensor) -> Tensor:
    mask, stored, scales, d = blocks.split([32, 64, 12, 2], dim=1)
    low = _fields(scales[:, :8], 8, range(0, 8, 4), 15).flatten(1)
    high = _fields(scales[:, 8:], 4, range(0, 8, 2), 3).flatten(1)
    scale = _half(d) * (low | (high << 4)).float().sub_(32)
    lower = _fields(stored, 32, range(0, 8, 2), 3).reshape(-1, 16, 16).float()
    is_low = _fields(mask, 32, range(8), 1).reshape(-1, 16, 16) ^ 1  # the offset is there where the bit is not
    return scale[..., None] * lower.sub_((is_low << 2).float())


def _six_bit_pairs(stored: Tensor) -> tuple[Tensor, Tensor]:
    """Scales and offsets of eight groups, six bits each in twelve bytes: float32, [N, 8]."""
    import torch

    first, second, rest = stored.split(4, dim=1)
    scales = torch.cat([first & 63, (rest & 15) | ((first >> 2) & 48)], dim=1)
    offsets = torch.cat([second & 63, (rest >> 4) | ((second >> 2) & 48)], dim=1)
    return scales.float(), offsets.float()


def _q4_k(blocks: Tensor) -> Tensor:
    d, m, pairs, stored = blocks.split([2, 2, 12, 128], dim=1)
    scales, offsets = _six_bit_pairs(pairs)
    codes = _nibbles(stored, 32).reshape(-1, 8, 32).float()
    return ((_half(d) * scales)[..., None] * codes).sub_((_half(m) * offsets)[..., None])


def _q5_k(blocks: Tensor) -> Tensor:
    d, m, pairs, high, stored = blocks.split([2, 2, 12, 32, 128], dim=1)
    scales, offsets = _six_bit_pairs(pairs)
    codes = _nibbles(stored, 32) | (_fields(high, 32, range(8), 1).flatten(1) << 4)
    return ((_half(d) * scales)[..., None] * codes.reshape(-1, 8, 32).float()).sub_((_half(m) * offsets)[..., None])


def _q6_k(blocks: Tensor) -> Tensor:
    low, high, scales, d = blocks.split([128, 64, 16, 2], dim=1)
    codes = _nibbles(low, 64) | (_fields(high, 32, range(0, 8, 2), 3).flatten(1) << 4)
    scale = _half(d) * _signed(scales)
    return scale[..., None] * codes.reshape(-1, 16, 16).float().sub_(32)


def _tq1_0(blocks: Tensor) -> Tensor:
    """Five digits of base three a byte."""
    import torch

    first, second, third, d = blocks.split([32, 16, 4, 2], dim=1)
    powers = 3 ** torch.arange(5, device=blocks.device)
    digits = [
        (part[:, None] * powers[:count, None].to(torch.uint8)).flatten(1)  # modulo 256
        for part, count in ((first, 5), (second, 5), (third, 4))
    ]
    return _half(d) * ((torch.cat(digits, dim=1).int() * 3) >> 8).float().sub_(1)


def _tq2_0(blocks: Tensor) -> Tensor:
    stored, d = blocks.split([64, 2], dim=1)
    return _half(d) * _fields(stored, 32, range(0, 8, 2), 3).flatten(1).float().sub_(1)


def _iq4_nl(blocks: Tensor) -> Tensor:
    return _half(blocks[:, :2]) * _table(IQ4_VALUES, blocks.device)[_nibbles(blocks[:, 2:]).int()]


def _iq4_xs(blocks: Tensor) -> Tensor:
    d, high, low, stored = blocks.split([2, 2, 4, 128], dim=1)
    upper = _fields(high, 1, range(0, 8, 2), 3).flatten(1)  # [N, 8]
    scales = (_fields(low, 1, range(0, 8, 4), 15).flatten(1) | (upper << 4)).float().sub_(32)
    values = _table(IQ4_VALUES, blocks.device)[_nibbles(stored).int()]
    return (_half(d) * scales)[..., None] * values.reshape(-1, 8, 32)


def _mxfp4(blocks: Tensor) -> Tensor:
    import torch

    exponent = blocks[:, :1].int()  # of twice the scale
    bits = torch.where(exponent < 2, 0x00200000 << exponent.clamp(max=1), (exponent - 1) << 23)
    return bits.view(torch.float32) * _table(DOUBLED_FLOAT4, blocks.device)[_nibbles(blocks[:, 1:]).int()]


def _nvfp4(blocks: Tensor) -> Tensor:
    scales = _table(HALVED_E4M3, blocks.device)[blocks[:, :4].int()]  # [N, 4]
    values = _table(DOUBLED_FLOAT4, blocks.device)[_nibbles(blocks[:, 4:], 8).int()]
    return scales[..., None] * values.reshape(-1, 4, 16)


FORMATS: Mapping[str, tuple[int, Callable[[Tensor], Tensor]]] = {
    "Q4_0": (18, _q4_0),
    "Q4_1": (20, _q4_1),
    "Q5_0": (22, _q5_0),
    "Q5_1": (24, _q5_1),
    "Q8_0": (34, _q8_0),
    "Q2_K": (84, _q2_k),
    "Q3_K": (110, _q3_k),
    "Q4_K": (144, _q4_k),
    "Q5_K": (176, _q5_k),
    "Q6_K": (210, _q6_k),
    "TQ1_0": (54, _tq1_0),
    "TQ2_0": (66, _tq2_0),
    "IQ4_NL": (18, _iq4_nl),
    "IQ4_XS": (136, _iq4_xs),
    "MXFP4": (17, _mxfp4),
    "NVFP4": (36, _nvfp4),
}
"""Type to the bytes of a block and its formula."""


def formula_of(kind: str) -> Callable[[Tensor], Tensor]:
    """Return what unpacks rows of a type in `FORMATS`; see `unpack_gguf`."""
    return partial(unpack_gguf, kind=kind)
