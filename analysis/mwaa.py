"""What AWS documents about Amazon MWAA, each number and name once.

Source: Amazon MWAA User Guide, the pages named below. What AWS leaves open is no constant: it is a
setting of the local environment (`harness.local.settings`) or a parameter of the scaling rule.
"""

from typing import Final

# "Web server autoscaling": either metric above its threshold adds webservers. The limits are quotas
# that AWS can raise; mw1.micro has one webserver and does not scale.
CPU_ABOVE_PERCENT: Final = 70.0
CONNECTIONS_ABOVE: Final = 15.0
FEWEST_WEBSERVERS: Final = 2
MOST_WEBSERVERS: Final = 5
MICRO: Final = "mw1.micro"

# "Container, queue, and database metrics": names and dimensions in CloudWatch. The database's
# metrics have the dimension DatabaseRole instead of Cluster.
NAMESPACE: Final = "AWS/MWAA"
CPU: Final = "CPUUtilization"
MEMORY: Final = "MemoryUtilization"
CONNECTIONS: Final = "ActiveConnectionCount"
DATABASE_CONNECTIONS: Final = "DatabaseConnections"
CLUSTER: Final = "Cluster"
PRIMARY_CLUSTER: Final = "WebServer"
DATABASE_ROLE: Final = "DatabaseRole"
DATABASE_WRITER: Final = "WRITER"
AWS_PERIOD_S: Final = 60.0  # in which a webserver reports once, so that SampleCount counts them

# "Using the Apache Airflow REST API": InvokeRestApi, and calls with a web login token.
INVOKE_RATE_PER_S: Final = 10.0  # above it AWS advises web login tokens
INVOKE_TIMEOUT_S: Final = 10.0
INVOKE_RESPONSE_BYTES: Final = 6 * 1024 * 1024
INVOKE_PATH_CHARACTERS: Final = 64  # of Path, by the service model; AWS's own tools meet it
WEB_TOKEN_LIFE_S: Final = 60.0
WEB_SESSION_LIFE_S: Final = 12 * 3600.0


def partition_of(region: str) -> str:
    """What an ARN of that region begins with, after "arn:"; China and GovCloud have their own."""
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"
