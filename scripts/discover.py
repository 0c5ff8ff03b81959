"""Door to ``causal-rl discover``."""

import sys

from causal_rl.cli import main

# A time limit starts a second process, which reads this file again.
if __name__ == "__main__":
    main(["discover", *sys.argv[1:]])
