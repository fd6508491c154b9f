"""What puts a recommended size into effect: lines for Terraform, CloudFormation and the AWS CLI.

Alarms are those that MWAA's user guide recommends for the webservers ("Monitoring dashboards and
alarms"): CPU and memory above 95 % over three periods of five minutes.
"""

import shlex

from mwaa_headroom.analysis.mwaa import CLUSTER, CPU, MEMORY, NAMESPACE, PRIMARY_CLUSTER
from mwaa_headroom.analysis.planning.options import SizeOption
from mwaa_headroom.analysis.report.document import Lines, Section, Text

_UNKNOWN_NAME = "NAME"


def lines_to_paste(option: SizeOption, *, environment_name: str) -> Section:
    """The section of a report.

    Args:
        option: what is recommended.
        environment_name: on AWS; empty: not known.
    """
    name = shlex.quote(environment_name or _UNKNOWN_NAME)
    class_, fewest, most = option.environment_class, option.min_webservers, option.max_webservers
    return Section(
        "To set it",
        (
            Text("Terraform, in aws_mwaa_environment:"),
            Lines(
                (
                    f'environment_class = "{class_}"',
                    f"min_webservers    = {fewest}",
                    f"max_webservers    = {most}",
                )
            ),
            Text("CloudFormation, under Properties of AWS::MWAA::Environment:"),
            Lines(
                (
                    f"EnvironmentClass: {class_}",
                    f"MinWebservers: {fewest}",
                    f"MaxWebservers: {most}",
                )
            ),
            Text("AWS CLI:"),
            Lines(
                (
                    f"aws mwaa update-environment --name {name} \\",
                    f"    --environment-class {class_} \\",
                    f"    --min-webservers {fewest} --max-webservers {most}",
                )
            ),
            Text(
                "Alarms on the webservers, as MWAA's user guide recommends them; --alarm-actions "
                "says who is told:"
            ),
            Lines((*_alarm(name, CPU), *_alarm(name, MEMORY))),
        ),
    )


def _alarm(name: str, metric: str) -> tuple[str, ...]:
    return (
        "aws cloudwatch put-metric-alarm \\",
        f"    --alarm-name {name}-web-{metric} \\",
        f"    --namespace {NAMESPACE} --metric-name {metric} \\",
        f"    --dimensions Name=Environment,Value={name} \\",
        f"        Name={CLUSTER},Value={PRIMARY_CLUSTER} \\",
        "    --statistic Average --period 300 --evaluation-periods 3 \\",
        "    --threshold 95 --comparison-operator GreaterThanThreshold",
    )
