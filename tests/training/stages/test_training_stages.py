"""The stages of training: their parts against closed forms and diffusers, and a smoke run of each on a tiny world."""

import json
import random

import numpy as np
import pytest
import torch
from safetensors import safe_open
from tiny_training import CPU, TINY_LANGUAGE_MODEL, TINY_TRANSFORMER, TINY_VAE

from llm_dit.checkpoints.finding import EMBEDDED_MODELS
from llm_dit.prompting.chat_template import format_prompt
from training.checks import check_rewriter
from training.checks.picture_sheet import save_sheet
from training.learning.flow_network import FlowModel, build_transformer, padded_length
from training.learning.muon import orthogonalise
from training.learning.reward_network import RewardModel, RewardSizes
from training.learning.step_graphs import StepGraphs
from training.learning.time_budget import TimeBudget, cosine_fall, late_fall, warm_up
from training.learning.weights import Average, load_weights, save_weights, start_from
from training.stages import language_model, vae
from training.stages import siglip_mini as siglip
from training.stages.batched_euler import SampleSettings
from training.stages.dataset import Ragged, Samples, make_samples
from training.stages.denoiser import GUIDANCE, Course, Devices, EmptyCaption, flow_loss, train_denoiser
from training.stages.generator import load_generator
from training.stages.latents import PICTURE_SIZES, LatentBatches, assign_sizes, encode_captions, encode_renders
from training.stages.restore import read_component, restore_pipeline
from training.words.samples import sample_world
from training.world import alterations


def test_the_batched_forward_equals_diffusers_with_and_without_picture_pads():
    torch.manual_seed(0)
    model = build_transformer(**TINY_TRANSFORMER)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        latents, time = torch.randn(2, 16, 12, 18), torch.rand(2)
        captions, lengths = torch.randn(2, 64, 64), torch.tensor([33, 64])
        ours = FlowModel(model, torch.float32, is_compiled=False)(latents, time, captions, lengths)
        parts = [caption[:length] for caption, length in zip(captions, lengths, strict=True)]
        theirs = model(list(latents.unsqueeze(2)), time, parts, return_dict=False)[0]
    difference = (ours - torch.stack(list(theirs)).squeeze(2)).abs()
    assert difference.max() < 2e-5, f"max {difference.max():.2e}, mean {difference.mean():.2e}"


def test_a_length_is_padded_to_the_next_multiple_of_32():
    assert [padded_length(tokens) for tokens in (1, 32, 33, 64, 65)] == [32, 32, 64, 64, 96]


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 12, 40), (2, 40, 12)])
def test_orthogonalised_matrices_have_singular_values_near_one(shape):
    singular = torch.linalg.svdvals(orthogonalise(torch.randn(shape, generator=torch.Generator().manual_seed(1))))
    assert singular.min() > 0.6
    assert singular.max() < 1.4


def test_learning_rates_rise_and_fall_as_written():
    assert [warm_up(step, 4) for step in (0, 1, 3, 9)] == [0.25, 0.5, 1.0, 1.0]
    assert [late_fall(fraction) for fraction in (0.0, 0.5, 0.75, 1.0)] == [1.0, 1.0, 0.5, 0.0]
    assert cosine_fall(0.5) == pytest.approx(0.5)
    assert TimeBudget(1e9, max_steps=4).fraction(2) == pytest.approx(0.5)
    assert TimeBudget(10.0, start=0.0).fraction(0) == 1.0


def test_an_average_swaps_back_to_the_present_weights():
    layer = torch.nn.Linear(2, 2)
    average = Average(layer, 0.5)
    with torch.no_grad():
        layer.weight.fill_(1.0)
    average.update()
    average.swap()
    assert not torch.equal(layer.weight, torch.ones(2, 2))
    average.swap()
    assert torch.equal(layer.weight, torch.ones(2, 2))


def test_weights_come_back_rounded_to_half_precision(tmp_path):
    layer = torch.nn.Linear(3, 3)
    save_weights(layer.state_dict(), tmp_path / "layer.safetensors")
    again = load_weights(torch.nn.Linear(3, 3), tmp_path / "layer.safetensors")
    assert torch.equal(again.weight, layer.weight.half().float())
    assert [path.name for path in tmp_path.iterdir()] == ["layer.safetensors"]


def test_ragged_rows_are_cut_and_filled():
    joined = Ragged.concatenate([Ragged.from_rows([[1, 2, 3], [4]]), Ragged.from_rows([[5, 6]])])
    assert joined.padded(np.array([2, 0, 1]), 2, 9).tolist() == [[5, 6], [1, 2], [4, 9]]


def test_samples_depend_on_the_seed_alone_and_survive_the_disk(samples, world_path, tokenizer_path, tmp_path):
    again = make_samples(world_path, tokenizer_path, 120, 3, 1, with_truth=True)
    again.save(tmp_path)
    loaded = Samples.load(tmp_path)
    assert loaded.captions == samples.captions
    assert np.array_equal(loaded.prompts.values, samples.prompts.values)
    assert np.array_equal(loaded.facts, samples.facts)
    assert len(samples.facts) == 120
    assert 0 < sum(caption == "" for caption in samples.captions) < 20


def test_a_prompt_is_tokenised_as_the_engine_formats_it(samples, tokenizer, world):
    batch = sample_world(world, 120, 3 * 1_000_003)
    told = [place for place, caption in enumerate(samples.captions) if caption][:5]
    assert len(told) == 5
    for place in told:
        text = format_prompt(
            batch.captions[place],
            system_prompt=batch.system_prompts[place],
            thinking_content=batch.thinking_contents[place],
        )
        length = samples.prompts.lengths[place]
        assert samples.prompts.padded(np.array([place]), length, 0)[0].tolist() == tokenizer.encode(text).ids


def test_an_alteration_contradicts_the_scene(world):
    generator = random.Random(1)
    scenes = sample_world(world, 60, 5).scenes
    for kind, alteration in alterations.SCENE_ALTERATIONS.items():
        altered = [alteration(scene, world, generator) for scene in scenes]
        assert any(other is not None for other in altered), kind
        assert all(scene != other for scene, other in zip(scenes, altered, strict=True)), kind


def test_the_language_model_learns_and_ignores_pads_on_the_right(samples, tokenizer):
    model = language_model.build_language_model(tokenizer, **TINY_LANGUAGE_MODEL)
    ids = torch.tensor([tokenizer.encode("a red apple").ids])
    padded = torch.cat([ids, torch.zeros(1, 5, dtype=torch.long)], 1)
    difference = language_model.hidden_states(model, padded)[:, : ids.shape[1]] - language_model.hidden_states(
        model, ids
    )
    assert difference.abs().max() < 1e-5
    loss = language_model.train_language_model(model, samples, TimeBudget(60, max_steps=40), 512, CPU)
    assert loss < 0.97 * np.log(tokenizer.get_vocab_size())


def test_training_the_last_layer_alone_keeps_the_conditioning(samples, tokenizer):
    model = language_model.build_language_model(tokenizer, **TINY_LANGUAGE_MODEL)
    ids = torch.tensor([tokenizer.encode("a red apple").ids])
    before = {layer: language_model.hidden_states(model, ids, layer) for layer in (-2, -1)}
    language_model.freeze_conditioning(model)
    opening = tokenizer.token_to_id("<|im_start|>")
    language_model.train_language_model(model, samples, TimeBudget(60, max_steps=5), 512, CPU, reply_after=opening)
    assert torch.equal(language_model.hidden_states(model, ids, -2), before[-2])
    assert not torch.equal(language_model.hidden_states(model, ids, -1), before[-1])


def test_only_the_last_turn_counts_if_replies_are_learnt(tokenizer):
    model = language_model.build_language_model(tokenizer, **TINY_LANGUAGE_MODEL)
    opening = tokenizer.token_to_id("<|im_start|>")
    ids, lengths = torch.tensor([[opening, 20, 21, opening, 22, 23, 0]]), torch.tensor([6])
    with torch.no_grad():
        loss = language_model.next_token_loss(model, ids, lengths, opening)
        shares = model(input_ids=ids).logits.log_softmax(-1)
    assert loss.item() == pytest.approx(-(shares[0, 3, 22] + shares[0, 4, 23]).item() / 2, rel=1e-5)


def test_training_starts_from_the_weights_that_ship(tokenizer, words, tmp_path):
    chat = language_model.build_language_model(tokenizer, **TINY_LANGUAGE_MODEL).half()
    pairs = siglip.build_siglip(words.get_vocab_size(), 32, 1, 1).half()
    chat.save_pretrained(tmp_path / "chat")
    pairs.save_pretrained(tmp_path / "pairs")
    sizes = RewardSizes(words.get_vocab_size(), 32, 2, 1, 1)
    preferring = RewardModel(sizes)
    save_weights(preferring.state_dict(), tmp_path / "reward" / "model.safetensors")
    again = language_model.build_language_model(tokenizer, **TINY_LANGUAGE_MODEL)
    start_from(again.model, tmp_path / "chat", prefix="model.")
    assert _are_equal(again.state_dict(), chat.state_dict())
    other = start_from(siglip.build_siglip(words.get_vocab_size(), 32, 1, 1), tmp_path / "pairs")
    assert _are_equal(other.state_dict(), pairs.state_dict())
    assert _are_equal(start_from(RewardModel(sizes), tmp_path / "reward").state_dict(), preferring.half().state_dict())
    with pytest.raises(RuntimeError, match="Missing key"):
        start_from(siglip.build_siglip(words.get_vocab_size(), 32, 2, 1), tmp_path / "pairs")


def _are_equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name].float()) for name in first)


def test_the_vae_learns_and_its_scale_makes_latents_standard(renderer, samples):
    torch.manual_seed(0)
    model = vae.build_vae(TINY_VAE)
    rows = torch.from_numpy(samples.rows[:24])
    pools = {(64, 64): renderer.render(rows, 64, 64)}
    first, _ = vae.vae_loss(model, vae.to_signed(pools[64, 64]))
    batches = (vae.to_signed(pools[64, 64][:8]) for _ in range(20))
    vae.train_vae(model, batches, TimeBudget(60, max_steps=10))
    last, _ = vae.vae_loss(model, vae.to_signed(pools[64, 64]))
    assert last < first
    scale = vae.latent_scale(model, lambda part, _height, _width: renderer.render(part, 64, 64), rows)
    latents = (vae.encode(model, pools[64, 64]) - scale["shift_factor"]) * scale["scaling_factor"]
    assert abs(latents.mean()) < 0.05
    assert latents.std() == pytest.approx(1.0, abs=0.05)


def test_a_mosaic_is_four_halved_pictures():
    pictures = torch.arange(4.0)[:, None, None, None].expand(4, 1, 4, 4)
    assert vae._mosaic(pictures)[0, 0].tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]


def test_the_transformer_trains_on_batches_of_one_shape(samples, renderer, generator, tmp_path):
    count = 24
    sizes = assign_sizes(count, 1) % 2
    latents = encode_renders(renderer.render, generator.vae, samples.rows[:count], sizes, CPU)
    shapes = sorted(tuple(8 * side for side in table.shape[2:]) for table in latents.tables.values())
    assert shapes == sorted(list(PICTURE_SIZES)[:2])
    captions, lengths = encode_captions(
        generator.language_model, Ragged(samples.prompts.values, samples.prompts.ends[:count]), CPU
    )
    batches = LatentBatches(latents, captions, lengths, 512, 1)
    drawn, states, real = batches.draw()
    assert states.shape[1] == padded_length(int(real.max()))
    flow = FlowModel(build_transformer(**TINY_TRANSFORMER), torch.float32, is_compiled=False)
    empty = EmptyCaption(states[:1, :32], torch.tensor([5]))
    before = flow_loss(flow, drawn, states, real, torch.full((len(drawn),), 0.5)).item()
    course = Course(guided_from=0.5)
    train_denoiser(
        flow, batches, empty, TimeBudget(60, max_steps=6), Devices(), course, tmp_path / "so_far.safetensors"
    )
    after = flow_loss(flow, drawn, states, real, torch.full((len(drawn),), 0.5)).item()
    assert np.isfinite(after)
    assert after < 1.2 * before


def test_the_guided_target_leads_away_from_the_estimate_without_a_caption():
    latents, captions = torch.randn(2, 16, 4, 4), torch.zeros(2, 32, 8)
    empty = EmptyCaption(torch.ones(1, 32, 8), torch.tensor([3]))

    def model(noisy, _time, states, _lengths):
        return torch.zeros_like(noisy) + states.mean()  # 0 with the caption, 1 without

    torch.manual_seed(0)
    guided = flow_loss(model, latents, captions, torch.tensor([3, 3]), torch.tensor([0.5, 0.5]), empty)
    torch.manual_seed(0)
    target = latents - torch.randn_like(latents)
    assert guided == pytest.approx((target - GUIDANCE).square().mean().item(), rel=1e-5)


def test_steps_that_share_a_shape_are_run_plainly_on_the_cpu():
    graphs = StepGraphs(lambda value: 2 * value, CPU)
    assert [graphs(torch.tensor([float(step)])).item() for step in range(40)] == [2.0 * step for step in range(40)]
    assert not graphs.recorded


def test_the_shipped_miniature_comes_back_as_the_weights_of_its_stages(tmp_path):
    restore_pipeline(EMBEDDED_MODELS / "mini", tmp_path)
    restored = load_generator(EMBEDDED_MODELS / "mini" / "tokenizer", tmp_path, CPU)
    with safe_open(EMBEDDED_MODELS / "mini" / "text_encoder" / "model.safetensors", "pt") as shipped:
        expected = shipped.get_tensor("model.layers.3.mlp.up_proj.weight")
    assert torch.equal(restored.language_model.model.layers[3].mlp.up_proj.weight, expected.float())
    shipped_transformer = read_component(EMBEDDED_MODELS / "mini" / "transformer")
    state = restored.flow.transformer.state_dict()
    assert shipped_transformer.keys() == state.keys()
    assert all(torch.equal(state[name], value.float()) for name, value in shipped_transformer.items())
    scale = json.loads((EMBEDDED_MODELS / "mini" / "vae" / "config.json").read_text())["scaling_factor"]
    assert restored.vae.config.scaling_factor == scale


def test_a_drawn_picture_depends_on_its_own_seed_alone(generator):
    prompts = [format_prompt("a cat"), format_prompt("a long prompt about a dog and a car " * 4)]
    settings = SampleSettings(steps=2, height=64, width=96, guidance_scale=1.0)
    both = generator.draw(prompts, [1, 2], settings)
    alone = generator.draw(prompts[1:], [2], settings)
    assert both.shape == (2, 3, 64, 96)
    assert (both[1].int() - alone[0].int()).abs().max() <= 1


def test_a_sheet_holds_every_picture(tmp_path):
    pictures = [torch.full((3, 16, 16), value, dtype=torch.uint8) for value in (0, 100, 200)]
    save_sheet(pictures, ["a", "b", ""], tmp_path / "sheet.png", columns=2)
    from PIL import Image

    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (2 * 24, 2 * (16 + 44 + 8))


def test_a_reply_ends_at_the_end_token_and_loops_are_seen(generator):
    end = generator.tokenizer.token_to_id("<|im_end|>")
    reply = check_rewriter.complete(generator.language_model, [1, 2], end, 0.7, torch.Generator().manual_seed(0))
    assert len(reply) <= check_rewriter.MAX_NEW_TOKENS
    assert end not in reply
    assert check_rewriter.has_loop(["a", "b", "c", "d", "a", "b", "c", "d", "a", "b", "c", "d"])
    assert not check_rewriter.has_loop(["a", "red", "apple", "on", "a", "table", "and", "a", "red", "pear"])


def test_a_reply_names_a_thing_by_whole_beginnings_of_words():
    assert check_rewriter.names("Two-humped camels stand on an orange dune.", "two-humped camel")
    assert check_rewriter.names("Several red apples.", "apple")
    assert not check_rewriter.names("A pineapple, close up.", "apple")


def test_rewrites_are_counted_for_each_kind_and_together():
    good = [check_rewriter.Try("bare noun", "cat", "", is_good) for is_good in (True, False)]
    articled = [check_rewriter.Try("with an article", "a cat", "", is_good=True)] * 2
    assert check_rewriter.shares(good + articled) == {"with an article": 1.0, "bare noun": 0.5, "all": 0.75}


def test_the_scale_beside_the_vae_is_read_back(tmp_path):
    model = vae.build_vae(TINY_VAE)
    save_weights(model.state_dict(), tmp_path / "vae.safetensors")
    (tmp_path / "vae.json").write_text(json.dumps({"scaling_factor": 1.5, "shift_factor": 0.25, "psnr_db": 30.0}))
    loaded = vae.load_vae(tmp_path / "vae.safetensors", CPU, TINY_VAE)
    assert (loaded.config.scaling_factor, loaded.config.shift_factor) == (1.5, 0.25)
