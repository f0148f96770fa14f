"""`python -m audiocraft_export` is the command `audiocraft-export`."""

from .cli import main

if __name__ == "__main__":
    main()
