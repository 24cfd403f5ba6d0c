"""The shim: our own driver libraries, and the model of the API they implement."""
