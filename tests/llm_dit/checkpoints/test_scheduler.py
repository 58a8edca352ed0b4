"""The schedule that a checkpoint asks for: read, equal to the reference's, or refused by name."""

import json

import numpy as np
import pytest

from llm_dit.checkpoints.finding import EMBEDDED_MODELS
from llm_dit.checkpoints.scheduler import DynamicShift, ModelScheduler, model_values, read_scheduler
from llm_dit.errors import CheckpointError, InvalidParameter
from llm_dit.parameters import GenerationParams
from llm_dit.sampling.schedule import schedule


def written(folder, **config):
    (folder / "scheduler").mkdir(exist_ok=True)
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(config))
    return folder


def test_the_shift_is_the_checkpoints(tmp_path):
    assert read_scheduler(written(tmp_path, shift=6)).shift_for(1024, 1024) == 6.0
    assert read_scheduler(EMBEDDED_MODELS / "mini").shift_for(64, 64) == 3.0


def test_a_folder_without_a_scheduler_takes_that_of_turbo(tmp_path):
    assert read_scheduler(tmp_path) == ModelScheduler(3.0)


def test_a_scheduler_folder_without_its_file_is_named(tmp_path):
    (tmp_path / "scheduler").mkdir()
    with pytest.raises(CheckpointError, match=r"scheduler_config\.json is missing"):
        read_scheduler(tmp_path)


def test_keys_that_are_not_in_the_file_are_diffusers_defaults(tmp_path):
    from diffusers import FlowMatchEulerDiscreteScheduler

    assert read_scheduler(written(tmp_path)).shift == FlowMatchEulerDiscreteScheduler().shift == 1.0


def test_what_diffusers_writes_is_read(tmp_path):
    from diffusers import FlowMatchEulerDiscreteScheduler

    FlowMatchEulerDiscreteScheduler(shift=4.5).save_pretrained(tmp_path / "scheduler")
    assert read_scheduler(tmp_path).shift == 4.5


def test_keys_of_later_versions_that_change_nothing_are_passed_over(tmp_path):
    config = {"shift": 6.0, "next_year": None, "use_next_sigmas": False, "_diffusers_version": "0.99"}
    assert read_scheduler(written(tmp_path, **config)).shift == 6.0


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"_class_name": "FlowMatchHeunDiscreteScheduler"}, "FlowMatchHeunDiscreteScheduler"),
        ({"_class_name": "UniPCMultistepScheduler", "use_flow_sigmas": True}, "UniPCMultistepScheduler"),
        ({"shift_terminal": 0.1}, "shift_terminal = 0.1"),
        ({"use_karras_sigmas": True}, "use_karras_sigmas = true"),
        ({"use_exponential_sigmas": True}, "use_exponential_sigmas = true"),
        ({"use_beta_sigmas": True}, "use_beta_sigmas = true"),
        ({"invert_sigmas": True}, "invert_sigmas = true"),
        ({"stochastic_sampling": True}, "stochastic_sampling = true"),
        ({"num_train_timesteps": 500}, "num_train_timesteps = 500"),
        ({"time_shift_type": "cubic"}, "time_shift_type ="),
        ({"use_dynamic_shifting": "yes"}, "use_dynamic_shifting ="),
        ({"use_dynamic_shifting": [1]}, "use_dynamic_shifting ="),
        ({"next_year": 2}, "next_year = 2"),
        ({"shift": 500}, "shift = 500"),
        ({"shift": -1}, "shift = -1"),
        ({"use_dynamic_shifting": True, "max_image_seq_len": 256}, "base_image_seq_len = max_image_seq_len"),
    ],
    ids=str,
)
def test_what_is_not_supported_is_refused_by_name(tmp_path, config, named):
    with pytest.raises(CheckpointError, match="which is not supported; a FlowMatchEuler") as caught:
        read_scheduler(written(tmp_path, **config))
    assert named in str(caught.value)


@pytest.mark.parametrize("value", [None, "3", True, 1e300, [3.0], 10**400], ids=lambda value: str(value)[:9])
def test_a_shift_that_is_no_number_is_one_sentence(tmp_path, value):
    with pytest.raises(
        CheckpointError, match=r"scheduler_config\.json: shift is .{1,100}, not a number; fetch it again"
    ):
        read_scheduler(written(tmp_path, shift=value))


@pytest.mark.parametrize("kind", ["exponential", "linear"])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (256, 512), (1024, 1024), (1024, 1536)])
def test_a_dynamic_shift_gives_the_references_levels(tmp_path, kind, height, width):
    from diffusers import FlowMatchEulerDiscreteScheduler
    from diffusers.pipelines.z_image.pipeline_z_image import calculate_shift, get_default_z_image_sigmas

    theirs = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, time_shift_type=kind, max_shift=1.3)
    theirs.save_pretrained(tmp_path / "scheduler")
    mu = calculate_shift(height * width // 256, 256, 4096, 0.5, 1.3)
    theirs.set_timesteps(sigmas=get_default_z_image_sigmas(9), mu=mu)
    ours = schedule(9, read_scheduler(tmp_path).shift_for(height, width))
    assert ours[0] == theirs.sigmas[0] == 1, "guidance until 0 acts in the first step"
    difference = np.abs(theirs.sigmas.numpy() - ours.numpy())
    assert difference.max() < 1e-6, f"max {difference.max()}, mean {difference.mean()}"


def test_a_dynamic_shift_out_of_range_is_named_with_the_size(tmp_path):
    scheduler = read_scheduler(written(tmp_path, use_dynamic_shifting=True))
    with pytest.raises(InvalidParameter, match=r"shift is \d.* by the model's own rule for 4096 x 4096"):
        scheduler.shift_for(4096, 4096)


def test_what_the_parameters_say_wins_over_the_model():
    asked = GenerationParams(prompt="A cat", width=128, shift=2.0)
    base = ModelScheduler(6.0)
    expected = {"height": 64, "width": 128, "shift": 2.0, "num_inference_steps": 50, "guidance_scale": 4.0}
    assert model_values(asked, (64, 64), base) == expected
    assert (
        not {"num_inference_steps", "guidance_scale"}
        & model_values(asked.replaced(num_inference_steps=4, guidance_scale=0), (64, 64), base).keys()
    )
    assert model_values(asked.replaced(shift=None), (64, 64), ModelScheduler(6.0))["shift"] == 6.0


@pytest.mark.parametrize(
    ("scheduler", "steps", "guidance"),
    [
        (ModelScheduler(), 9, 0.0),
        (ModelScheduler(3.0), 9, 0.0),
        (ModelScheduler(6.0), 50, 4.0),
        (ModelScheduler(6.0, DynamicShift(0.5, 1.15, 256, 4096, is_exponential=True)), 9, 0.0),
    ],
)
def test_steps_and_guidance_belong_to_the_model_that_the_schedule_tells(scheduler, steps, guidance):
    assert dict(scheduler.defaults) == {"num_inference_steps": steps, "guidance_scale": guidance}
    params = GenerationParams(prompt="A cat")
    assert scheduler.guidance_for(params) == guidance
    assert scheduler.guidance_for(params.replaced(guidance_scale=1.5)) == 1.5
