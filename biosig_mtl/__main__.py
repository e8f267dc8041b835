"""``python -m biosig_mtl``: the command line, for `torchrun -m` and where the script is not on the path."""

from __future__ import annotations

from biosig_mtl.cli import main

if __name__ == "__main__":
    main()
