"""Locust's users are the senders of the pool: each carries one call at a time."""

from typing import ClassVar

from locust import User, task

from locustfiles.load_test import LoadTest


class InvokeRestApiUser(User):
    """One sender. What it sends, and when, is the load test's business."""

    load_test: ClassVar[LoadTest]  # set when a test starts, before any user exists

    @task
    def serve_one(self) -> None:
        """Wait for the next job and carry it out."""
        self.load_test.serve_one()
