"""What runs under the shim: Ollama, or any command."""
