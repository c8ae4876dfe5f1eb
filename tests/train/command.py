"""The command line as a module, so that a test can start it, and Fabric can start it again."""

from __future__ import annotations

from nubila.cli import main

if __name__ == "__main__":
    main()
