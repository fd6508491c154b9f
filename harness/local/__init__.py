"""The local stand-in for MWAA: gateway, webservers, autoscaler and metrics on loopback addresses.

Knows nothing of load, scenarios, records or analysis: to everybody else it is a pair of AWS
endpoint URLs (`handle.py` starts and stops it).
"""
