"""The host forwarder's sources; the native build makes a program of them."""
