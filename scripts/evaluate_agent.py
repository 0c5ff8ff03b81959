"""Door to ``causal-rl evaluate-agent``."""

import sys

from causal_rl.cli import main

main(["evaluate-agent", *sys.argv[1:]])
