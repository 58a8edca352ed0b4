"""Sizes of networks small enough to be trained within a test."""

import torch

CPU = torch.device("cpu")
TINY_TRANSFORMER = {"dim": 48, "n_layers": 2, "n_refiner_layers": 1, "n_heads": 1, "cap_feat_dim": 64}
TINY_LANGUAGE_MODEL = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3}
TINY_VAE = (8, 16, 16, 16)
