"""PickScore and HPS v2.1 against CLIP computed from the weights alone, and their loading."""

import numpy as np
import pytest
import torch
import transformers
from clip_models import IMAGE_SIZE, open_clip_weights, reference_cosine, write_hps, write_pick_score
from PIL import Image

from experiments.metrics.declaration import ScoreInput
from experiments.metrics.hps import HPSScorer, fitted
from experiments.metrics.pick_score import PickScoreScorer
from llm_dit.errors import LlmDitError

PROMPTS = ["a red cat sits on the table", "A Blue CAT.", "dog"]
LONG = "cat " * 75
PROCESSOR = getattr(transformers, "CLIPImageProcessorPil", None) or transformers.CLIPImageProcessor  # before 5.4
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]


def picture(seed: int, width: int, height: int) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR)


@pytest.fixture(scope="module")
def pick(tmp_path_factory):
    return PickScoreScorer(write_pick_score(tmp_path_factory.mktemp("pick")), device="cpu")


@pytest.fixture(scope="module")
def hps(tmp_path_factory):
    return HPSScorer(write_hps(tmp_path_factory.mktemp("hps")), device="cpu")


@pytest.fixture(scope="module")
def weights(pick):
    return open_clip_weights(59 + 2)


def close(ours: list[float], expected: list[float]) -> None:
    difference = np.abs(np.array(ours) - np.array(expected))
    assert np.ptp(ours) > 0.01, f"the random model is too flat to test anything: {ours}"
    assert difference.max() < 1e-4, f"max {difference.max():.2e}, mean {difference.mean():.2e}"


def test_pick_score_equals_an_independent_computation(pick, weights, tmp_path):
    images = [picture(0, 32, 32), picture(1, 47, 33), picture(2, 64, 71)]
    seen = PROCESSOR(size={"shortest_edge": IMAGE_SIZE}, crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE})
    pixels = seen(images, return_tensors="pt")["pixel_values"]
    expected = [
        float(weights["logit_scale"].exp()) * reference_cosine(weights, own, prompt)
        for own, prompt in zip(pixels, PROMPTS, strict=True)
    ]
    close(pick.score_batch(PROMPTS, images), expected)
    rows = []
    for index, image in enumerate(images):
        image.save(tmp_path / f"{index}.png")
        rows.append(ScoreInput(PROMPTS[index], tmp_path / f"{index}.png"))
    columns = pick.score_rows(rows)
    close([row["pick_score"] for row in columns], expected)
    assert [row["pick_score_cropped"] for row in columns] == [False, True, True]


def reference_pixels(image: Image.Image) -> torch.Tensor:
    """The published order: scale float pixels, fill up with zeros, then normalise."""
    values = torch.tensor(np.asarray(image, dtype=np.float64) / 255).permute(2, 0, 1)
    if image.width > image.height:
        small = round(image.height * IMAGE_SIZE / image.width)
        shape, above = (small, IMAGE_SIZE), (IMAGE_SIZE - small) // 2
        scaled = torch.nn.functional.interpolate(values[None], shape, mode="bicubic", antialias=True)[0]
        whole = torch.zeros(3, IMAGE_SIZE, IMAGE_SIZE, dtype=torch.float64)
        whole[:, above : above + small] = scaled
        values = whole
    return ((values - MEAN) / STD).float()


def test_hps_equals_an_independent_computation(hps, weights):
    images = [picture(0, 32, 32), picture(1, 100, 70), picture(2, 64, 31)]
    expected = [
        reference_cosine(weights, reference_pixels(image), prompt)
        for image, prompt in zip(images, PROMPTS, strict=True)
    ]
    close(hps.score_batch(PROMPTS, images), expected)


@pytest.mark.parametrize(("size", "box"), [((64, 31), (0, 8, 32, 24)), ((30, 90), (10, 0, 21, 32))])
def test_hps_sees_the_whole_picture_between_black_bars(size, box):
    white = torch.tensor(fitted(Image.new("RGB", size, "white"), 32)) * STD + MEAN
    expected = torch.zeros(3, 32, 32)
    left, top, right, bottom = box
    expected[:, top:bottom, left:right] = 1
    assert torch.allclose(white, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["pick", "hps"])
def test_a_prompt_beyond_77_tokens_is_flagged_and_its_end_changes_nothing(name, request, tmp_path):
    scorer = request.getfixturevalue(name)
    picture(0, 32, 32).save(tmp_path / "0.png")
    whole, cut = scorer.score_rows([ScoreInput(text, tmp_path / "0.png") for text in (LONG.strip(), LONG + "cat dog")])
    flag, column = f"{scorer.metric.name}_truncated", scorer.metric.name
    assert (whole[flag], cut[flag]) == (False, True)
    assert whole[column] == pytest.approx(cut[column], abs=1e-6)
    assert list(whole) == [item.name for item in scorer.metric.columns]


def test_weights_that_do_not_fit_are_named(tmp_path):
    folder = write_hps(tmp_path / "short")
    content = torch.load(folder / "HPS_v2.1_compressed.pt")
    del content["state_dict"]["visual.ln_post.bias"]
    torch.save(content, folder / "HPS_v2.1_compressed.pt")
    with pytest.raises(LlmDitError, match=r"1 missing \(vision_model\.post_layernorm\.bias\)"):
        HPSScorer(folder)
    with pytest.raises(LlmDitError, match=r"holds visual\.new, which is no weight of open_clip's CLIP"):
        HPSScorer(write_hps(tmp_path / "spare", **{"visual.new": torch.zeros(1)}))
    for content, message in (
        ({"state_dict": {"a": torch.zeros(1)}}, r"is no CLIP in open_clip's layout \('visual\.conv1\.weight'\)"),
        ({"a": torch.zeros(1)}, "has no state_dict"),
    ):
        torch.save(content, folder / "HPS_v2.1_compressed.pt")
        with pytest.raises(LlmDitError, match=message):
            HPSScorer(folder)
    torch.save({"state_dict": {"a": PROCESSOR()}}, folder / "HPS_v2.1_compressed.pt")
    with pytest.raises(LlmDitError, match="holds more than tensors and was not read"):
        HPSScorer(folder)


def test_a_folder_without_weights_or_of_another_model_is_named(tmp_path):
    with pytest.raises(LlmDitError, match=r"has no HPS_v2\.1_compressed\.pt; put it there, from xswu/HPSv2"):
        HPSScorer(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "siglip"}')
    with pytest.raises(LlmDitError, match="holds a siglip model, not a clip one"):
        PickScoreScorer(tmp_path)
    with pytest.raises(LlmDitError, match=r"\./nothing does not exist; give a folder, a hub id .* of such a scorer\."):
        PickScoreScorer("./nothing")
