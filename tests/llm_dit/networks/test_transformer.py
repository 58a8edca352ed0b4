"""The transformer equals the reference's, alone and in batches."""

import os
import warnings
import weakref
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from llm_dit.checkpoints import published
from llm_dit.errors import LlmDitError
from llm_dit.networks import rope
from llm_dit.networks.transformer import Conditioning, ZImageTransformer
from llm_dit.networks.transformer_config import ZImageTransformerConfig

os.environ["HF_HUB_OFFLINE"] = "1"

SMALL_CONFIG = published.TRANSFORMER | {
    "axes_dims": [8, 12, 12],
    "cap_feat_dim": 24,
    "dim": 64,
    "n_heads": 2,
    "n_kv_heads": 2,
    "n_layers": 2,
    "n_refiner_layers": 2,
}
WIDTH = 24


def randomise(module: torch.nn.Module) -> None:
    """Give every parameter, norms and pad tokens included, a value that a slip would show in."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in sorted(module.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            is_gain = "norm" in name or name == "cap_embedder.0.weight"
            parameter.copy_(1 + 0.2 * noise if is_gain else noise * max(parameter.shape[-1], 16) ** -0.5)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads that wait for each other cost seconds at these sizes when the machine is busy; two tests take several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def reference() -> torch.nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # diffusers' imports warn; not ours to mend
        from diffusers import ZImageTransformer2DModel
    config = {key: value for key, value in SMALL_CONFIG.items() if not key.startswith("_")}
    model = ZImageTransformer2DModel(**config).eval()
    randomise(model)
    return model


@pytest.fixture(scope="module")
def model(reference: torch.nn.Module) -> ZImageTransformer:
    model = ZImageTransformer(ZImageTransformerConfig.from_dict(SMALL_CONFIG)).eval()
    model.load_state_dict(reference.state_dict(), strict=True)
    return model


def make_inputs(lengths: Sequence[int], height: int, width: int, seed: int = 0) -> tuple[Tensor, Tensor, list[Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(len(lengths), 16, height, width, generator=generator)
    model_time = torch.rand(len(lengths), generator=generator)
    return latents, model_time, [torch.randn(length, WIDTH, generator=generator) for length in lengths]


@torch.no_grad()
def evaluate(model: ZImageTransformer, latents: Tensor, model_time: Tensor, embeds: Sequence[Tensor]) -> Tensor:
    return model(latents, model_time, model.prepare(embeds, *latents.shape[-2:]))


@torch.no_grad()
def evaluate_reference(model: torch.nn.Module, latents: Tensor, model_time: Tensor, embeds: Sequence[Tensor]) -> Tensor:
    (output,) = model(list(latents.to(model.dtype).unsqueeze(2)), model_time, list(embeds), return_dict=False)
    return torch.stack(output).squeeze(2).float()


def assert_close(ours: Tensor, expected: Tensor, tolerance: float) -> None:
    difference = (ours - expected).abs()
    relative = float(torch.linalg.vector_norm(ours - expected) / torch.linalg.vector_norm(expected))
    assert ours.shape == expected.shape
    assert relative < tolerance, f"relative {relative:.2e}, max {difference.max():.2e}, mean {difference.mean():.2e}"


@pytest.mark.parametrize("length", [1, 31, 32, 33, 200])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (16, 16), (6, 14), (22, 10)])
def test_output_equals_the_reference(model, reference, length, height, width):
    inputs = make_inputs([length], height, width)
    assert_close(evaluate(model, *inputs), evaluate_reference(reference, *inputs), 1e-5)


@pytest.mark.parametrize("threads", [2, 3])
def test_output_equals_the_reference_on_several_threads(model, reference, threads):
    inputs = make_inputs([33], 22, 10)
    torch.set_num_threads(threads)
    try:
        ours, expected = evaluate(model, *inputs), evaluate_reference(reference, *inputs)
    finally:
        torch.set_num_threads(1)
    assert_close(ours, expected, 1e-5)
    assert_close(ours, evaluate(model, *inputs), 1e-5)


@pytest.mark.parametrize("lengths", [(5, 200), (33, 1, 64), (40, 50), (31, 32, 33)])
def test_batch_equals_the_reference(model, reference, lengths):
    inputs = make_inputs(lengths, 10, 8)
    assert_close(evaluate(model, *inputs), evaluate_reference(reference, *inputs), 1e-5)


@pytest.mark.parametrize("lengths", [(5, 200), (33, 1, 64), (31, 32)])
def test_image_in_a_batch_equals_the_image_alone(model, lengths):
    latents, model_time, embeds = make_inputs(lengths, 10, 8)
    together = evaluate(model, latents, model_time, embeds)
    for i in range(len(lengths)):
        alone = evaluate(model, latents[i : i + 1], model_time[i : i + 1], embeds[i : i + 1])
        assert_close(together[i : i + 1], alone, 1e-5)


def test_bfloat16_is_as_near_to_float32_as_the_reference(model, reference):
    inputs = make_inputs([33], 16, 16)
    exact = evaluate_reference(reference, *inputs)
    low_reference = reference.to(torch.bfloat16)
    theirs = evaluate_reference(low_reference, inputs[0], inputs[1], [embed.bfloat16() for embed in inputs[2]])
    ours_model = ZImageTransformer(model.config).to(torch.bfloat16)
    ours_model.load_state_dict(low_reference.state_dict())
    ours = evaluate(ours_model, *inputs)
    reference.to(torch.float32)
    randomise(reference)
    error_ours, error_theirs = (float((output - exact).norm() / exact.norm()) for output in (ours, theirs))
    assert error_ours < 1.25 * error_theirs, f"ours {error_ours:.2e}, reference {error_theirs:.2e}"
    assert ours.dtype == torch.float32


def test_fused_projections_equal_the_separate_ones(model):
    inputs = make_inputs([5, 40], 8, 8)
    fused = ZImageTransformer(model.config)
    fused.load_state_dict(model.state_dict())
    fused.fuse_projections()
    fused.fuse_projections()  # a second call changes nothing
    assert not any(".to_q." in name or ".w1." in name for name in fused.state_dict())
    assert sum(p.numel() for p in fused.parameters()) == sum(p.numel() for p in model.parameters())
    assert_close(evaluate(fused, *inputs), evaluate(model, *inputs), 1e-6)


def test_equal_padded_lengths_need_no_mask(model):
    _, _, embeds = make_inputs([33, 64], 8, 8)
    conditioning = model.prepare(embeds, 8, 8)
    assert conditioning.joint_mask is None
    assert conditioning.joint_rope.shape == (2, 1, 32 + 64, 1, 32)


def test_steps_reuse_what_was_prepared_once(model, monkeypatch):
    latents, _, embeds = make_inputs([7], 8, 8)
    calls = {"caption": 0, "rope": 0}
    hook = model.cap_embedder.register_forward_hook(lambda *_: calls.update(caption=calls["caption"] + 1))
    axis_angles = rope.axis_angles

    def counted(*arguments):
        calls["rope"] += 1
        return axis_angles(*arguments)

    monkeypatch.setattr(rope, "axis_angles", counted)
    model.tables = rope.PositionTables(model.config.axes_dims, model.config.rope_theta)
    with torch.no_grad():
        conditioning = model.prepare(embeds, 8, 8)
        for step in range(3):
            model(latents, torch.tensor([step / 3]), conditioning)
    hook.remove()
    assert calls == {"caption": 1, "rope": 2 * 3}  # image and text, three axes each; none during the steps


def test_tables_are_made_once_and_the_ones_not_asked_for_longest_are_dropped():
    one = rope.PositionTables((8, 12, 12), 256.0).text(32, torch.device("cpu")).nbytes
    tables = rope.PositionTables((8, 12, 12), 256.0, held_bytes=2 * one)
    first, cpu = tables.text(32, torch.device("cpu")), torch.device("cpu")
    grid = tables.image(33, (4, 8), 32, cpu)
    assert tables.text(32, cpu) is first
    tables.image(33, (8, 4), 32, cpu)  # drops the other grid
    assert tables.text(32, cpu) is first
    again = tables.image(33, (4, 8), 32, cpu)
    assert again is not grid
    assert torch.equal(again, grid)


def test_a_table_larger_than_all_room_is_given_and_not_kept():
    tables = rope.PositionTables((8, 12, 12), 256.0, held_bytes=1)
    first, second = (tables.text(32, torch.device("cpu")) for _ in range(2))
    assert first is not second
    assert torch.equal(first, second)


def test_tables_go_with_the_model():
    model = ZImageTransformer(ZImageTransformerConfig.from_dict(SMALL_CONFIG))
    table = weakref.ref(model.tables.text(32, torch.device("cpu")))
    assert table() is not None
    del model
    assert table() is None


def test_gradients_reach_every_parameter_and_the_prompt(reference):
    model = ZImageTransformer(ZImageTransformerConfig.from_dict(SMALL_CONFIG))
    randomise(model)
    latents, model_time, embeds = make_inputs([5, 40], 6, 6)  # 9 image tokens, so all pad tokens take part
    embeds[0].requires_grad_()
    model(latents, model_time, model.prepare(embeds, 6, 6)).square().mean().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert silent == []
    assert embeds[0].grad is not None


def test_published_layout_has_6_15_billion_parameters():
    with torch.device("meta"):
        model = ZImageTransformer(ZImageTransformerConfig.from_dict(published.TRANSFORMER))
    assert round(sum(p.numel() for p in model.parameters()) / 1e9, 2) == 6.15


def test_published_layout_has_the_reference_names_and_shapes():
    from diffusers import ZImageTransformer2DModel

    config = {key: value for key, value in published.TRANSFORMER.items() if not key.startswith("_")}
    with torch.device("meta"):
        ours = ZImageTransformer(ZImageTransformerConfig.from_dict(published.TRANSFORMER)).state_dict()
        theirs = ZImageTransformer2DModel(**config).state_dict()
    assert {name: tensor.shape for name, tensor in ours.items()} == {n: t.shape for n, t in theirs.items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"siglip_feat_dim": 1152}, "siglip_feat_dim"),
        ({"all_patch_size": [4]}, r"\(4,\)"),
        ({"dim": 65}, "65"),
        ({"n_kv_heads": 1}, "n_kv_heads 1"),
        ({"axes_dims": [8, 8, 8]}, "add up"),
        ({"axes_dims": [32]}, "three axes"),
        ({"colour": 1}, "colour"),
        ({"n_layers": "two"}, "n_layers = 'two'"),
    ],
)
def test_unsupported_config_is_refused_with_its_value(change, message):
    with pytest.raises(LlmDitError, match=message):
        ZImageTransformerConfig.from_dict(SMALL_CONFIG | change)


def test_missing_config_key_is_named():
    with pytest.raises(LlmDitError, match=r"missing \['dim'\]"):
        ZImageTransformerConfig.from_dict({key: value for key, value in SMALL_CONFIG.items() if key != "dim"})


def test_longest_caption_is_1504_tokens_unless_positions_are_extended(model, reference):
    inputs = make_inputs([1504], 4, 4)
    assert_close(evaluate(model, *inputs), evaluate_reference(reference, *inputs), 1e-5)
    too_long = [torch.randn(1505, WIDTH)]
    with pytest.raises(LlmDitError, match="at most 1504"):
        model.prepare(too_long, 4, 4)
    with torch.no_grad():
        conditioning = model.prepare(too_long, 4, 4, extend_rope=True)
    assert isinstance(conditioning, Conditioning)
    assert conditioning.text.shape == (1, 1536, 64)


@pytest.mark.parametrize(("height", "width"), [(7, 8), (8, 0), (1026, 8)])
def test_latent_size_outside_the_model_is_refused(model, height, width):
    with pytest.raises(LlmDitError, match="Latents of"):
        model.prepare([torch.randn(3, WIDTH)], height, width)


@pytest.mark.parametrize("shape", [(0, WIDTH), (3, WIDTH + 1), (1, 3, WIDTH)])
def test_prompt_embeds_of_another_shape_are_refused(model, shape):
    with pytest.raises(LlmDitError, match="prompt_embeds of shape"):
        model.prepare([torch.randn(shape)], 8, 8)
