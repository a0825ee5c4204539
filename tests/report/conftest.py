import pytest
from threadpoolctl import threadpool_limits


@pytest.fixture(scope="package", autouse=True)
def _one_thread():
    """Many small fits are slower on several threads; an evaluation runs on one, too."""
    with threadpool_limits(1):
        yield
