"""Private values in a configuration: finding them, and leaving them out."""
