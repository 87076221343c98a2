# SPDX-License-Identifier: Apache-2.0
"""Fakes that run in threads: targets of every temper (target.py), a name server that can lie (dns.py), upstreams (grpc_upstream.py, and http2.py, which
lies); and real servers: redis.py, redis_cluster.py."""
