"""The contract of the driver API: prototypes from NVIDIA's headers, joined with our annotations."""
