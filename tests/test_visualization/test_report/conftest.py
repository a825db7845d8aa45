from tests.test_tools.conftest import forget_earlier_runs  # noqa: F401
