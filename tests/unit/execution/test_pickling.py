"""Pickles of what users write, also where this process is connected to Ray."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import ray
import torch

from tuner import pickling

LOAD = """
import pickle, sys
loaded = pickle.loads(sys.stdin.buffer.read())
print(loaded(2), "ray" in sys.modules)
"""


def test_what_has_nothing_of_ray_is_loaded_without_it(ray_cluster: None) -> None:
    content = pickling.dumps(lambda x: x + 1)
    done = subprocess.run([sys.executable, "-c", LOAD], input=content, capture_output=True)
    assert done.stdout.split() == [b"3", b"False"]


def test_modules_of_a_class_of_their_own_are_pickled_by_name() -> None:
    assert type(torch.ops) is not type(torch)
    zeros = pickle.loads(pickling.dumps(lambda: torch.ops.aten.zeros([2])))
    assert zeros().tolist() == [0, 0]


def test_references_to_rays_objects_can_be_used_elsewhere(ray_cluster: None) -> None:
    reference = ray.put(41)
    content = pickling.dumps(lambda x: ray.get(reference) + x)

    @ray.remote
    def load() -> int:
        return int(pickle.loads(content)(1))

    assert ray.get(load.remote()) == 42


class Connection:
    """Has more in this process than is to travel."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.token = f"token for {url}"


def test_serializers_that_were_registered_with_ray_are_used(ray_cluster: None) -> None:
    ray.util.register_serializer(
        Connection, serializer=lambda connection: connection.url, deserializer=Connection
    )
    try:
        connection = Connection("db")
        connection.token = "a secret of the driver"
        content = pickling.dumps({"list": [connection]})
    finally:
        ray.util.deregister_serializer(Connection)
    assert b"secret" not in content
    assert pickle.loads(content)["list"][0].token == "token for db"


def test_large_buffers_are_beside_the_pickle_and_not_copied(ray_cluster: None) -> None:
    array = np.arange(1000)
    content, buffers = pickling.dumps_beside({"array": array})
    assert len(content) < 1000
    loaded = pickle.loads(content, buffers=buffers)["array"]
    assert loaded.tolist() == array.tolist()
    assert np.shares_memory(loaded, array)
