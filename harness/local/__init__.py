"""The local stand-in for MWAA: gateway, webservers, autoscaler and metrics on loopback addresses.

Knows nothing of load, scenarios or records; of the analysis only AWS's constants and the scaling
rule. To everybody else it is a pair of AWS endpoint URLs (`handle` starts and stops it).
"""
