"""What PyTorch's allocator holds of a device, for benchmarks."""

import gc

import torch

GIB = 1024**3


def forget(device: torch.device) -> None:
    """Give back what nothing holds, and count the peak anew."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak_gib(device: torch.device) -> float:
    """Most that was allocated since `forget`, in GiB; 0 on the CPU."""
    return torch.cuda.max_memory_allocated(device) / GIB if device.type == "cuda" else 0.0
