"""Environment classes as the Amazon MWAA User Guide lists them ("Environment classes")."""

import pytest

from mwaa_headroom.analysis.planning.classes import CLASSES, classes_from


@pytest.mark.parametrize(
    ("name", "vcpu", "limits"),
    [
        ("mw1.micro", 1, (1, 1)),
        ("mw1.small", 1, (2, 5)),
        ("mw1.medium", 1, (2, 5)),
        ("mw1.large", 2, (2, 5)),
        ("mw1.xlarge", 4, (2, 5)),
        ("mw1.2xlarge", 8, (2, 5)),
    ],
)
def test_what_a_class_gives_to_webservers(name: str, vcpu: int, limits: tuple[int, int]) -> None:
    found = classes_from(name)[0]

    assert found.name == name
    assert found.webserver_cpu == vcpu
    assert (found.fewest_webservers, found.most_webservers) == limits


def test_classes_go_upwards() -> None:
    assert [each.name for each in classes_from("mw1.large")] == [
        "mw1.large",
        "mw1.xlarge",
        "mw1.2xlarge",
    ]
    assert [each.webserver_cpu for each in CLASSES] == sorted(
        each.webserver_cpu for each in CLASSES
    )
