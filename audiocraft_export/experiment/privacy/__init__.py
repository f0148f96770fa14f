"""Find private values in a configuration, and remove them."""
