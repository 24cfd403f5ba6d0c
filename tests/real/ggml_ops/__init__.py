"""Operations of a real ggml on its CUDA backend against its CPU backend, through ggml's public API."""
