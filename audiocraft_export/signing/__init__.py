"""Sign a release and check its signature: keys, sigstore bundles, statements of OpenSSF Model Signing and in-toto."""
