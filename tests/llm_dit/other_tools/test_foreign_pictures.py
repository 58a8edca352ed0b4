"""Settings out of pictures of other tools: what is taken, what is said, and that nothing hostile gets through."""

import json
import random
from io import BytesIO

import pytest
from foreign_pictures import (
    A1111,
    INVOKE,
    SWARM,
    api_graph,
    comfy_webp,
    custom_graph,
    editor_graph,
    png,
    subgraph_graph,
    with_comment,
)
from PIL import Image

from llm_dit.errors import OutputError
from llm_dit.image_io import parameters_text, png_bytes, read_parameters, read_record
from llm_dit.parameters import GenerationParams

TAKEN = {
    "prompt": "a fox in snow",
    "negative_prompt": "blurry",
    "num_inference_steps": 8,
    "guidance_scale": 3.0,
    "shift": 5.0,
    "seed": 42,
    "width": 832,
    "height": 1216,
}
COMFY = TAKEN | {"loras": "ink/style.safetensors:0.8"}
PICTURES = {
    "A1111, PNG": (
        png({"parameters": A1111}),
        "A1111 or Forge",
        TAKEN | {"prompt": "a fox in snow,\nsoft light", "negative_prompt": "blurry,\ntext", "loras": "ink style:0.8"},
    ),
    "ComfyUI, API": (png({"prompt": json.dumps(api_graph())}), "ComfyUI", COMFY),
    "ComfyUI, editor": (png({"workflow": json.dumps(editor_graph())}), "ComfyUI", COMFY),
    "ComfyUI, subgraph": (png({"workflow": json.dumps(subgraph_graph(promoted="inputs"))}), "ComfyUI", COMFY),
    "ComfyUI, first subgraphs": (png({"workflow": json.dumps(subgraph_graph(promoted="proxies"))}), "ComfyUI", COMFY),
    "ComfyUI, both": (
        png({"prompt": json.dumps(api_graph()), "workflow": json.dumps(editor_graph())}),
        "ComfyUI",
        COMFY,
    ),
    "ComfyUI, WebP": (comfy_webp(api_graph(), editor_graph()), "ComfyUI", COMFY),
    "ComfyUI, custom sampler": (
        png({"prompt": json.dumps(custom_graph())}),
        "ComfyUI",
        {name: value for name, value in COMFY.items() if name != "negative_prompt"} | {"guidance_scale": 0.0},
    ),
    "InvokeAI": (png({"invokeai_metadata": json.dumps(INVOKE)}), "InvokeAI", TAKEN | {"loras": "style:0.8"}),
    "SwarmUI": (png({"parameters": json.dumps(SWARM)}), "SwarmUI", TAKEN | {"loras": "style:0.8"}),
    "SwarmUI, JPEG": (with_comment("JPEG", json.dumps(SWARM)), "SwarmUI", TAKEN | {"loras": "style:0.8"}),
}
for kind in ("JPEG", "WEBP"):
    for encoding in ("utf-16-be", "utf-16-le", "utf-8"):
        PICTURES[f"A1111, {kind} in {encoding}"] = (with_comment(kind, A1111, encoding), *PICTURES["A1111, PNG"][1:])


@pytest.mark.parametrize("name", PICTURES)
def test_the_settings_of_a_tool_become_ours(name):
    picture, tool, expected = PICTURES[name]
    found = read_parameters(BytesIO(picture.getvalue()))
    assert found["source"] == tool
    if "shift" not in found["parameters"]:
        expected = {key: value for key, value in expected.items() if key != "shift"}
        assert tool == "InvokeAI"
    assert found["parameters"] == expected
    assert GenerationParams.parse(found["parameters"]).seed == 42


def notices(picture):
    return read_parameters(BytesIO(picture.getvalue()))["notices"]


def test_it_is_said_what_was_taken_and_what_was_not():
    assert notices(PICTURES["A1111, PNG"][0]) == [
        "Read from A1111 or Forge: prompt, loras, negative_prompt, num_inference_steps, guidance_scale, shift, seed, "
        "width, height.",
        "The model was z_image_turbo_bf16.",
        "Not understood: Denoising strength.",
        "A1111 or Forge has its own rules for noise and steps, so the same seed may give another picture here.",
        "LoRAs are looked for by their names, as files here and in loras_folder.",
        "CFG 4 is guidance_scale 3 here.",
    ]
    assert "Not understood: refinermethod." in notices(PICTURES["SwarmUI"][0])
    assert "Not understood: seamless_x." in notices(PICTURES["InvokeAI"][0])
    assert "The sampler was res_multistep; here it is Euler's." in notices(PICTURES["ComfyUI, custom sampler"][0])


def test_our_own_text_is_read_where_our_record_is_gone():
    params = GenerationParams(
        prompt="a fox (red:1.2) <lora:x:1>\nin snow", seed=2**53 - 1, width=64, height=96, shift=2.5
    )
    params = params.replaced(guidance_scale=1.5, negative_prompt="blurry", hidden_layer=-4, num_inference_steps=3)
    metadata = {
        "parameters": params.model_dump(),
        "model_path": "mini",
        "model_fingerprint": "0" * 64,
        "versions": {"llm-dit": "0.1.0"},
    }
    found = read_parameters(png({"parameters": parameters_text(metadata)}))
    assert GenerationParams.parse(found["parameters"]) == params
    assert found["notices"] == [
        "Read from llm-dit's text: prompt, negative_prompt, num_inference_steps, shift, guidance_scale, seed, "
        "hidden_layer, width, height.",
        "The model was mini.",
        "CFG 2.5 is guidance_scale 1.5 here.",
    ]
    ours = BytesIO(png_bytes(Image.new("RGB", (64, 96)), metadata))
    assert read_parameters(ours) == read_record(BytesIO(ours.getvalue())) == metadata


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"KSampler": {"seed": 2**64 - 1}}, "Left out: seed 18446744073709551615 is not allowed"),
        ({"EmptySD3LatentImage": {"width": 1000}}, "Left out: width 1000 is not a multiple of 16; use 992 or 1008"),
        ({"KSampler": {"denoise": 0.5}}, "Not understood: denoise 0.5"),
        ({"KSampler": {"scheduler": "karras"}}, "Not understood: schedule karras"),
        ({"KSampler": {"positive": ["99", 0]}}, "No prompt was found"),
        ({"KSampler": {"latent_image": ["9", 0]}}, "It did not begin with empty latents of a known size"),
        ({"ModelSamplingAuraFlow": {"model": ["4", 0]}}, "Read from ComfyUI"),
        ({"KSampler": {"steps": ["30", 0]}}, "Read from ComfyUI"),
        ({"KSampler": {"cfg": "x" * 5000}}, "Read from ComfyUI"),
        ({"KSampler": {"cfg": 0.5}}, "CFG 0.5 is guidance_scale 0 here"),
        ({"CLIPTextEncode": {"text": "a (big:1.3) fox"}}, "Emphasis such as (word:1.2) in the prompt is plain text"),
        ({"LoraLoaderModelOnly": {"strength_model": float("nan")}}, "Not understood: LoRA ink"),
    ],
)
def test_what_does_not_fit_is_said_and_left_out(changes, sentence):
    found = read_parameters(png({"prompt": json.dumps(api_graph(**changes))}))
    assert any(sentence in notice for notice in found["notices"]), found["notices"]
    GenerationParams.parse({"prompt": "-", **found["parameters"]})


def test_texts_and_numbers_are_followed_through_nodes_that_hand_them_on():
    graph = api_graph(CLIPTextEncode={"text": ["30", 0]}, KSampler={"steps": ["31", 0], "negative": ["33", 0]})
    graph |= {
        "30": {"class_type": "Reroute", "inputs": {"": ["32", 0]}},
        "31": {"class_type": "easy int", "inputs": {"value": 12}},
        "32": {"class_type": "PrimitiveStringMultiline", "inputs": {"value": "a hare"}},
        "33": {"class_type": "ConditioningZeroOut", "inputs": {"conditioning": ["5", 0]}},
        "34": {
            "class_type": "Power Lora Loader (rgthree)",
            "inputs": {
                "model": ["1", 0],
                "lora_1": {"on": True, "lora": "a, b.safetensors", "strength": 0.5},
                "lora_2": {"on": False, "lora": "off.safetensors", "strength": 1},
            },
        },
    }
    graph["3"]["inputs"]["model"] = ["34", 0]
    found = read_parameters(png({"prompt": json.dumps(graph)}))["parameters"]
    assert (found["prompt"], found["num_inference_steps"]) == ("a hare", 12)
    assert "negative_prompt" not in found
    assert found["loras"] == '"a, b.safetensors":0.5, ink/style.safetensors:0.8'


def test_the_sampler_that_begins_the_image_is_read():
    graph = api_graph()
    second = {**graph["8"]["inputs"], "steps": 20, "latent_image": ["8", 0], "denoise": 0.4}
    graph = {"0": {"class_type": "KSampler", "inputs": second}, **graph}
    found = read_parameters(png({"prompt": json.dumps(graph)}))
    assert found["parameters"]["num_inference_steps"] == 8
    assert "The graph has 2 samplers; read is the one that begins the image." in found["notices"]


def test_bypassed_nodes_of_the_editor_do_nothing():
    graph = editor_graph()
    for node in graph["nodes"]:
        if node["type"] in ("LoraLoaderModelOnly", "ModelSamplingAuraFlow"):
            node["mode"] = 4
    found = read_parameters(png({"workflow": json.dumps(graph)}))
    assert not {"loras", "shift"} & found["parameters"].keys()
    assert found["model_path"] == "z_image_turbo_bf16.safetensors"


def test_a_subgraph_in_a_subgraph_is_read():
    graph = subgraph_graph(promoted="proxies")
    (inner,) = graph["definitions"]["subgraphs"]
    end = {"id": 1, "origin_id": 60, "origin_slot": 0, "target_id": -20, "target_slot": 0, "type": "LATENT"}
    outer = {"id": "sub-2", "nodes": [{**graph["nodes"][0], "id": 60}], "links": [end]}
    graph["definitions"]["subgraphs"] = [inner, outer]
    graph["nodes"][0] = {"id": 50, "type": "sub-2", "mode": 0, "inputs": [], "widgets_values": []}
    assert read_parameters(png({"workflow": json.dumps(graph)}))["parameters"] == COMFY


def test_promoted_values_that_fit_no_widgets_leave_the_subgraphs_own():
    graph = subgraph_graph(promoted="proxies")
    graph["nodes"][0]["widgets_values"] = ["a fox in snow"]
    found = read_parameters(png({"workflow": json.dumps(graph)}))["parameters"]
    assert (found["prompt"], found["seed"]) == ("a dog", 7)


def in_itself():
    instance = {"id": 1, "type": "a", "mode": 0, "inputs": []}
    return {"nodes": [instance], "links": [], "definitions": {"subgraphs": [{"id": "a", "nodes": [instance]}]}}


def many_of_many():
    levels = [
        {"id": f"s{depth}", "nodes": [{"id": number, "type": f"s{depth + 1}"} for number in range(200)]}
        for depth in range(6)
    ]
    return {"nodes": [{"id": 1, "type": "s0"}], "definitions": {"subgraphs": [*levels, {"id": "s6", "nodes": []}]}}


HOSTILE = {
    "a subgraph in itself": png({"workflow": json.dumps(in_itself())}),
    "many subgraphs of many": png({"workflow": json.dumps(many_of_many())}),
    "nested JSON": png({"prompt": '{"1": ' + "[" * 100_000 + "]" * 100_000 + "}"}),
    "broken JSON": png({"prompt": '{"1": '}),
    "a list": png({"workflow": "[1, 2]"}),
    "no nodes": png({"workflow": "{}"}),
    "no sampler": png({"prompt": json.dumps({"1": {"class_type": "X", "inputs": {}}})}),
    "many nodes": png({"prompt": json.dumps({str(n): {} for n in range(20_001)})}),
    "no settings": png({"parameters": "a fox\nin snow"}),
    "words without end": png({"parameters": "Steps: 1, " + "a" * 1_000_000}),
    "no texts": png({}),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_settings_is_one_sentence(name):
    with pytest.raises(OutputError, match=r"^the file (can't be read as a picture with settings|carries no llm-dit)"):
        read_parameters(HOSTILE[name])


def test_circles_in_a_graph_end():
    graph = api_graph(
        CLIPTextEncode={"text": ["30", 0]}, KSampler={"positive": ["31", 0], "model": ["32", 0], "seed": ["30", 0]}
    )
    graph |= {
        "30": {"class_type": "Reroute", "inputs": {"": ["30", 0]}},
        "31": {"class_type": "FluxGuidance", "inputs": {"conditioning": ["31", 0]}},
        "32": {"class_type": "CFGNorm", "inputs": {"model": ["33", 0]}},
        "33": {"class_type": "CFGNorm", "inputs": {"model": ["32", 0]}},
    }
    found = read_parameters(png({"prompt": json.dumps(graph)}))
    assert {"num_inference_steps", "width"} <= found["parameters"].keys()
    assert not {"prompt", "seed", "shift"} & found["parameters"].keys()


@pytest.mark.parametrize("name", ["A1111, PNG", "ComfyUI, WebP", "A1111, JPEG in utf-16-be", "SwarmUI"])
def test_damaged_pictures_are_read_or_refused(name):
    content, source = PICTURES[name][0].getvalue(), random.Random(0)
    for _ in range(300):
        damaged = bytearray(content[: source.randrange(1, len(content) + 1)])
        for _ in range(source.randrange(4)):
            damaged[source.randrange(len(damaged))] = source.randrange(256)
        try:
            found = read_parameters(BytesIO(bytes(damaged)))
        except OutputError:
            continue
        GenerationParams.parse({"prompt": "-", **found["parameters"]})


@pytest.mark.parametrize("tool", ["api", "editor", "subgraph", "swarm", "invoke"])
def test_values_of_any_kind_are_taken_or_left(tool):
    source = random.Random(1)
    wrong = [
        None,
        True,
        -1,
        1e400,
        float("nan"),
        "",
        "x" * 300_000,
        [],
        {},
        [["1", 0]],
        ["8", 0],
        "\ud800",
        "0x10",
        10**400,
    ]

    def spoiled(value):
        if source.random() < 0.15:
            return source.choice(wrong)
        if isinstance(value, dict):
            return {key: spoiled(item) for key, item in value.items()}
        return [spoiled(item) for item in value] if isinstance(value, list) else value

    whole, keyword = {
        "api": (api_graph(), "prompt"),
        "editor": (editor_graph(), "workflow"),
        "subgraph": (subgraph_graph(promoted="inputs"), "workflow"),
        "swarm": (SWARM, "parameters"),
        "invoke": (INVOKE, "invokeai_metadata"),
    }[tool]
    for _ in range(100):
        try:
            found = read_parameters(png({keyword: json.dumps(spoiled(whole))}))
        except OutputError:
            continue
        GenerationParams.parse({"prompt": "-", **found["parameters"]})
        json.dumps(found, allow_nan=False)
