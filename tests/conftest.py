"""One thread per process, as pytest runs a process per core and the networks here are small.

Hypothesis measures no time: how long an example takes is the machine's affair.
"""

from __future__ import annotations

import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
