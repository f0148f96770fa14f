"""Read and write files safely: checked reads, durable writes, staging folders, atomic replacement."""
