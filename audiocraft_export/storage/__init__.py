"""Bytes on a disk: checked reads, durable writes, staging folders, atomic replacement."""
