"""FlashAttention 3: refused with what is missing, and on a Hopper card as exact as it claims to be."""

import importlib.util
import re
import sys
import types

import pytest
import torch
from torch._dynamo.utils import counters

from benchmarks.full_size import build_ours
from llm_dit.acceleration import attention
from llm_dit.acceleration.accelerate import accelerate, choose_acceleration
from llm_dit.acceleration.attention import check_head_width, choose_attention
from llm_dit.acceleration.evaluation_graphs import PLAIN_EVALUATIONS, EvaluationGraphs
from llm_dit.acceleration.quantization import quantize_linears
from llm_dit.errors import DeviceError
from llm_dit.networks.transformer import ZImageTransformer, scaled_dot_product

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
HEADS, WIDTH = 30, 128
FLASH3 = ["flash3", "flash3_float8"]
is_hopper = torch.cuda.is_available() and torch.cuda.get_device_capability() == (9, 0)
needs_flash3 = pytest.mark.skipif(
    not is_hopper or importlib.util.find_spec("fa3_fwd_interface") is None, reason="needs a Hopper card and fa3-fwd"
)


@pytest.fixture
def hopper(monkeypatch):
    """A Hopper card as choosing sees it, and the names of the packages that are installed."""
    packages = set()
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch.backends.cudnn, "is_available", lambda: True)
    monkeypatch.setattr(attention, "find_spec", lambda name: object() if name in packages else None)
    return packages


@pytest.fixture
def installed(hopper, monkeypatch):
    hopper.add("fa3_fwd_interface")
    monkeypatch.setitem(sys.modules, "fa3_fwd_interface", types.ModuleType("fa3_fwd_interface"))


@pytest.mark.parametrize("backend", FLASH3)
def test_without_the_package_the_way_to_it_is_told(hopper, backend):
    with pytest.raises(DeviceError, match=f"{backend} needs the package fa3-fwd, .*uv sync --extra flash3.*use auto"):
        choose_attention(backend, CUDA, torch.bfloat16)
    assert choose_attention("auto", CUDA, torch.bfloat16) == "cudnn"


@pytest.mark.parametrize("backend", FLASH3)
def test_another_card_is_refused(installed, monkeypatch, backend):
    with pytest.raises(
        DeviceError, match=rf"{backend} needs an NVIDIA Hopper card .*9\.0\), which cpu is not; use auto"
    ):
        choose_attention(backend, CPU, torch.bfloat16)
    for capability in ((8, 9), (10, 0), (12, 0)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, found=capability: found)
        with pytest.raises(DeviceError, match="Hopper card"):
            choose_attention(backend, CUDA, torch.bfloat16)
        assert choose_attention("auto", CUDA, torch.bfloat16) == ("sdpa" if capability < (9, 0) else "cudnn")


@pytest.mark.parametrize("backend", FLASH3)
def test_another_number_format_is_refused(installed, backend):
    with pytest.raises(DeviceError, match=f"{backend} computes in bfloat16, not float16; set dtype to bfloat16"):
        choose_attention(backend, CUDA, torch.float16)
    assert choose_attention("auto", CUDA, torch.float16) == "cudnn"


def test_auto_takes_the_exact_one_where_it_is_installed_and_the_record_says_so(installed):
    assert choose_attention("auto", CUDA, torch.bfloat16) == "flash3"
    assert choose_attention("flash3_float8", CUDA, torch.bfloat16) == "flash3_float8"
    assert choose_acceleration(CUDA, torch.bfloat16).as_numerics()["attention_backend"] == "flash3"


@pytest.mark.parametrize("wanted", ["auto", "flash3_float8"])
def test_a_package_that_does_not_load_is_an_error_with_its_reason(installed, monkeypatch, wanted):
    def fails(name):
        raise OSError("libcudart.so.13: cannot open shared object file")

    monkeypatch.setattr(attention, "import_module", fails)
    with pytest.raises(DeviceError, match=re.escape("can't be loaded (libcudart.so.13: cannot open")):
        choose_attention(wanted, CUDA, torch.bfloat16)


def test_heads_of_another_width_are_refused():
    for backend, width in (("flash3", 128), ("flash3", 40), ("flash3_float8", 48), ("sdpa", 13)):
        check_head_width(backend, width)
    with pytest.raises(DeviceError, match="up to 256 features in multiples of 16, but this model's have 40; use sdpa"):
        check_head_width("flash3_float8", 40)
    with pytest.raises(DeviceError, match="multiples of 8, but this model's have 264"):
        check_head_width("flash3", 264)


def relative_error(got: torch.Tensor, expected: torch.Tensor) -> float:
    return float((got.float() - expected.float()).norm() / expected.float().norm())


def projections(tokens: int, images: int = 1) -> tuple[torch.Tensor, ...]:
    """Queries, keys and values as parts of one product, as a block has them."""
    qkv = torch.randn(images, tokens, 3, HEADS, WIDTH, device=CUDA, dtype=torch.bfloat16)
    return qkv.unbind(2)


@pytest.mark.gpu
@needs_flash3
@torch.inference_mode()
@pytest.mark.parametrize("tokens", [32, 96, 1056, 4224])
def test_it_is_as_near_to_float32_as_it_claims(tokens: int) -> None:
    torch.manual_seed(tokens)
    parts = projections(tokens, images=2 if tokens < 1000 else 1)
    expected = scaled_dot_product(*(part.float() for part in parts), None)
    errors = {
        backend: relative_error(attention.attention_function(backend)(*parts, None), expected) for backend in FLASH3
    }
    assert errors["flash3"] < 5e-3, errors
    assert 1e-2 < errors["flash3_float8"] < 8e-2, errors


@pytest.mark.gpu
@needs_flash3
@torch.inference_mode()
@pytest.mark.parametrize(("backend", "quantization"), [("flash3", "none"), ("flash3_float8", "float8")])
def test_networks_compute_the_same_plain_compiled_and_replayed(backend: str, quantization: str) -> None:
    outputs = {}
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(1, 16, 16, 16, generator=generator).to(CUDA)
    model_time = torch.full((1,), 0.4, device=CUDA)
    embeds = [torch.randn(tokens, 192, generator=generator).to(CUDA, torch.bfloat16) for tokens in (20, 40, 70)]
    for compile in ("off", "on"):
        model = accelerated(backend, quantization, compile)
        before = counters["stats"]["unique_graphs"]
        conditionings = [model.prepare([embed], 16, 16) for embed in embeds]
        outputs[compile] = [model(latents, model_time, conditioning) for conditioning in conditionings]
        compiled = counters["stats"]["unique_graphs"] - before
        assert compiled == (2 if compile == "on" else 0)
        graphs = EvaluationGraphs(CUDA, 1.0)
        replayed = [graphs(model.forward, latents, model_time, conditionings[0]) for _ in range(PLAIN_EVALUATIONS + 2)]
        assert len(graphs.graphs) == 1
        assert torch.equal(replayed[-1], outputs[compile][0])
    exact, other = build_ours("mini", CUDA, torch.float32), accelerated("cudnn", quantization, "off")
    for index, embed in enumerate(embeds):
        expected = exact(latents, model_time, exact.prepare([embed.float()], 16, 16))
        known = other(latents, model_time, other.prepare([embed], 16, 16))
        errors = [relative_error(outputs[compile][index], expected) for compile in ("off", "on")]
        assert max(errors) < 1.6 * relative_error(known, expected), (errors, relative_error(known, expected))


@pytest.mark.gpu
@needs_flash3
@torch.inference_mode()
@pytest.mark.parametrize("quantization", ["none", "float8"])
def test_captions_of_unequal_length_take_another_kernel(quantization: str) -> None:
    model, exact = (accelerated(backend, quantization, "off") for backend in ("flash3_float8", "sdpa"))
    embeds = [torch.randn(tokens, 192, device=CUDA, dtype=torch.bfloat16) for tokens in (20, 70)]
    latents, model_time = torch.randn(2, 16, 16, 16, device=CUDA), torch.full((2,), 0.4, device=CUDA)
    conditioning = exact.prepare(embeds, 16, 16)
    assert conditioning.joint_mask is not None
    got, expected = model(latents, model_time, conditioning), exact(latents, model_time, conditioning)
    assert relative_error(got, expected) < 0.1  # the noise refiner, which sees no text, has no mask


@torch.inference_mode(False)
def accelerated(backend: str, quantization: str, compile: str) -> ZImageTransformer:
    """A model as it is loaded: weights made in inference mode would be other tensors to the compiler than the zeros of
    the first block's change, and cost float8 a third graph."""
    model = build_ours("mini", CUDA, torch.bfloat16)
    applied = choose_acceleration(
        CUDA, torch.bfloat16, compile=compile, attention_backend=backend, quantization=quantization
    )
    for block in model.blocks:
        block.fuse()
        quantize_linears(block, ("attention", "feed_forward"), applied.quantization)
    accelerate(model, applied, CUDA, graphs="off")
    return model
