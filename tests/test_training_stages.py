"""The stages of training: their parts against closed forms and diffusers, and a smoke run of each on a tiny world."""

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_world import write_tiny_world
from tokenizers import Tokenizer

from llm_dit.chat_template import format_prompt
from training import alterations, check_rewriter, evaluate, judge, language_model, retrieval, reward, run, siglip, vae
from training.contact_sheet import save_sheet
from training.dataset import Ragged, Samples, make_samples
from training.denoiser import Devices, flow_loss, train_denoiser
from training.flow_model import FlowModel, build_transformer, padded_length
from training.latents import PICTURE_SIZES, LatentBatches, assign_sizes, encode_all, encode_captions, render_all
from training.muon import orthogonalise
from training.questions import COUNTED, make_questions, named_concepts, prose_questions
from training.render import Renderer
from training.reward_model import RewardModel, RewardSizes
from training.sampler import Generator, SampleSettings
from training.scene import MAX_OBJECTS, Scene, SceneObject, Setting
from training.scorer_tokenizer import train_scorer_tokenizer
from training.time_budget import TimeBudget, cosine_fall, late_fall, warm_up
from training.tokenizer import train_tokenizer, write_tokenizer
from training.truth import OBJECT_FACTS
from training.weights import Average, load_weights, save_weights
from training.world import World

CPU = torch.device("cpu")
TINY_TRANSFORMER = {"dim": 48, "n_layers": 2, "n_refiner_layers": 1, "n_heads": 1, "cap_feat_dim": 64}
TINY_LANGUAGE_MODEL = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3}
TINY_VAE = (8, 16, 16, 16)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def world_path(tmp_path_factory) -> Path:
    return write_tiny_world(tmp_path_factory.mktemp("world") / "sprites.npz")


@pytest.fixture(scope="module")
def world(world_path) -> World:
    return World.load(world_path)


@pytest.fixture(scope="module")
def tokenizer_path(world, tmp_path_factory) -> Path:
    batch = world.sample(200, 1)
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(train_tokenizer([*batch.captions, *batch.dialogues], 600), folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(tokenizer_path) -> Tokenizer:
    return Tokenizer.from_file(str(tokenizer_path / "tokenizer.json"))


@pytest.fixture(scope="module")
def words(world) -> Tokenizer:
    return train_scorer_tokenizer(world.sample(200, 2).captions, 400)


@pytest.fixture(scope="module")
def samples(world_path, tokenizer_path) -> Samples:
    return make_samples(world_path, tokenizer_path, 120, 3, 1, with_truth=True)


@pytest.fixture(scope="module")
def renderer(world) -> Renderer:
    return Renderer(world, CPU)


@pytest.fixture(scope="module")
def generator(tokenizer) -> Generator:
    torch.manual_seed(0)
    flow = FlowModel(build_transformer(**TINY_TRANSFORMER), torch.float32, is_compiled=False)
    small_vae = vae.build_vae(TINY_VAE).eval()
    model = language_model.build_language_model(tokenizer, **TINY_LANGUAGE_MODEL).eval()
    return Generator(tokenizer, model, flow, small_vae, CPU)


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
    assert np.array_equal(loaded.altered, samples.altered)
    assert 0 < sum(caption == "" for caption in samples.captions) < 20


def test_a_prompt_is_tokenised_as_the_engine_formats_it(samples, tokenizer, world):
    batch = world.sample(120, 3 * 1_000_003)
    told = [place for place, caption in enumerate(samples.captions) if caption][:5]
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
    for scene in world.sample(60, 5).scenes:
        altered = alterations.alter(scene, world, generator)
        assert altered is None or altered[1] != scene


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
    pictures = render_all(renderer.render, samples.rows[:count], sizes, CPU)
    assert sorted(tuple(table.shape[2:]) for table in pictures.values()) == sorted(list(PICTURE_SIZES)[:2])
    captions, lengths = encode_captions(
        generator.language_model, Ragged(samples.prompts.values, samples.prompts.ends[:count]), CPU
    )
    batches = LatentBatches(encode_all(generator.vae, pictures, sizes), captions, lengths, 512, 1)
    latents, states, real = batches.draw()
    assert states.shape[1] == padded_length(int(real.max()))
    flow = FlowModel(build_transformer(**TINY_TRANSFORMER), torch.float32, is_compiled=False)
    before = flow_loss(flow, latents, states, real, torch.full((len(latents),), 0.5)).item()
    train_denoiser(flow, batches, TimeBudget(60, max_steps=6), Devices(), tmp_path / "so_far.safetensors")
    after = flow_loss(flow, latents, states, real, torch.full((len(latents),), 0.5)).item()
    assert np.isfinite(after)
    assert after < 1.2 * before


def test_a_drawn_picture_depends_on_its_own_seed_alone(generator):
    prompts = [format_prompt("a cat"), format_prompt("a long prompt about a dog and a car " * 4)]
    settings = SampleSettings(steps=2, height=64, width=96, guidance_scale=1.0)
    both = generator.draw(prompts, [1, 2], settings)
    alone = generator.draw(prompts[1:], [2], settings)
    assert both.shape == (2, 3, 64, 96)
    assert (both[1].int() - alone[0].int()).abs().max() <= 1


def test_siglip_trains_on_pictures_and_captions(samples, renderer, words, generator):
    torch.manual_seed(0)
    ids = siglip.token_ids(words, samples.captions[:48])
    pool = siglip.render_pool(renderer, torch.from_numpy(samples.rows[:48]), ((64, 64),))
    model = siglip.build_siglip(words.get_vocab_size(), 32, 1, 1)
    first = siglip.sigmoid_loss(model, pool, ids).item()
    siglip.train_siglip(model, pool, ids, generator.vae, TimeBudget(60, max_steps=6), 24)
    assert siglip.sigmoid_loss(model, pool, ids).item() < first
    assert 0.0 <= siglip.accuracy_of_64(model.eval(), pool, ids) <= 1.0


def test_the_reward_trains_and_more_steps_win(samples, renderer, words, generator, monkeypatch):
    monkeypatch.setattr(reward, "HELD_OUT", 8)
    data = reward.prepare(renderer, samples, words, 48, CPU)
    data = reward.draw_in_few_steps(data, samples.captions[:16], generator)
    better, worse, ids = reward._draw_steps(data, torch.zeros(64, dtype=torch.long), torch.Generator().manual_seed(1))
    ranks = torch.cat([data.drawn[:, 0], data.true[:1]])
    place = [[int((rank == picture).all()) for rank in ranks].index(1) for picture in worse]
    lead = [len(ranks) - 1 - [int((rank == picture).all()) for rank in ranks][::-1].index(1) for picture in better]
    assert all(one <= other for one, other in zip(place, lead, strict=True))
    assert ids.shape == (64, 35)
    model = RewardModel(RewardSizes(words.get_vocab_size(), 32, 2, 1, 1))
    reward.train_reward(model, data, generator.vae, TimeBudget(60, max_steps=2), 16)
    model.eval()
    mean, deviation = reward.truth_scale(model, data)
    with torch.no_grad():
        rewards = (reward.reward_of(model, data.true, data.ids) - mean) / deviation
    assert rewards.mean() == pytest.approx(0.0, abs=1e-3)
    assert rewards.std() == pytest.approx(1.0, abs=1e-3)
    assert reward.preference_accuracy(model, data).keys() == reward.SHARES.keys()


def test_the_judge_finds_what_it_has_learnt(samples, renderer, world, tmp_path):
    torch.manual_seed(0)
    network = judge.Judge(len(world.concepts), (8, 16, 16, 16))
    pool = renderer.render(torch.from_numpy(samples.rows[:24]), 64, 64)
    facts = torch.from_numpy(samples.facts[:24])
    first = judge.judge_loss(network, pool, facts).item()
    judge.train_judge(network, pool, facts, TimeBudget(60, max_steps=8), 12)
    assert judge.judge_loss(network, pool, facts).item() < first
    verdicts = judge.look(network.eval(), pool)
    assert len(verdicts) == 24
    assert all(verdict.objects for verdict in verdicts)
    save_weights(network.state_dict(), tmp_path / "judge.safetensors")
    load_weights(judge.Judge(len(world.concepts), (8, 16, 16, 16)), tmp_path / "judge.safetensors")


def test_the_heat_of_a_picture_is_highest_at_its_objects():
    facts = torch.full((1, len(OBJECT_FACTS) * MAX_OBJECTS + 3), -1.0)
    facts[0, :6] = torch.tensor([3.0, 0.0, 0.25, 0.75, 0.2, 0.0])
    heat = judge.heat_of(facts, 8, 8)[0]
    assert heat[5:7, 1:3].min() == heat.max() == pytest.approx(np.exp(-0.5 / (2 * judge.HEAT_WIDTH**2)))
    assert heat[0].max() < 1e-6
    assert not judge.heat_of(torch.full_like(facts, -1.0), 8, 8).any()


def test_neighbouring_cells_are_one_object_and_the_threshold_is_calibrated(monkeypatch):
    presence = torch.zeros(2, 8, 8)
    presence[0, 2, 2], presence[0, 2, 4], presence[0, 6, 6] = 0.9, 0.6, 0.45
    presence[1, 2, 2], presence[1, 5, 5] = 0.8, 0.15
    assert (judge.peaks_of(presence) > 0.1).sum((1, 2)).tolist() == [2, 2]
    facts = torch.full((2, len(OBJECT_FACTS) * MAX_OBJECTS + 3), -1.0)
    for picture, place, x in ((0, 0, 0.3), (0, 1, 0.8), (1, 0, 0.3)):
        facts[picture, 6 * place : 6 * place + 6] = torch.tensor([3.0, 0.0, x, x, 0.2, 0.0])
    network = judge.Judge(4, (8, 16, 16, 16)).eval()
    views = judge.Views(torch.zeros(2, 256, 8, 8), presence.logit(), torch.zeros(2, 16))
    monkeypatch.setattr(judge, "_views", lambda _judge, _pictures: views)
    assert judge.calibrate(network, torch.zeros(2, 3, 64, 64, dtype=torch.uint8), facts) == 1.0
    assert 0.15 < network.threshold < 0.45


def test_a_true_verdict_passes_its_question_and_a_wrong_one_fails(world):
    kinds = set()
    for question in make_questions(world, 6):
        kinds.add(question.kind)
        if question.scene is None:
            continue
        truth = judge.Verdict(
            tuple(
                judge.Detection(
                    thing.concept,
                    thing.style,
                    thing.color or "own",
                    thing.x,
                    thing.y - 0.42 * thing.size * thing.stands,
                    1.0,
                )
                for thing in question.scene.objects
            ),
            question.scene.setting.place or "none",
            question.scene.mood,
            question.scene.medium,
        )
        nothing = judge.Verdict((), "none", "none", "none")
        assert question.test(truth), question
        assert not question.test(nothing), question
    assert {"object, trained pair", "bare noun", "relation", "count 2", "color"} <= kinds


def test_concepts_are_found_in_foreign_prose_as_whole_words(world):
    named = named_concepts(world, "A Cat, asleep in a carpet shop beside the apple.")
    assert {world.concepts[number].label for number in named} == {"cat", "apple"}


def test_the_table_shows_the_judge_beside_the_miniature(world, renderer, generator):
    network = judge.Judge(len(world.concepts), (8, 16, 16, 16)).eval()
    questions = make_questions(world, 1)
    settings = SampleSettings(steps=1, height=64, width=64)
    drawn = evaluate.ask(network, generator, questions, 1, settings)
    table = evaluate.as_markdown(drawn, {"bare noun": 1.0}, dict.fromkeys(drawn, 1), 1)
    assert "| bare noun | 1 | 1 |" in table
    assert "| 90% | 100.0% |" in table
    counted = [question for question in questions if question.kind.startswith("count ")]
    assert drawn[COUNTED] == pytest.approx(np.mean([drawn[question.kind] for question in counted]))
    assert [line.split(" | ")[0] for line in table.splitlines()[2:4]] == [
        "| object, trained pair",
        "| object, held-out pair",
    ]


def test_one_picture_answers_all_questions_about_it(world, generator, monkeypatch):
    jobs = []

    def draw(prompts, seeds, settings):
        jobs.extend(zip(prompts, seeds, strict=True))
        return torch.zeros(len(prompts), 3, settings.height, settings.width, dtype=torch.uint8)

    monkeypatch.setattr(Generator, "draw", lambda _self, *arguments: draw(*arguments))
    network = judge.Judge(len(world.concepts), (8, 16, 16, 16)).eval()
    held_out = [question for question in make_questions(world, 3) if "held-out" in question.kind]
    drawn = evaluate.ask(network, generator, held_out, 2, SampleSettings(height=64, width=64))
    assert drawn.keys() == {"object, held-out pair", "style, held-out pair"}
    assert len(jobs) == len(set(jobs)) == 2 * len({question.prompt for question in held_out})


def test_a_beach_in_prose_from_outside_may_be_the_setting(world):
    concepts = [replace(world.concepts[0], label="beach", names=("beach",)), *world.concepts[1:]]
    [question] = prose_questions(replace(world, concepts=concepts), ["Waves roll up a pale beach."])
    assert question.test(judge.Verdict((), "beach", "none", "none"))
    assert not question.test(judge.Verdict((), "desert", "none", "none"))


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


def test_the_run_leaves_each_stage_its_share_and_skips_what_is_there(tmp_path, monkeypatch):
    plan = run.Plan(tmp_path, tmp_path, tmp_path, 1000.0, 2, 10, None, start=0.0)
    assert plan.denoiser_end < plan.scorers_end < 1000.0
    assert plan.scorers_end - plan.denoiser_end == pytest.approx(plan.share("reward") + 10.0)
    started = []
    monkeypatch.setattr(run.Plan, "launch", lambda _self, stage, *_arguments, **_names: started.append(stage))
    (tmp_path / "vae.safetensors").touch()
    start = run._once(plan)
    start("vae", 1, [], "vae")
    start("judge", 0, [], "judge")
    assert started == ["judge"]


def test_the_scale_beside_the_vae_is_read_back(tmp_path):
    model = vae.build_vae(TINY_VAE)
    save_weights(model.state_dict(), tmp_path / "vae.safetensors")
    (tmp_path / "vae.json").write_text(json.dumps({"scaling_factor": 1.5, "shift_factor": 0.25, "psnr_db": 30.0}))
    loaded = vae.load_vae(tmp_path / "vae.safetensors", CPU, TINY_VAE)
    assert (loaded.config.scaling_factor, loaded.config.shift_factor) == (1.5, 0.25)


def test_a_clean_render_is_retrieved_wherever_it_stands_and_on_any_background(world, renderer):
    known, pairs = retrieval.templates(world, renderer)
    asked = [(0, "flat"), (3, "3d"), (7, "cartoon")]
    scenes = [
        Scene((SceneObject(concept, style, 0.45, 0.55, 0.6),), Setting("plain", ("cream",)), count=1)
        for concept, style in asked
    ]
    pictures = renderer.render(torch.from_numpy(np.stack([world.row(scene) for scene in scenes])), 128, 128)
    found = retrieval.nearest(list(pictures), known, pairs)
    assert retrieval.shares(found, asked)["concept"] == 1.0
    assert [style in ("flat", "sticker") for _, style in found] == [True, False, False]
    assert not retrieval.signature(torch.full((3, 32, 32), 9, dtype=torch.uint8)).any()
