"""Where a LoRA's file lies: as it was given, or in the folder of LoRAs by its name there."""

from __future__ import annotations

from pathlib import Path

from llm_dit.checkpoints.finding import expanded
from llm_dit.errors import CheckpointError, listed

SUFFIX = ".safetensors"
FIELD = "loras"


def find_lora(file: str, folder: str | None) -> Path:
    """Return a LoRA's file.

    Args:
        file: A path, or a name in `folder`, with or without `.safetensors`; a bare name is found in its folders too.
        folder: The folder of LoRAs; None for none.

    Raises:
        CheckpointError: If there is no such file, or several of that name.
    """
    given = expanded(file)
    if given.is_file():
        return given
    if folder is None or given.is_absolute():
        if Path(f"{given}{SUFFIX}").is_file():
            raise _missing(f"LoRA {file} does not exist", f"give {file}{SUFFIX}, which does")
        raise _missing(f"LoRA {file} does not exist", "give a .safetensors file, or set loras_folder")
    home = expanded(folder)
    names = (file, file + SUFFIX)
    for name in names:
        if (home / name).is_file():
            return home / name
    found = [path for path in _files(home) if path.name in names]
    if len(found) > 1:
        places = listed([path.relative_to(home).as_posix() for path in found], 3)
        raise CheckpointError(f"LoRA {file} is there {len(found)} times ({places}); give one of these.", field=FIELD)
    if not found:
        raise _missing(f"LoRA {file} is neither here nor in loras_folder", "give a .safetensors file")
    return found[0]


def loras_in(folder: str) -> list[str]:
    """Return the names of all LoRAs in a folder and its folders, as `find_lora` takes them.

    Raises:
        CheckpointError: If there is no such folder.
    """
    home = expanded(folder)
    if not home.is_dir():
        raise CheckpointError(f"loras_folder {home} does not exist; make it, or leave it out.", field="loras_folder")
    return [path.relative_to(home).as_posix() for path in _files(home)]


def _files(home: Path) -> list[Path]:
    return sorted(path for path in home.rglob(f"*{SUFFIX}") if path.is_file())


def _missing(problem: str, next_step: str) -> CheckpointError:
    return CheckpointError(f"{problem}; {next_step}. A name with a comma stands in quotes.", field=FIELD)
