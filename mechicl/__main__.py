"""`python -m mechicl`: the command `mechicl`, of the Python that runs it."""

from mechicl.cli import main

if __name__ == "__main__":  # tools that import every module, such as pydoc, run no command
    main()
