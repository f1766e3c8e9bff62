"""Where trained networks come from: folders as Hugging Face keeps them, and the hub itself."""
