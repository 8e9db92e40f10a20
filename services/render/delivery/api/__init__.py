"""The gRPC APIs of messages and of their delivery."""
