"""``python -m causal_rl`` is the command-line program."""

from causal_rl.cli import main

main()
