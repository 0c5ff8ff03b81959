"""One thread per process: pytest runs a process per core, and the networks here are small."""

from __future__ import annotations

import torch

torch.set_num_threads(1)
