"""What an export costs, each against its own baseline in the same run: `make bench`."""
