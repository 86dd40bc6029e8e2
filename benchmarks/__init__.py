"""Benchmarks of the whole server, as ratios to a bare grpc.aio echo in the same run.

`python -m benchmarks` drives; the server, the echo, the load generator and the scripted model
are processes of their own.
"""
