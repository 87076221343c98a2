#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""TLS side by side: bulk and handshakes of the relay, haproxy and nginx, with the same certificate, OpenSSL and cipher.

    bench/tls.py [--rounds 5] [--seconds 1] [--relay bin/relay] [--load build/bench/tls_load] [--out FILE.md]

Interleaved rounds; a figure is the median of the rounds, a ratio the ratio of medians. The rivals link the system's shared
OpenSSL, the relay the same version of the static one. All have TLS 1.3, P-256 certificates, tickets.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import tempfile

import rivals

CIPHER = "TLS_AES_128_GCM_SHA256"

HAPROXY = """global
    nbthread 1
    maxconn 4000
    ssl-server-verify none
    ssl-default-bind-ciphersuites {cipher}
    ssl-default-server-ciphersuites {cipher}
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen bench
    bind 127.0.0.1:{{port}}{bind}
    server target 127.0.0.1:{{target_port}}{server}
"""

NGINX = """load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
worker_processes 1;
pid {{folder}}/nginx.pid;
error_log {{folder}}/error.log crit;
events {{{{ worker_connections 8192; }}}}
stream {{{{
    server {{{{
        listen 127.0.0.1:{{port}}{listen} backlog=4096;
        proxy_pass 127.0.0.1:{{target_port}};
        proxy_buffer_size 64k;
        proxy_timeout 1h;
        access_log off;
        ssl_protocols TLSv1.3;
        ssl_conf_command Ciphersuites {cipher};
        ssl_session_tickets on;
        {more}
    }}}}
}}}}
"""

RUNS = {
    "bulk1 client": ("client", ["bulk", "--side", "client", "--way", "up"], "gb_per_s", "cpu_s_per_gb"),
    "bulk1 client down": ("client", ["bulk", "--side", "client", "--way", "down"], "gb_per_s", "cpu_s_per_gb"),
    "bulk64 client": ("client", ["bulk", "--side", "client", "--way", "up", "--conns", "64"], "gb_per_s", "cpu_s_per_gb"),
    "bulk64 client down": ("client", ["bulk", "--side", "client", "--way", "down", "--conns", "64"], "gb_per_s", "cpu_s_per_gb"),
    "bulk1 target": ("target", ["bulk", "--side", "target", "--way", "up"], "gb_per_s", "cpu_s_per_gb"),
    "bulk64 target": ("target", ["bulk", "--side", "target", "--way", "up", "--conns", "64"], "gb_per_s", "cpu_s_per_gb"),
    "handshakes full": ("client", ["rate", "--resume", "0"], "per_s", "per_cpu_s"),
    "handshakes resumed": ("client", ["rate", "--resume", "1"], "per_s", "per_cpu_s"),
}


def make_certificate(folder):
    cert, key, both = (os.path.join(folder, name) for name in ("cert.pem", "key.pem", "both.pem"))
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=bench", "-keyout", key, "-out", cert], check=True, capture_output=True)
    with open(both, "w", encoding="ascii") as out:
        for name in (cert, key):
            with open(name, encoding="ascii") as part:
                shutil.copyfileobj(part, out)
    return cert, key, both


def programs(relay, side, cert, key, both):
    """The rivals with TLS on that side."""
    client = side == "client"
    command = [relay, "start", "--listen", "tls://{listen}" if client else "{listen}", "--port", "{port}",
               "--target", "{target}" if client else "tls://{target}", "--pairs", "{pairs}", "--gateway", rivals.GATEWAY,
               "--log-level", "error"]
    command += ["--cert", cert, "--key", key, "--tls-min", "1.3"] if client else ["--verify=false"]
    haproxy = HAPROXY.format(cipher=CIPHER, bind=f" ssl crt {both}" if client else "", server="" if client else " ssl verify none")
    more = f"ssl_certificate {cert}; ssl_certificate_key {key};" if client else "proxy_ssl on;"
    nginx = NGINX.format(cipher=CIPHER, listen=" ssl" if client else "", more=more)
    if not client:
        nginx = nginx.replace("ssl_protocols", "proxy_ssl_protocols").replace("ssl_conf_command", "proxy_ssl_conf_command")
        nginx = nginx.replace("        ssl_session_tickets on;\n", "")
    return [
        rivals.Rival("relay", command),
        rivals.Rival("haproxy", ["haproxy", "-db", "-q", "-f", "{config}"], haproxy),
        rivals.Rival("nginx", ["nginx", "-c", "{config}", "-p", "{folder}", "-e", "{folder}/error.log"], nginx,
                     files=["/usr/lib/nginx/modules/ngx_stream_module.so"]),
    ]


def main():
    here = rivals.ROOT
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--seconds", type=float, default=1.0)
    words.add_argument("--relay", default=os.path.join(here, "bin", "relay"))
    words.add_argument("--load", default=os.path.join(here, "build", "bench", "tls_load"))
    words.add_argument("--only", default="", help="scenarios with this in their name")
    words.add_argument("--out", help="also write the table there")
    given = words.parse_args()
    folder = tempfile.mkdtemp(prefix="bench-tls-")
    figures = {}
    try:
        cert, key, both = make_certificate(folder)
        for number in range(given.rounds):
            for name, (side, arguments, *fields) in RUNS.items():
                if given.only not in name:
                    continue
                order = [rival for rival in programs(given.relay, side, cert, key, both) if not rival.missing()]
                for rival in order[number % len(order):] + order[:number % len(order)]:
                    with rivals.Running(rival) as running:
                        done = subprocess.run(
                            [given.load, *arguments, "--port", str(running.port), "--target-port", str(running.target_port),
                             "--cpu-of", str(running.pid), "--seconds", str(given.seconds), "--cipher", CIPHER, "--cert", cert, "--key", key],
                            capture_output=True, text=True, check=False, timeout=120)
                        if done.returncode:
                            print(f"{name}, {rival.name}: {done.stderr.strip()} {running.output()}")
                            continue
                        result = json.loads(done.stdout)
                        figures.setdefault((name, rival.name), []).append([result[field] for field in fields])
    finally:
        rivals.stop_all()
        shutil.rmtree(folder, ignore_errors=True)
    lines = ["| scenario | figure | relay | haproxy | nginx | relay : haproxy |", "| --- | --- | --- | --- | --- | --- |"]
    for name, (_, _, *fields) in RUNS.items():
        for index, field in enumerate(fields):
            row = {rival: statistics.median(each[index] for each in figures[name, rival])
                   for rival in ("relay", "haproxy", "nginx") if (name, rival) in figures}
            if not row:
                continue
            ratio = f"{row['relay'] / row['haproxy']:.2f}" if {"relay", "haproxy"} <= row.keys() else "-"
            cells = " | ".join(f"{row[rival]:.3f}" if rival in row and row[rival] < 100 else f"{row[rival]:.0f}" if rival in row else "-"
                               for rival in ("relay", "haproxy", "nginx"))
            lines.append(f"| {name} | {field} | {cells} | {ratio} |")
    text = "\n".join(lines) + "\n"
    print(text)
    if given.out:
        with open(given.out, "w", encoding="ascii") as out:
            out.write(text)


if __name__ == "__main__":
    main()
