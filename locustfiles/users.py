"""Locust's users are the senders of the pool: each carries one call at a time."""

from typing import ClassVar

from locust import User, task

from locustfiles.pool import SenderPool


class InvokeRestApiUser(User):
    """One sender. What it sends, and when, is the load test's business."""

    pool: ClassVar[SenderPool] = SenderPool()

    @task
    def serve(self) -> None:
        """Carry out jobs until Locust ends this user."""
        self.pool.serve()
