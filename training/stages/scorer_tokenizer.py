"""Stage 4a: the scorers' own tokens, a lower-case WordPiece of the world's captions in BERT's format.

Usage: `python -m training.stages.scorer_tokenizer --world training/build/sprites.npz
--output training/build/scorer_tokenizer.json`
"""

from collections.abc import Iterable
from pathlib import Path

import click
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from training.words.samples import sample_world
from training.world.world import World

VOCABULARY = 3072
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]")
"""BERT's own; the last two are the ones that ImageReward adds and counts."""


def train_scorer_tokenizer(captions: Iterable[str], size: int = VOCABULARY) -> Tokenizer:
    """Train a WordPiece that frames a text as [CLS] ... [SEP]."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106 - a token of text
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=list(SPECIAL_TOKENS), show_progress=False)
    tokenizer.train_from_iterator(captions, trainer)
    places = tokenizer.get_vocab()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", places["[SEP]"]), ("[CLS]", places["[CLS]"]))
    return tokenizer


@click.command()
@click.option("--world", type=click.Path(path_type=Path), required=True)
@click.option("--output", type=click.Path(path_type=Path), required=True)
@click.option("--count", type=int, default=60_000, help="Captions to learn from.")
def main(world: Path, output: Path, count: int) -> None:
    """Train the scorers' tokenizer on captions of the world."""
    tokenizer = train_scorer_tokenizer(sample_world(World.load(world), count, 77).captions)
    tokenizer.save(str(output))
    print(f"scorer tokenizer: {tokenizer.get_vocab_size()} tokens")


if __name__ == "__main__":
    main()
