"""The MWAA API on loopback: signature, permission, throttle, routing, error mapping, CloudTrail.

What may not live here: starting webservers, scaling them, metrics, boto3. A webserver is only
a name and an address here.
"""
