"""The subcommands of `audiocraft-export`, one per module."""
