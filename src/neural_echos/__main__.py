"""`python -m neural_echos` runs the `echos` command."""

from neural_echos.commands import main

if __name__ == "__main__":
    raise SystemExit(main())
