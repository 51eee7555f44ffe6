"""The flight recorder: what entered the core and what came out, in files that the core can be run over again.

chunks.py is the file format, entries.py what stands in it, inputs.py takes it down as an observer beside the loop,
recording.py and folder.py put it away on a thread of their own, reader.py and replay.py are the way back.
"""
