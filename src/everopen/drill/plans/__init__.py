"""Built-in plans, one TOML file each. `everopen drill list` shows them; a plan of your own is a file like these."""
