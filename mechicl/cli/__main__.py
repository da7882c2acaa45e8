"""`python -m mechicl.cli`."""

from mechicl.cli import main

main()
