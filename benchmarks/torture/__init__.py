"""`python -m benchmarks.torture`: a deployment under traffic, faults and hostile peers, and somebody who checks it.

rounds.py draws what happens from a seed, faults.py and hostile.py are tables of what can happen, relay.py is the
network between the processes, watch.py notices what must never be.
"""
