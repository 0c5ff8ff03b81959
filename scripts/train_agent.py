"""Door to ``causal-rl train``."""

import sys

from causal_rl.cli import main

main(["train", *sys.argv[1:]])
