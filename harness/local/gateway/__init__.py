"""The MWAA API on loopback: bounds, signature, permission, throttle, routing, CloudTrail.

What may not live here: starting webservers, scaling them, metrics, boto3. A webserver is only
a name and an address here.
"""
