"""Makes load: callers over raw sockets, with requests that were serialized beforehand, in a process of their own."""
