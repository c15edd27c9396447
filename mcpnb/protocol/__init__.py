"""The rules, sans-IO: what may be asked, what an answer must look like, when to refuse.

Nothing here does I/O, reads the clock or holds state, so that each rule can be read and tested
alone.
"""
