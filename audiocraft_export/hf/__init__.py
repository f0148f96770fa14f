"""What needs the extra `hf`: nothing outside imports it unless somebody asks for it."""
