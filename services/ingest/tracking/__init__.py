"""Takes events in, by HTTP and gRPC: checks each alone and puts it on the log."""
