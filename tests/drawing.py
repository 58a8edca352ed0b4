"""Pictures of the tiny pipeline as numbers."""

import numpy as np

from llm_dit.parameters import GenerationParams


def levels(image):
    return np.asarray(image).astype(int)


def drawn(pipeline, shared=None, **changes):
    values = {"prompt": "A cat", "seed": 3, "num_inference_steps": 3, **changes}
    params = pipeline.resolve(GenerationParams.parse(values))
    return levels(pipeline.draw(params, pipeline.encode(params), shared).wait()[0])
