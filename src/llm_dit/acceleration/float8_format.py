"""The float8 format in use: e4m3, four bits of exponent and three of mantissa, without infinities."""

import torch

FLOAT8 = torch.float8_e4m3fn
RANGE = torch.finfo(FLOAT8).max
"""448."""
SMALLEST = 1e-12
"""Keeps rows of zeros from dividing by zero."""
