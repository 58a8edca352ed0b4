"""Names of every layout: there and back at full size, against diffusers, and every tensor placed or named."""

import json

import pytest
import torch
from model_files import (
    component_tensors,
    encoder_llama_tensors,
    encoder_tensors,
    transformer_tensors,
    vae_tensors,
    write_comfy_tree,
    write_file,
)
from safetensors.torch import load_file

from llm_dit.checkpoints.layouts import LDM_VAE, LLAMA_ENCODER, MATRICES, ORIGINAL_TRANSFORMER
from llm_dit.checkpoints.model_file import open_model_file
from llm_dit.checkpoints.sizes import config_from_tensors
from llm_dit.errors import CheckpointError

CPU = torch.device("cpu")


def shapes_of(module):
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


@pytest.fixture(scope="module")
def published():
    """The full-size components as diffusers and transformers make them, without weights."""
    from diffusers import AutoencoderKL, ZImageTransformer2DModel
    from transformers.models.qwen3 import Qwen3Config, Qwen3Model

    encoder = Qwen3Config(
        vocab_size=151936,
        hidden_size=2560,
        intermediate_size=9728,
        num_hidden_layers=36,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=128,
        rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
        max_position_embeddings=40960,
        tie_word_embeddings=True,
    )
    vae = {
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "block_out_channels": (128, 256, 512, 512),
        "layers_per_block": 2,
        "latent_channels": 16,
        "use_quant_conv": False,
        "use_post_quant_conv": False,
    }
    with torch.device("meta"):
        return {
            "transformer": ZImageTransformer2DModel(),
            "text_encoder": Qwen3Model(encoder),
            "vae": AutoencoderKL(**vae),
        }


def test_the_full_transformer_has_453_tensors_there_and_521_here(published):
    ours = published["transformer"].state_dict()
    foreign = {ORIGINAL_TRANSFORMER.foreign(name)[0] for name in ours}
    back = [name for original in foreign for name in ORIGINAL_TRANSFORMER.ours(original)]
    assert len(ours) == 521 and len(foreign) == 453
    assert sorted(back) == sorted(ours)


@pytest.mark.parametrize(("component", "table", "count"), [("text_encoder", LLAMA_ENCODER, 398), ("vae", LDM_VAE, 244)])
def test_names_of_encoder_and_vae_round_trip(published, component, table, count):
    ours = list(published[component].state_dict())
    foreign = [table.foreign(name)[0] for name in ours]
    assert len(set(foreign)) == count
    assert [table.ours(name) for name in foreign] == [(name,) for name in ours]


def test_the_vae_equals_the_converter_of_diffusers(published):
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    ours = published["vae"].state_dict()
    foreign = {
        LDM_VAE.foreign(name)[0]: value[..., None, None] if MATRICES.search(name) else value
        for name, value in ours.items()
    }
    converted = convert_ldm_vae_checkpoint(foreign, published["vae"].config)
    assert {name: value.shape for name, value in converted.items()} == {k: value.shape for k, value in ours.items()}


def test_the_transformer_equals_the_converter_of_diffusers(tiny_checkpoint, tmp_path):
    from diffusers.loaders.single_file_utils import convert_z_image_transformer_checkpoint_to_diffusers

    original = transformer_tensors(tiny_checkpoint)
    expected = convert_z_image_transformer_checkpoint_to_diffusers(dict(original))
    path = write_file(tmp_path / "x.safetensors", original, tiny_checkpoint / "transformer")
    found = read(open_model_file(path).components["transformer"])
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("component", ["transformer", "text_encoder", "vae"])
def test_sizes_of_the_published_model_come_from_its_tensors(published, component, tmp_path):
    from llm_dit.networks.qwen3 import Qwen3Config, Qwen3Encoder
    from llm_dit.networks.transformer import ZImageTransformer
    from llm_dit.networks.transformer_config import ZImageTransformerConfig
    from llm_dit.networks.vae_decoder import Autoencoder, DecoderConfig

    shapes = shapes_of(published[component])
    config = config_from_tensors(tmp_path / "x.safetensors", component, shapes, {})
    with torch.device("meta"):
        module = {
            "transformer": lambda: ZImageTransformer(ZImageTransformerConfig.from_dict(config)),
            "text_encoder": lambda: Qwen3Encoder(Qwen3Config.from_dict(config)),
            "vae": lambda: Autoencoder(DecoderConfig.from_dict(config)),
        }[component]()
    expected = {name: shape for name, shape in shapes.items() if not name.startswith("encoder.")}
    assert shapes_of(module) == expected
    theirs = dict(published[component].config.to_dict() if component == "text_encoder" else published[component].config)
    if component == "transformer":
        told = {name: list(value) if isinstance(value, tuple) else value for name, value in theirs.items()}
        assert {**config, "axes_lens": [1024, 512, 512]}.items() == {name: told[name] for name in config}.items()
    if component == "vae":
        assert (config["scaling_factor"], config["shift_factor"], config["norm_num_groups"]) == (0.3611, 0.1159, 32)
    if component == "text_encoder":
        assert (config["rope_theta"], config["num_attention_heads"], config["head_dim"]) == (1e6, 32, 128)


def read(component):
    return {name: tensor.read(torch.float32, CPU) for name, tensor in component.tensors.items()}


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model.", "diffusion_model.", "transformer."])
@pytest.mark.parametrize("layout", ["original", "diffusers"])
def test_every_prefix_and_layout_of_a_transformer_is_the_same_bits(tiny_checkpoint, tmp_path, prefix, layout):
    expected = component_tensors(tiny_checkpoint / "transformer")
    stored = transformer_tensors(tiny_checkpoint) if layout == "original" else expected
    named = {prefix + name: tensor.to(torch.bfloat16) for name, tensor in stored.items()}
    named[f"{prefix}norm_final.weight"] = torch.zeros(48, dtype=torch.bfloat16)  # in many fine-tunes, in no model
    path = write_file(tmp_path / "x.safetensors", named, tiny_checkpoint / "transformer")
    found = open_model_file(path).components["transformer"]
    assert {name: tensor.shape for name, tensor in found.tensors.items()} == {
        name: tuple(tensor.shape) for name, tensor in expected.items()
    }
    assert all(torch.equal(read(found)[name], expected[name].bfloat16().float()) for name in expected)


def test_pad_tokens_of_one_dimension_get_their_row(tiny_checkpoint, tmp_path):
    stored = transformer_tensors(tiny_checkpoint)
    flat = {name: tensor[0] if name.endswith("pad_token") else tensor for name, tensor in stored.items()}
    path = write_file(tmp_path / "x.safetensors", flat, tiny_checkpoint / "transformer")
    found = read(open_model_file(path).components["transformer"])
    assert torch.equal(found["cap_pad_token"], stored["cap_pad_token"])


def test_a_bundle_is_sorted_by_component(tiny_checkpoint, tmp_path):
    parts = {
        "model.diffusion_model.": transformer_tensors(tiny_checkpoint),
        "text_encoders.qwen3_4b.transformer.": encoder_tensors(tiny_checkpoint),
        "vae.": vae_tensors(tiny_checkpoint),
    }
    bundle = {prefix + name: tensor for prefix, part in parts.items() for name, tensor in part.items()}
    path = write_file(tmp_path / "bundle.safetensors", bundle)
    with pytest.raises(CheckpointError, match=r"transformer of width 48, Z-Image's has 3840; .* as bundle\.json"):
        open_model_file(path)
    names = ("transformer", "text_encoder", "vae")
    configs = {name: json.loads((tiny_checkpoint / name / "config.json").read_text()) for name in names}
    path.with_suffix(".json").write_text(json.dumps(configs))
    found = open_model_file(path).components
    assert found.keys() == set(names)
    for name, component in found.items():
        expected = component_tensors(tiny_checkpoint / name)
        expected = {tensor.removeprefix("model."): value for tensor, value in expected.items()}
        expected.pop("lm_head.weight", None)
        tensors = read(component)
        assert tensors.keys() == expected.keys()
        assert all(torch.equal(tensors[tensor], expected[tensor]) for tensor in expected)
        assert component.config.items() >= {"hidden_size": 32, "dim": 48}.items() & configs[name].items()


def test_encoder_and_vae_of_a_comfyui_tree_are_the_same_bits(tiny_checkpoint, tmp_path):
    paths = write_comfy_tree(tiny_checkpoint, tmp_path)
    for component in ("text_encoder", "vae"):
        expected = component_tensors(tiny_checkpoint / component)
        found = read(open_model_file(paths[component]).components[component])
        assert len(found) == len(expected.keys() - {"lm_head.weight"})
        for name, tensor in found.items():
            ours = expected.get(name, expected.get(f"model.{name}"))
            assert torch.equal(tensor, ours), name


def test_llama_names_of_the_encoder_are_the_same_bits(tiny_checkpoint, tmp_path):
    path = write_file(
        tmp_path / "q.safetensors", encoder_llama_tensors(tiny_checkpoint), tiny_checkpoint / "text_encoder"
    )
    found = read(open_model_file(path).components["text_encoder"])
    expected = encoder_tensors(tiny_checkpoint)
    assert len(found) == len([name for name in expected if name != "lm_head.weight"])
    assert all(torch.equal(tensor, expected[f"model.{name}"]) for name, tensor in found.items())


def test_what_is_no_part_of_a_model_is_refused_in_a_bundle(tiny_checkpoint, tmp_path):
    parts = {f"vae.{name}": tensor for name, tensor in vae_tensors(tiny_checkpoint).items()}
    bundle = {**parts, **{f"clip.{index}": torch.zeros(1) for index in range(4)}}
    with pytest.raises(
        CheckpointError,
        match=r"x\.safetensors holds vae and 4 tensors of no part of Z-Image \(clip\.0, clip\.1, clip\.2, \.\.\.\)",
    ):
        open_model_file(write_file(tmp_path / "x.safetensors", bundle))


def test_a_bundle_whose_part_is_another_is_refused(tiny_checkpoint, tmp_path):
    bundle = {f"vae.{name}": tensor for name, tensor in transformer_tensors(tiny_checkpoint).items()}
    with pytest.raises(CheckpointError, match=r"x\.safetensors holds a transformer, not a vae"):
        open_model_file(write_file(tmp_path / "x.safetensors", bundle))


def test_a_fused_tensor_that_is_not_three_projections_is_refused(tiny_checkpoint, tmp_path):
    tensors = transformer_tensors(tiny_checkpoint)
    tensors["layers.0.attention.qkv.weight"] = tensors["layers.0.attention.qkv.weight"][:143]
    with pytest.raises(CheckpointError, match=r"qkv\.weight has 143 rows, which can't be 3 projections"):
        open_model_file(write_file(tmp_path / "x.safetensors", tensors, tiny_checkpoint / "transformer"))


def test_tensors_that_lack_what_gives_the_sizes_are_named(tiny_checkpoint, tmp_path):
    tensors = transformer_tensors(tiny_checkpoint)
    del tensors["layers.0.attention.q_norm.weight"]
    path = write_file(tmp_path / "x.safetensors", tensors, tiny_checkpoint / "transformer")
    with pytest.raises(
        CheckpointError, match=r"lacks layers\.0\.attention\.norm_q\.weight, from which the sizes of its transformer"
    ):
        open_model_file(path)


@pytest.mark.parametrize(
    ("content", "sentence"), [("{", r"x\.json can't be read \(.*\); write it again"), ("[]", "is not a JSON object")]
)
def test_a_damaged_name_json_is_one_sentence(tiny_checkpoint, tmp_path, content, sentence):
    path = write_file(tmp_path / "x.safetensors", transformer_tensors(tiny_checkpoint))
    path.with_suffix(".json").write_text(content)
    with pytest.raises(CheckpointError, match=sentence):
        open_model_file(path)


def test_a_tensor_of_two_spellings_is_refused(tiny_checkpoint, tmp_path):
    both = {**transformer_tensors(tiny_checkpoint), **component_tensors(tiny_checkpoint / "transformer")}
    path = write_file(tmp_path / "x.safetensors", both, tiny_checkpoint / "transformer")
    with pytest.raises(CheckpointError, match=r"x\.safetensors holds .* twice"):
        open_model_file(path)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ({"siglip_embedder.0.weight": (2, 2)}, "is Z-Image Omni or Edit, which reads pictures through SigLIP"),
        ({"dec_net.cond_embed.weight": (2, 2)}, "in pixel space, without a VAE"),
        ({"cap_embedder.1.weight": (2304, 2304)}, "is Lumina 2: its transformer is 2304 wide, Z-Image's 3840"),
        ({"layers.0.attention.to_qkv.wscales": (2, 2)}, "is packed by Nunchaku, whose kernels it needs"),
        ({"layers.0.attention.to_q.encoded_exponent": (2,)}, "is packed by DFloat11; use the bf16"),
        ({"layers.0.attention.to_q.svd_up": (2, 2)}, "is packed by SDNQ; use the bf16"),
        ({"control_layers.0.before_proj.weight": (2, 2)}, "is a ControlNet, an addition to a model"),
        ({"lora_unet_layers_0_attention_to_q.lora_up.weight": (2, 2)}, "is a LoRA, .* give it with --lora"),
        ({"double_blocks.0.img_attn.qkv.weight": (2, 2)}, "is a model of the Flux or HunyuanVideo kind"),
        ({"something.weight": (2, 2)}, "is no transformer, text encoder or VAE of Z-Image"),
    ],
)
def test_other_models_are_named_in_one_sentence(tmp_path, names, sentence):
    path = write_file(tmp_path / "x.safetensors", {name: torch.zeros(shape) for name, shape in names.items()})
    with pytest.raises(CheckpointError, match=sentence):
        open_model_file(path)


def test_nunchaku_is_known_by_its_metadata(tmp_path):
    path = write_file(tmp_path / "x.safetensors", {"a": torch.zeros(1)}, metadata={"quantization_config": "{}"})
    with pytest.raises(CheckpointError, match="Nunchaku"):
        open_model_file(path)


def test_an_encoder_of_another_size_is_named_with_both_widths(tmp_path):
    tensors = {
        "model.embed_tokens.weight": torch.zeros(8, 4096),
        "model.layers.0.self_attn.q_norm.weight": torch.zeros(4),
        **{f"model.layers.0.self_attn.{part}_proj.weight": torch.zeros(8, 4096) for part in "qk"},
        "model.layers.0.mlp.gate_proj.weight": torch.zeros(8, 4096),
    }
    with pytest.raises(CheckpointError, match="text_encoder of width 4096, Z-Image's has 2560"):
        open_model_file(write_file(tmp_path / "qwen_3_8b.safetensors", tensors))


def test_a_name_json_that_contradicts_the_tensors_is_refused(tiny_checkpoint, tmp_path):
    path = write_file(tmp_path / "x.safetensors", transformer_tensors(tiny_checkpoint), tiny_checkpoint / "transformer")
    path.with_suffix(".json").write_text(path.with_suffix(".json").read_text().replace('"dim": 48', '"dim": 64'))
    with pytest.raises(CheckpointError, match=r"x\.json says dim = 64, but the tensors of x\.safetensors say 48"):
        open_model_file(path)


def test_pickle_files_are_refused(tmp_path):
    (tmp_path / "model.ckpt").write_bytes(b"\x80\x04.")
    with pytest.raises(CheckpointError, match="pickle file, which can run code"):
        open_model_file(tmp_path / "model.ckpt")


def test_reading_some_rows_reads_those_rows(tiny_checkpoint, tmp_path):
    stored = transformer_tensors(tiny_checkpoint)
    path = write_file(tmp_path / "x.safetensors", stored, tiny_checkpoint / "transformer")
    tensor = open_model_file(path).components["transformer"].tensors["layers.0.attention.to_k.weight"]
    whole = load_file(path)["layers.0.attention.qkv.weight"]
    assert torch.equal(tensor.read_rows(3, 7, CPU), whole[48 + 3 : 48 + 7])
