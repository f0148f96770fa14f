"""The verbs of the command `audiocraft-export`, one module each."""
