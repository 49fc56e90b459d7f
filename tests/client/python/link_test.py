"""Where the Python client connects."""

import contextlib
import socket
import unittest

from squall.link import way_to


@contextlib.contextmanager
def listening(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as server:
        server.bind(address)
        server.listen(4)
        yield server.getsockname()


@contextlib.contextmanager
def tcp():
    with listening(socket.AF_INET, ("127.0.0.1", 0)) as (_, port):
        yield port


def unix(port):
    return listening(socket.AF_UNIX, f"\0squall/127.0.0.1:{port}")


class Ways(unittest.TestCase):
    def test_a_server_on_loopback_is_found_at_its_unix_socket(self):
        with tcp() as port, unix(port):
            for host in ("127.0.0.1", "localhost"):
                self.assertEqual(way_to(f"tcp://{host}:{port}"), f"ipc://@squall/127.0.0.1:{port}")

    def test_one_that_listens_on_tcp_alone_is_found_there(self):
        with tcp() as port:
            self.assertEqual(way_to(f"tcp://127.0.0.1:{port}"), f"tcp://127.0.0.1:{port}")

    def test_where_nobody_listens_the_unix_socket_is_waited_for(self):
        with tcp() as port:
            pass
        self.assertEqual(way_to(f"tcp://127.0.0.1:{port}"), f"ipc://@squall/127.0.0.1:{port}")

    def test_all_else_is_taken_as_it_is(self):
        for other in ("tcp://10.0.0.1:7700", "tcp://127.0.0.1:x", "tcp://127.0.0.1:70000", "tcp://[::1]:7700", "what"):
            self.assertEqual(way_to(other), other)


if __name__ == "__main__":
    unittest.main()
