"""`python -m audiocraft_export` is the command `audiocraft-export`."""

from .cli.main import main

if __name__ == "__main__":
    main()
