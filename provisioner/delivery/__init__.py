"""What happens between a request for a run and the last outcome.

`requests` takes the request, `roster` reads and gates the roster, `observing` and `installing` make and install a plan
per target, `sending` claims, sends and records, `finishing` ends the run. Everything here may be stopped at any moment:
what matters lies in Redis before anything is sent.
"""
