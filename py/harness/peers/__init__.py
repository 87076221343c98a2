# SPDX-License-Identifier: Apache-2.0
"""Fakes that run in threads: targets of every temper (target.py) and a name server that can lie (dns.py)."""
