"""Acceleration is chosen without measuring, refuses what is not there, and does not change the result."""

import functools
import importlib.util
import os
import sys
import types

import pytest
import torch
from torch._dynamo.utils import counters

from llm_dit.acceleration import compilation
from llm_dit.acceleration import quantization as quantizing
from llm_dit.acceleration.accelerate import EVALUATIONS_WORTH_COMPILING, accelerate
from llm_dit.acceleration.attention import attention_function
from llm_dit.acceleration.int8 import Int8Linear
from llm_dit.checkpoints import published
from llm_dit.errors import DeviceError
from llm_dit.networks.transformer import ZImageTransformer, ZImageTransformerConfig

CPU = torch.device("cpu")
CONFIG = ZImageTransformerConfig.from_dict(
    published.TRANSFORMER
    | {"dim": 64, "n_layers": 2, "n_refiner_layers": 1, "n_heads": 2, "n_kv_heads": 2}
    | {"cap_feat_dim": 24, "axes_dims": [8, 12, 12]}
)
DEFAULTS = {"compile": "off", "attention_backend": "auto", "quantization": "none", "planned_evaluations": 0}


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
    accelerate(model, device=CPU, **DEFAULTS | {"compile": "on"})
    # From 32 tokens on, so 32 and 64 occur: the widths of a head and of the model, which must not be taken for lengths.
    lengths = [32 + 11 * i for i in range(60)]
    for height, width in ((8, 8), (12, 16)):
        for length in lengths:
            evaluate(model, [length], height, width)
    assert counters["stats"]["unique_graphs"] == 2  # a block with the time, one without; four would be allowed


def test_compiled_batches_equal_eager_ones_within_seven_compilations(traced_only):
    compiled, eager = make_transformer(), make_transformer()
    accelerate(compiled, device=CPU, **DEFAULTS | {"compile": "on"})
    for lengths in ([5], [5, 6], [5, 70], [5, 6, 7, 8], [70, 5, 200]):
        for height, width in ((8, 8), (12, 16)):
            difference = (evaluate(compiled, lengths, height, width) - evaluate(eager, lengths, height, width)).abs()
            assert difference.max() < 1e-5, f"max {difference.max():.2e}, mean {difference.mean():.2e}"
    assert 0 < counters["stats"]["unique_graphs"] <= 7  # PyTorch gives up at eight


def test_auto_on_the_cpu_is_plain_and_says_so():
    applied = accelerate(make_transformer(), device=CPU, **DEFAULTS | {"compile": "auto", "planned_evaluations": 10**6})
    assert applied.as_numerics() == {"attention_backend": "sdpa", "compile": "off", "quantization": "none"}


@pytest.mark.parametrize(
    ("planned", "compiled"), [(0, "off"), (EVALUATIONS_WORTH_COMPILING - 1, "off"), (EVALUATIONS_WORTH_COMPILING, "on")]
)
def test_auto_compiles_on_cuda_where_the_planned_work_pays(monkeypatch, own_cache, planned, compiled):
    monkeypatch.setattr(compilation, "find_spec", lambda name: object() if name == "triton" else None)
    model = make_transformer()  # stays on the CPU; compiling is lazy, so no CUDA is needed to decide
    applied = accelerate(
        model, device=torch.device("cuda"), **DEFAULTS | {"compile": "auto", "planned_evaluations": planned}
    )
    assert (applied.compile, applied.attention_backend) == (compiled, "sdpa")  # sdpa: the model is float32


@pytest.mark.parametrize("backend", ["cudnn", "flash", "sage"])
def test_absent_attention_backend_is_refused_with_what_there_is(backend):
    with pytest.raises(DeviceError, match=f"attention_backend {backend} .* cpu in float32; available here: auto, sdpa"):
        accelerate(make_transformer(), device=CPU, **DEFAULTS | {"attention_backend": backend})


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


@pytest.mark.parametrize("quantization", ["float8", "int8"])
def test_quantization_without_torchao_names_the_command(monkeypatch, quantization):
    monkeypatch.setattr(quantizing, "find_spec", lambda name: None)
    model = make_transformer()
    with pytest.raises(DeviceError, match="uv sync --extra float8"):
        accelerate(model, device=CPU, **DEFAULTS | {"quantization": quantization})
    assert "layers.0.attention.to_q.weight" in model.state_dict()  # nothing was touched


def test_float8_on_the_cpu_is_refused_and_points_to_int8(monkeypatch):
    monkeypatch.setattr(quantizing, "find_spec", lambda name: object())
    with pytest.raises(DeviceError, match=r"capability 8\.9 .* not cpu; use int8"):
        accelerate(make_transformer(), device=CPU, **DEFAULTS | {"quantization": "float8"})


def test_float8_without_triton_is_refused_rather_than_computed_otherwise(monkeypatch):
    monkeypatch.setattr(quantizing, "find_spec", lambda name: object() if name == "torchao" else None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    model = make_transformer()
    with pytest.raises(DeviceError, match="float8 needs triton, which is not installed; use int8 or none"):
        accelerate(model, device=torch.device("cuda"), **DEFAULTS | {"quantization": "float8"})
    assert "layers.0.attention.to_q.weight" in model.state_dict()  # nothing was touched


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_float8_in_another_format_than_bfloat16_is_refused(monkeypatch, dtype):
    monkeypatch.setattr(quantizing, "find_spec", lambda name: object())
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    model = make_transformer().to(dtype)
    with pytest.raises(DeviceError, match=r"float8 computes in bfloat16, not float(32|16); set dtype to bfloat16"):
        accelerate(model, device=torch.device("cuda"), **DEFAULTS | {"quantization": "float8"})
    assert "layers.0.attention.to_q.weight" in model.state_dict()


def test_float8_of_a_model_that_torchao_would_leave_as_it_is_is_refused(monkeypatch):
    monkeypatch.setattr(quantizing, "find_spec", lambda name: object())
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    model = make_transformer().to(torch.bfloat16)
    with pytest.raises(
        DeviceError, match="multiples of 16, but a layer of this model maps 64 features to 170; use int8"
    ):
        accelerate(model, device=torch.device("cuda"), **DEFAULTS | {"quantization": "float8"})
    assert "layers.0.attention.to_q.weight" in model.state_dict()


@pytest.mark.skipif(importlib.util.find_spec("torchao") is None, reason="torchao is optional")
@pytest.mark.filterwarnings("ignore")
def test_int8_changes_the_blocks_only_and_little():
    model, exact = make_transformer(), make_transformer()
    accelerate(model, device=CPU, **DEFAULTS | {"quantization": "int8"})
    expected, got = evaluate(exact, [40], 8, 8), evaluate(model, [40], 8, 8)
    relative = float((got - expected).norm() / expected.norm())
    assert 0 < relative < 0.05, f"relative {relative:.2e}"
    assert type(model.cap_embedder[1].weight) is torch.nn.Parameter


@pytest.mark.filterwarnings("ignore")
def test_an_int8_layer_is_torchaos_with_the_scales_before_the_product():
    quantization = pytest.importorskip("torchao.quantization", reason="torchao is optional")
    linear, x = torch.nn.Linear(32, 5, bias=False).requires_grad_(False), torch.randn(2, 3, 32)
    quantization.quantize_(linear, quantization.Int8WeightOnlyConfig(set_inductor_config=False))
    layer = Int8Linear.from_quantized(linear)
    assert layer.weight.dtype == torch.int8
    torch.testing.assert_close(layer(x), linear(x), rtol=1e-5, atol=1e-5)


def test_compile_without_a_compiler_is_refused(monkeypatch):
    monkeypatch.setattr(compilation.shutil, "which", lambda name: None)
    with pytest.raises(DeviceError, match="C\\+\\+ compiler"):
        accelerate(make_transformer(), device=CPU, **DEFAULTS | {"compile": "on"})


def test_compile_cache_is_kept_in_the_users_cache_folder(traced_only, own_cache):
    accelerate(make_transformer(), device=CPU, **DEFAULTS)
    assert "TORCHINDUCTOR_CACHE_DIR" not in os.environ
    accelerate(make_transformer(), device=CPU, **DEFAULTS | {"compile": "on"})
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(own_cache / "llm-dit" / "inductor")


def test_compile_cache_chosen_by_the_user_is_left_alone(traced_only, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/elsewhere")
    accelerate(make_transformer(), device=CPU, **DEFAULTS | {"compile": "on"})
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "/elsewhere"
