"""The demo: a real llama.cpp with its CUDA backend, a tiny model, and a program that runs it."""
