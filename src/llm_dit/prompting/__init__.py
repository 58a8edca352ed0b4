"""From what a user writes to the text that is encoded, and from its embeddings to as many as the model may see.

Here: Qwen3's chat format, template files, long prompts. Not here: networks, files of weights, devices.
"""
