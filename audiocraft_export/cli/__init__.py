"""The command audiocraft-export."""
