"""The contract suite for targets: what every target promises, tried over real HTTP on loopback.

A package subclasses `contract.TargetContract` in its tests, gives a `Case`, and starts its stand-in of the vendor, for
which `server.Server` will do. The suite is between target and stand-in with a `proxy.Proxy`, which gives wrong
answers where a test asks for them; the stand-in itself only plays the vendor well.

Only `contract` imports pytest, which a package installs for its own tests.
"""
