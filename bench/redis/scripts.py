#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The two scripts in Python: command by command what noget.php and get.php do, with redis-py.

    scripts.py noget|get WHERE TURNS        WHERE is HOST:PORT or unix:PATH
"""

import random
import string
import sys
import time

import redis

LETTERS = string.digits + string.ascii_letters


def random_text(length: int) -> str:
    return "".join(random.choices(LETTERS, k=length))


def connect(where: str) -> redis.Redis:
    if where.startswith("unix:"):
        return redis.Redis(unix_socket_path=where.removeprefix("unix:"), single_connection_client=True)
    host, _, port = where.rpartition(":")
    return redis.Redis(host=host, port=int(port), single_connection_client=True)


def must(fact: object, what: str) -> None:
    if not fact:
        sys.exit(what)


def noget(where: str, turns: int, value: str) -> None:
    client = connect(where)
    for _ in range(turns):
        key = random_text(32)
        must(client.ping(), "PING")
        must(client.setex(key, 600, value), "SET")
        client.hset("ROW", key, value)
        client.hdel("ROW", key)
        client.delete(key, value)


def get(where: str, turns: int, value: str) -> None:
    expected = value.encode()
    for _ in range(turns):
        client = connect(where)
        key = random_text(32)
        must(client.ping(), "PING")
        must(client.execute_command("SELECT", 0), "SELECT 0")
        must(client.setex(key, 600, value), "SET")
        must(client.execute_command("SELECT", 2), "SELECT 2")
        client.hset("ROW", key, value)
        client.hdel("ROW", key)
        must(client.execute_command("SELECT", 0), "SELECT 0")
        must(client.get(key) == expected, "GET: not what was SET")
        client.delete(key, value)
        client.close()
        client.connection_pool.disconnect()


def main() -> int:
    scripts = {"noget": noget, "get": get}
    if len(sys.argv) != 4 or sys.argv[1] not in scripts or not sys.argv[3].isdigit() or sys.argv[3] == "0":
        print(__doc__, file=sys.stderr)
        return 2
    where, turns, value = sys.argv[2], int(sys.argv[3]), random_text(40_000)
    start = time.monotonic()
    scripts[sys.argv[1]](where, turns, value)
    seconds = time.monotonic() - start
    print(f"{seconds:.3f} s, {turns} turns, {seconds * 1e6 / turns:.1f} us a turn")
    return 0


if __name__ == "__main__":
    sys.exit(main())
