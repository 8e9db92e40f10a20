"""Reads calls of the Segment tracking protocol, whichever way they come: HTTP, gRPC and files share it.

`calls` is plain Python and reads JSON; `contract` translates to and from the contract's messages; `splitting`
takes a batch apart that no JSON parser reads, because one of its items is none.
"""
