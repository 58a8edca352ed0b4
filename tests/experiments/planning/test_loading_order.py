"""The order of loading: what takes longest to read anew changes most seldom."""

import itertools

from experiments.planning.loading_order import in_loading_order
from llm_dit.parameters import EngineSettings


def ordered(**values):
    """Cross values in their order and return them in the order of loading."""
    crossed = [
        EngineSettings(**dict(zip(values, combination, strict=True)))
        for combination in itertools.product(*values.values())
    ]
    found = in_loading_order(crossed)
    assert sorted(map(repr, found)) == sorted(map(repr, crossed))
    return [tuple(getattr(settings, name) for name in values) for settings in found]


def test_kernels_of_the_same_weights_stand_together():
    assert ordered(attention_backend=["cudnn", "sage"], quantization=["none", "float8"]) == [
        ("cudnn", "none"),
        ("sage", "none"),
        ("sage", "float8"),
        ("cudnn", "float8"),
    ]


def test_the_text_encoder_changes_most_seldom_and_each_group_goes_back_the_way_the_last_came():
    assert ordered(
        vae_tiling=[False, True], text_encoder_quantization=["none", "int8"], dtype=["bfloat16", "float32"]
    ) == [
        (False, "none", "bfloat16"),
        (True, "none", "bfloat16"),
        (True, "none", "float32"),
        (False, "none", "float32"),
        (False, "int8", "float32"),
        (True, "int8", "float32"),
        (True, "int8", "bfloat16"),
        (False, "int8", "bfloat16"),
    ]


def test_a_folder_brings_its_own_text_encoder_and_a_file_does_not():
    folders = ordered(model_path=["a", "b"], text_encoder_dtype=["bfloat16", "float32"])
    assert folders == [("a", "bfloat16"), ("a", "float32"), ("b", "bfloat16"), ("b", "float32")]
    files = ordered(model_path=["a.gguf", "b.safetensors"], text_encoder_dtype=["bfloat16", "float32"])
    assert files == [
        ("a.gguf", "bfloat16"),
        ("b.safetensors", "bfloat16"),
        ("b.safetensors", "float32"),
        ("a.gguf", "float32"),
    ]
