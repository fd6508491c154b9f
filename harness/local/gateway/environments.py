"""What GetEnvironment and ListEnvironments say about the stand-in's one environment."""

from harness.local.settings import StandInSettings


def describe(
    settings: StandInSettings, *, airflow_version: str, webserver_url: str, created_at_s: float
) -> dict[str, object]:
    """The `Environment` structure of the service model; times are seconds since the epoch.

    As on AWS there is no current webserver count in it: only the metrics show that.
    """
    arn = f"arn:aws:airflow:{settings.region}:{settings.account}:environment/{settings.name}"
    role = f"arn:aws:iam::{settings.account}:role/{settings.name}"
    return {
        "Name": settings.name,
        "Arn": arn,
        "Status": "AVAILABLE",
        "AirflowVersion": airflow_version,
        "EnvironmentClass": "mw1.small",  # means nothing here: settings decide the CPU and memory
        "MinWebservers": settings.min_webservers,
        "MaxWebservers": settings.max_webservers,
        "MinWorkers": 1,
        "MaxWorkers": 1,
        "Schedulers": 1,
        "WebserverUrl": webserver_url,
        "WebserverAccessMode": "PUBLIC_ONLY",
        "EndpointManagement": "SERVICE",
        "ExecutionRoleArn": role,
        "ServiceRoleArn": role,
        "DagS3Path": "dags",
        "AirflowConfigurationOptions": {},
        "WeeklyMaintenanceWindowStart": "SUN:03:00",
        "CreatedAt": created_at_s,
        "LastUpdate": {"Status": "SUCCESS", "CreatedAt": created_at_s},
        "Tags": {},
    }
