"""Products of linear layers, whoever multiplies."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from llm_dit.errors import DeviceError
from llm_dit.networks import linear as products
from llm_dit.networks.linear import FEWEST_ROWS, SMALLEST_WEIGHT, Linear, check_onednn, linear

HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
needs_onednn = pytest.mark.skipif(not HAS_ONEDNN, reason="this PyTorch was built without oneDNN, as on macOS")
SHAPES = [((1, 96, 288), 864), ((2, 33, 768), 288), ((FEWEST_ROWS, 256), 1024), ((1, 1, 64, 512), 512)]
"""Of inputs, and outputs of the layer."""


@pytest.fixture(params=[pytest.param(True, marks=needs_onednn), False], ids=["onednn", "torch"])
def is_onednn(request, monkeypatch):
    """Whether oneDNN multiplies on the processor that this pretends to be."""
    monkeypatch.setattr(products, "onednn_multiplies", lambda: request.param)
    return request.param


def numbers(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def rounding(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """How far a float32 product may be from the exact one: K roundings of the sum of magnitudes.

    Source: Higham 2002, Accuracy and Stability of Numerical Algorithms, equation 3.5.
    """
    return F.linear(x.double().abs(), weight.double().abs()) * (x.shape[-1] + 1) * 2.0**-24


@pytest.mark.parametrize(("shape", "outputs"), SHAPES, ids=str)
@pytest.mark.parametrize("has_bias", [True, False])
def test_a_product_is_exact_up_to_rounding(is_onednn, shape, outputs, has_bias):
    x, weight = numbers(*shape), numbers(outputs, shape[-1])
    bias = numbers(outputs) if has_bias else None

    product = linear(x, weight, bias)

    exact = F.linear(x.double(), weight.double(), None if bias is None else bias.double())
    allowed = rounding(x, weight) + (0 if bias is None else bias.abs().double() * 2.0**-24)
    error = (product.double() - exact).abs()
    assert (product.dtype, product.shape) == (torch.float32, (*shape[:-1], outputs))
    assert bool((error <= allowed).all()), f"max {error.max():.2g}, mean {error.mean():.2g}"


@needs_onednn
def test_a_product_has_the_same_bits_by_any_number_of_threads_and_from_any_layout(monkeypatch):
    monkeypatch.setattr(products, "onednn_multiplies", lambda: True)
    x, weight = numbers(1, 96, 2, 288), numbers(864, 288)
    strided, strided_weight = x[:, :, 0], weight.t().contiguous().t()
    threads = torch.get_num_threads()
    try:
        found = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found += [linear(strided.contiguous(), weight), linear(strided, strided_weight)]
    finally:
        torch.set_num_threads(threads)

    assert all(torch.equal(product, found[0]) for product in found)


@pytest.mark.parametrize(
    ("rows", "outputs", "dtype"),
    [
        (FEWEST_ROWS - 1, 1024, torch.float32),
        (96, SMALLEST_WEIGHT // 256 - 1, torch.float32),
        (96, 1024, torch.bfloat16),
    ],
    ids=["few rows", "small weight", "bfloat16"],
)
def test_what_onednn_multiplies_no_faster_is_pytorchs_own_product(monkeypatch, rows, outputs, dtype):
    monkeypatch.setattr(products, "onednn_multiplies", lambda: True)
    monkeypatch.setattr(products, "_onednn_product", lambda: pytest.fail("oneDNN was asked"))
    x, weight = numbers(rows, 256).to(dtype), numbers(outputs, 256).to(dtype)

    assert torch.equal(linear(x, weight), F.linear(x, weight))


def test_another_processors_product_is_pytorchs_own(monkeypatch):
    monkeypatch.setattr(products, "onednn_multiplies", lambda: False)
    monkeypatch.setattr(products, "_onednn_product", lambda: pytest.fail("oneDNN was asked"))
    x, weight = numbers(96, 288), numbers(864, 288)

    assert torch.equal(linear(x, weight), F.linear(x, weight))


def test_a_layer_learns_by_the_gradients_of_the_plain_one(is_onednn):
    layer, plain = Linear(256, 256), torch.nn.Linear(256, 256)
    plain.load_state_dict(layer.state_dict())
    x = numbers(16, 256).requires_grad_()
    wanted = torch.autograd.grad(plain(x).square().sum(), [x, plain.weight, plain.bias])

    found = torch.autograd.grad(layer(x).square().sum(), [x, layer.weight, layer.bias])

    assert all(torch.equal(*pair) for pair in zip(found, wanted, strict=True))


def test_a_pytorch_without_onednn_is_named_where_its_products_are_taken(monkeypatch):
    monkeypatch.setattr(products, "onednn_multiplies", lambda: True)
    monkeypatch.setattr(products, "_has_product", lambda: False)
    with pytest.raises(DeviceError, match=r"was built without oneDNN.*install PyTorch.* or set dtype"):
        check_onednn()

    monkeypatch.setattr(products, "onednn_multiplies", lambda: False)
    check_onednn()
