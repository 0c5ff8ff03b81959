"""Door to ``causal-rl evaluate-graph``."""

import sys

from causal_rl.cli import main

main(["evaluate-graph", *sys.argv[1:]])
