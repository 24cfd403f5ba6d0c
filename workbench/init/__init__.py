"""`shimbench init`: what a directory holds, and the shimbench.toml that says so."""
