"""The conformance kit: what the contract promises to who follows runs, tried on any server of it.

Each promise is one small function in the files named `get_...`, `watch_...` and `tokens_...`.
"""
