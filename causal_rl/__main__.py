"""``python -m causal_rl`` is the command-line program."""

from causal_rl.cli import main

# A process that this one spawns reads this file again.
if __name__ == "__main__":
    main()
