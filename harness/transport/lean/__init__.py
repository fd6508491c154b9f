"""InvokeRestApi without boto3's cost: own signature, kept connections, little parsing.

What the user configured for AWS (credentials, region, endpoint, CA bundle) is taken from a boto3
client, but calls do not go through it. A test holds their outcomes to be the same. What every
transport needs lives one floor up.
"""
