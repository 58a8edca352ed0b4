"""GGUF's packed formats in torch beside the `gguf` package's own numbers, bit for bit."""

import numpy as np
import pytest
import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

from llm_dit.checkpoints.gguf_formats import FORMATS, formula_of
from llm_dit.checkpoints.packed_rows import PackedRows, Unpacker

ROWS, BLOCKS = 64, 6
CODEBOOKS = {"IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ1_S", "IQ1_M"}


def random_bytes(kind, rows=ROWS, blocks=BLOCKS):
    _, size = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    return np.random.default_rng(0).integers(0, 256, (rows, blocks * size), dtype=np.uint8)


def bits(values):
    """Numbers as their bits, all NaNs alike."""
    return np.where(np.isnan(values), np.uint32(0x7FC00000), values.view(np.uint32))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("kind", FORMATS)
def test_random_bytes_are_the_numbers_of_the_gguf_package(kind, device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    stored = random_bytes(kind)
    with np.errstate(all="ignore"):
        expected = dequantize(stored, GGMLQuantizationType[kind])
    unpacked = formula_of(kind)(torch.from_numpy(stored).to(device)).cpu().numpy()
    assert unpacked.shape == expected.shape
    assert np.array_equal(bits(unpacked), bits(expected))


def test_all_types_but_those_with_a_codebook_are_there():
    from gguf.quants import _type_traits

    assert {kind.name for kind in _type_traits} - {"BF16"} == FORMATS.keys() | CODEBOOKS
    assert all(FORMATS[kind][0] == GGML_QUANT_SIZES[GGMLQuantizationType[kind]][1] for kind in FORMATS)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_portions_of_rows_give_the_numbers_of_the_whole(dtype, monkeypatch):
    stored = torch.from_numpy(random_bytes("Q4_K"))
    whole = formula_of("Q4_K")(stored).to(dtype)
    monkeypatch.setattr("llm_dit.checkpoints.packed_rows.NUMBERS_AT_ONCE", 7 * whole.shape[1])
    unpacked = PackedRows((stored,), (), Unpacker(formula_of("Q4_K"), whole.shape[1])).unpacked(dtype)
    assert torch.equal(unpacked.nan_to_num(), whole.nan_to_num())
