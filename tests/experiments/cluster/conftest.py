"""A real Ray cluster of this machine, and what is drawn without it."""

import pytest
from ray_trial import PATHS, drawn_alone, free_port, request, up, up_as_another_kind

from experiments.cluster.ray_environment import LOOPBACK, QUIET


@pytest.fixture(scope="module")
def cluster():
    """Two nodes on this machine with a processor each; this process is connected to them."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**QUIET, **LOOPBACK, "PYTHONPATH": PATHS, "RAY_worker_niceness": "0"}.items():
            patch.setenv(name, value)
        ray = pytest.importorskip("ray")
        from ray.cluster_utils import Cluster

        nodes = Cluster()
        nodes.client_port = free_port()
        up(nodes, include_dashboard=False, ray_client_server_port=nodes.client_port)
        nodes.second = up_as_another_kind(nodes)
        ray.init(address=nodes.address, log_to_driver=False, configure_logging=False, logging_level="ERROR")
        yield nodes
        ray.shutdown()
        nodes.shutdown()


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The folder of the same experiment on one device."""
    folder = tmp_path_factory.mktemp("alone")
    drawn_alone(request(folder))
    return folder / "trial"
