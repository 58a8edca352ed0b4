"""Acceleration is chosen without measuring, refuses what is not there, and does not change the result."""

import functools
import gc
import os
import sys
import types
import weakref
from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch._dynamo.utils import counters

from llm_dit.acceleration import compilation
from llm_dit.acceleration import quantization as quantizing
from llm_dit.acceleration.accelerate import (
    EVALUATIONS_WORTH_COMPILING,
    Acceleration,
    accelerate,
    check_graphs,
    choose_acceleration,
)
from llm_dit.acceleration.attention import attention_function
from llm_dit.acceleration.compilation import compile_decoder
from llm_dit.acceleration.float8 import ScaledLinear
from llm_dit.acceleration.int8 import Int8Linear
from llm_dit.acceleration.quantization import check_widths, quantize_linears
from llm_dit.checkpoints import published
from llm_dit.errors import DeviceError
from llm_dit.networks import vae_decoder
from llm_dit.networks.transformer import ZImageTransformer
from llm_dit.networks.transformer_config import ZImageTransformerConfig
from llm_dit.networks.vae_decoder import Autoencoder, DecoderConfig
from llm_dit.parameters import Quantization

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
CONFIG = ZImageTransformerConfig.from_dict(
    published.TRANSFORMER
    | {"dim": 64, "n_layers": 2, "n_refiner_layers": 1, "n_heads": 2, "n_kv_heads": 2}
    | {"cap_feat_dim": 24, "axes_dims": [8, 12, 12]}
)


DECODER_CONFIG = DecoderConfig(
    latent_channels=16,
    out_channels=3,
    block_out_channels=(8, 16),
    layers_per_block=1,
    norm_num_groups=4,
    mid_block_add_attention=True,
    use_post_quant_conv=False,
    sample_size=64,
    scaling_factor=0.3611,
    shift_factor=0.1159,
)


def accelerated(model: ZImageTransformer, device: torch.device = CPU, **settings) -> Acceleration:
    applied = choose_acceleration(device, model.dtype, **settings)
    for block in model.blocks:
        block.fuse()
        quantize_linears(block, ("attention", "feed_forward"), applied.quantization)
    accelerate(model, applied, device)
    return applied


def make_transformer() -> ZImageTransformer:
    torch.manual_seed(0)
    return ZImageTransformer(CONFIG).eval().requires_grad_(False)


@torch.inference_mode()
def evaluate(model: ZImageTransformer, lengths: list[int], height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(lengths))
    latents = torch.randn(len(lengths), 16, height, width, generator=generator)
    embeds = [torch.randn(length, CONFIG.cap_feat_dim, generator=generator) for length in lengths]
    return model(latents, torch.full((len(lengths),), 0.4), model.prepare(embeds, height, width))


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads that wait for each other cost seconds at these sizes when the machine is busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def own_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    yield tmp_path
    os.environ.pop("TORCHINDUCTOR_CACHE_DIR", None)


@pytest.fixture
def traced_only(monkeypatch, own_cache):
    """Compile without generating code: what is traced how often is the same, and takes a second."""
    torch.compiler.reset()
    counters.clear()
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    yield
    torch.compiler.reset()


def test_sixty_prompts_at_two_sizes_compile_twice(traced_only):
    model = make_transformer()
    accelerated(model, compile="on")
    # From 32 tokens on, so 32 and 64 occur: the widths of a head and of the model, which must not be taken for lengths.
    lengths = [32 + 11 * i for i in range(60)]
    for height, width in ((8, 8), (12, 16)):
        for length in lengths:
            evaluate(model, [length], height, width)
    assert counters["stats"]["unique_graphs"] == 2  # a block with the time, one without; four would be allowed


@pytest.mark.slow  # seven compilations
def test_compiled_batches_equal_eager_ones_within_seven_compilations(traced_only):
    compiled, eager = make_transformer(), make_transformer()
    accelerated(compiled, compile="on")
    for lengths in ([5], [5, 6], [5, 70], [5, 6, 7, 8], [70, 5, 200]):
        for height, width in ((8, 8), (12, 16)):
            difference = (evaluate(compiled, lengths, height, width) - evaluate(eager, lengths, height, width)).abs()
            assert difference.max() < 1e-5, f"max {difference.max():.2e}, mean {difference.mean():.2e}"
    assert 0 < counters["stats"]["unique_graphs"] <= 7  # PyTorch gives up at eight


def test_auto_on_the_cpu_is_plain_and_says_so():
    applied = accelerated(make_transformer(), compile="auto", planned_evaluations=10**6)
    plain = {"attention_backend": "sdpa", "compile": "off", "quantization": "none"}
    assert applied.as_numerics() == plain
    in_float8 = replace(applied, quantization="float8").as_numerics()
    assert in_float8 == plain | {"quantization": "float8", "float8_kernels": "2"}


@pytest.mark.parametrize(
    ("planned", "compiled"), [(0, "off"), (EVALUATIONS_WORTH_COMPILING - 1, "off"), (EVALUATIONS_WORTH_COMPILING, "on")]
)
def test_auto_compiles_on_cuda_where_the_planned_work_pays(monkeypatch, own_cache, planned, compiled):
    monkeypatch.setattr(compilation, "find_spec", lambda name: object() if name == "triton" else None)
    applied = choose_acceleration(CUDA, torch.float32, compile="auto", planned_evaluations=planned)
    assert (applied.compile, applied.attention_backend) == (compiled, "sdpa")  # sdpa: not in half precision


@pytest.mark.parametrize("backend", ["cudnn", "flash", "sage"])
def test_absent_attention_backend_is_refused_with_what_there_is(backend):
    with pytest.raises(DeviceError, match=f"attention_backend {backend} .* cpu in float32; available here: auto, sdpa"):
        choose_acceleration(CPU, torch.float32, attention_backend=backend)


def test_installed_kernel_serves_all_but_masked_batches(monkeypatch):
    shapes = []

    def flash_attn_func(query, key, value):
        shapes.append(tuple(query.shape))
        return torch.zeros_like(value)

    monkeypatch.setitem(sys.modules, "flash_attn", types.SimpleNamespace(flash_attn_func=flash_attn_func))
    attend = attention_function("flash")
    query = torch.randn(1, 4, 2, 8)
    assert attend(query, query, query, None).abs().max() == 0
    assert attend(query, query, query, torch.ones(1, 1, 1, 4, dtype=torch.bool)).abs().max() > 0
    assert shapes == [(1, 4, 2, 8)]  # tokens before heads, as flash-attn wants it


def test_float8_on_the_cpu_is_refused_and_points_to_int8(monkeypatch):
    monkeypatch.setattr(quantizing, "find_spec", lambda name: object())
    with pytest.raises(DeviceError, match=r"capability 8\.9 .* not cpu; use int8"):
        choose_acceleration(CPU, torch.bfloat16, quantization="float8")


def test_float8_without_triton_is_refused_rather_than_computed_otherwise(monkeypatch):
    monkeypatch.setattr(quantizing, "find_spec", lambda name: None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    with pytest.raises(DeviceError, match="float8 needs triton, which is not installed; use int8 or none"):
        choose_acceleration(CUDA, torch.bfloat16, quantization="float8")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_float8_in_another_format_than_bfloat16_is_refused(monkeypatch, dtype):
    monkeypatch.setattr(quantizing, "find_spec", lambda name: object())
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    with pytest.raises(DeviceError, match=r"float8 computes in bfloat16, not float(32|16); set dtype to bfloat16"):
        choose_acceleration(CUDA, dtype, quantization="float8")


def test_float8_of_widths_that_its_products_do_not_take_is_refused():
    with pytest.raises(
        DeviceError, match="multiples of 16, but a layer of this model maps 64 features to 170; use int8"
    ):
        check_widths("float8", make_transformer().blocks)
    check_widths("int8", make_transformer().blocks)


def test_int8_changes_the_blocks_only_and_little():
    model, exact = make_transformer(), make_transformer()
    accelerated(model, quantization="int8")
    assert {type(module) for module in model.layers[0].attention.to_out} == {Int8Linear}
    expected, got = evaluate(exact, [40], 8, 8), evaluate(model, [40], 8, 8)
    relative = float((got - expected).norm() / expected.norm())
    assert 0 < relative < 0.05, f"relative {relative:.2e}"
    assert type(model.cap_embedder[1].weight) is torch.nn.Parameter


def test_compile_without_a_compiler_is_refused(monkeypatch):
    monkeypatch.setattr(compilation.shutil, "which", lambda name: None)
    with pytest.raises(DeviceError, match="C\\+\\+ compiler"):
        accelerated(make_transformer(), compile="on")


def test_compile_cache_is_kept_in_the_users_cache_folder(traced_only, own_cache):
    accelerated(make_transformer())
    assert "TORCHINDUCTOR_CACHE_DIR" not in os.environ
    accelerated(make_transformer(), compile="on")
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(own_cache / "llm-dit" / "inductor")


def test_compile_cache_chosen_by_the_user_is_left_alone(traced_only, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/elsewhere")
    accelerated(make_transformer(), compile="on")
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "/elsewhere"


@pytest.mark.parametrize("settings", [{}, {"compile": "on"}, {"quantization": "int8"}], ids=str)
def test_a_model_that_is_gone_frees_its_weights_without_the_collector(traced_only, settings):
    gc.collect()
    gc.disable()
    try:
        model = make_transformer()
        accelerated(model, **settings)
        evaluate(model, [40], 8, 8)
        weights = [weakref.ref(tensor) for tensor in model.state_dict(keep_vars=True).values()]
        del model
        assert [weight() for weight in weights if weight() is not None] == []
    finally:
        gc.enable()


@pytest.mark.slow  # compiles a decoder; the network's own test is quick
def test_a_compiled_decoder_that_is_gone_frees_its_weights_without_the_collector(traced_only):
    gc.collect()
    gc.disable()
    try:
        vae = Autoencoder(DECODER_CONFIG).eval().requires_grad_(False)
        compile_decoder(vae)
        with torch.inference_mode():
            vae.decoder(torch.randn(1, 16, 4, 4))
        weights = [weakref.ref(tensor) for tensor in vae.parameters()]
        del vae
        assert [weight() for weight in weights if weight() is not None] == []
    finally:
        gc.enable()


@pytest.mark.parametrize("choice", get_args(Quantization))
def test_every_quantization_has_a_layer(choice):
    layer = quantizing._quantized(torch.nn.Linear(16, 16, bias=False).requires_grad_(False), choice)
    assert isinstance(layer, {"none": torch.nn.Linear, "float8": ScaledLinear, "int8": Int8Linear}[choice])


def test_a_choice_that_is_none_of_them_is_a_defect_and_no_other_choice():
    with pytest.raises(AssertionError):
        quantizing._quantized(torch.nn.Linear(16, 16, bias=False), "fp8")
    with pytest.raises(AssertionError):
        attention_function("fast")


@pytest.mark.parametrize(
    ("device", "stays", "needs"),
    [(CPU, True, "cuda, not cpu"), (CUDA, False, "all weights on the card, which is too small for them")],
)
def test_graphs_that_can_not_be_are_refused(device, stays, needs):
    with pytest.raises(DeviceError, match=f"cuda_graphs = on needs .*{needs}; use auto or off"):
        check_graphs("on", device, stays=stays)
    check_graphs("auto", device, stays=stays)


def test_compiled_attention_takes_more_parts_where_a_map_is_larger(traced_only, monkeypatch):
    monkeypatch.setattr(vae_decoder, "SCORE_BYTES", 4 * 64 * 64 // 8)  # eight parts at 8 x 8
    attention = vae_decoder.AttentionInParts(8, 4).eval().requires_grad_(False)
    run = torch.compile(vae_decoder.AttentionInParts.forward, fullgraph=True)
    with torch.inference_mode():
        for side, parts in ((4, 8), (6, 8), (8, 8), (10, 32), (9, 16)):
            assert vae_decoder.query_parts(1, side * side) == parts
            x = torch.randn(1, 8, side, side)
            expected = vae_decoder.SpatialAttention.forward(attention, x)
            torch.testing.assert_close(run(attention, x), expected, rtol=1e-5, atol=1e-5)
    assert counters["stats"]["unique_graphs"] == 4  # one for the first size, one for each number of parts
