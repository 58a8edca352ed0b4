"""The reverse of `export` for what draws: the shipped miniature back as the stages' weights.

With it, later stages can be repeated, or the transformer trained on, without the stages before.

Usage: `python -m training.stages.restore --models src/llm_dit/models --build training/build`
"""

import json
from pathlib import Path

import click
from safetensors.torch import load_file
from torch import Tensor

from training.learning.weights import save_weights


def read_component(folder: Path) -> dict[str, Tensor]:
    """All tensors of an exported component, from all its shards."""
    return {name: value for file in sorted(folder.glob("*.safetensors")) for name, value in load_file(file).items()}


def restore_pipeline(mini: Path, build: Path) -> None:
    """Write transformer, language model and VAE of an exported pipeline as their stages wrote them."""
    save_weights(read_component(mini / "transformer"), build / "transformer.safetensors")
    language_model = read_component(mini / "text_encoder")
    language_model.pop("lm_head.weight", None)  # repeats the embeddings
    names = {name: name.removeprefix("model.") for name in language_model}
    save_weights({names[name]: value for name, value in language_model.items()}, build / "language_model.safetensors")
    save_weights(read_component(mini / "vae"), build / "vae.safetensors")
    config = json.loads((mini / "vae" / "config.json").read_text())
    scale = {name: config[name] for name in ("scaling_factor", "shift_factor")}
    (build / "vae.json").write_text(json.dumps(scale))


@click.command()
@click.option("--models", type=click.Path(path_type=Path, exists=True), required=True, help="Embedded models.")
@click.option("--build", type=click.Path(path_type=Path), required=True)
def main(models: Path, build: Path) -> None:
    """Write the miniature's weights into the build folder."""
    restore_pipeline(models / "mini", build)
    print(f"restored {models / 'mini'} to {build}")


if __name__ == "__main__":
    main()
