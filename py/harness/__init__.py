# SPDX-License-Identifier: Apache-2.0
"""The harness of the end-to-end tests: a real relay, real sockets, and a time-out on every wait.

    lab       one test's world: its folder, relays, peers and fakes; its end is itself a test
    process   a running relay: start, READY, log lines, statistics, memory, stop
    sockets   one end of a conversation (a client, a gateway, what a target accepted)
    peers     fakes that run in threads: targets that echo, answer, refuse, stall; a name server that lies
    plex      clients of a plex, and a ledger of what they have said; its upstreams are in peers
    logs      a log line, text or JSON, as fields
    stream    bytes that say where they belong: each connection's own endless sequence
    model     what the relay should do, in a page: the judge of the property tests
    network   a network of a test's own, for addresses that are not loopback
    machine   a Debian of its own, booted in systemd-nspawn, for what only a real systemd shows
    task      a thread whose exception reaches the test
    until     the one wait; scale: how long and how much, on slow builds
"""
