"""Compilation of the transformer's blocks, one by one and for any length, and of the decoder as a whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from llm_dit.errors import DeviceError

if TYPE_CHECKING:
    from llm_dit.networks.transformer import TransformerBlock
    from llm_dit.networks.vae_decoder import Autoencoder
    from llm_dit.placement.devices import AnyDevice

CPP_COMPILERS = ("c++", "g++", "clang++", "cl")


def check_compiler(device: AnyDevice) -> None:
    """Raise `DeviceError` where torch.compile has no compiler for `device`."""
    if device.type == "cuda" and find_spec("triton") is None:
        raise DeviceError("compile = on needs triton, which is not installed; use compile = off.", field="compile")
    compilers = [name for name in (os.environ.get("CXX"), *CPP_COMPILERS) if name]
    if device.type == "cpu" and not any(shutil.which(name) for name in compilers):
        raise DeviceError(
            "compile = on needs a C++ compiler, which is not installed; use compile = off.", field="compile"
        )


def compile_blocks(blocks: Iterable[TransformerBlock], *, is_whole: bool) -> None:
    """Compile blocks in place; see `compiled_modules.compile_block`."""
    from llm_dit.acceleration.compiled_modules import compile_block

    _keep_compile_cache()
    for block in blocks:
        compile_block(block, is_whole=is_whole)


def compile_decoder(vae: Autoencoder) -> None:
    """Compile the decoder in place: for the first size, and at the second one for any.

    It fuses the normalisations and activations between the convolutions.
    """
    from llm_dit.acceleration.compiled_modules import compile_whole_decoder
    from llm_dit.networks.vae_decoder import lay_out_by_rows

    _keep_compile_cache()
    lay_out_by_rows(vae)
    compile_whole_decoder(vae.decoder)


def _keep_compile_cache() -> None:
    """Let compiled kernels outlive the process, unless the user has chosen a place for them."""
    cache_home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_home / "llm-dit" / "inductor"))
