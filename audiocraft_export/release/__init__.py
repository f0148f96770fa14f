"""The content of a release: weights, compression model, manifest, owned files."""
