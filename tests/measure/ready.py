#!/usr/bin/env python3
"""Time from exec to the first accepted send on an empty store, and resident memory when idle.

usage: ready.py [--binary target/release/apogee] [--rounds 10] [--scratch FOLDER]

Starts `apogee up` on free ports with an empty folder, sends one message in a loop until it is accepted, and prints
the median. Then waits until the process is idle and reads its resident memory.
"""
import argparse
import json
import os
import re
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import tempfile
import time


def frame(code, fields, body=b""):
    header = json.dumps({"code": code, "language": "OTHER", "version": 481, "opaque": 1, "flag": 0,
                         "extFields": fields}).encode()
    return struct.pack(">II", 4 + len(header) + len(body), len(header)) + header + body


def call(port, request):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(request)
        length = struct.unpack(">I", receive(connection, 4))[0]
        answer = receive(connection, length)
        size = struct.unpack(">I", answer[:4])[0] & 0xFFFFFF
        return json.loads(answer[4:4 + size])


def receive(connection, size):
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise ConnectionError("closed")
        data += piece
    return data


def free_ports():
    """A nameserver port and a broker port whose number minus 2 is free too."""
    while True:
        with socket.socket() as one, socket.socket() as two, socket.socket() as fast:
            one.bind(("127.0.0.1", 0))
            two.bind(("127.0.0.1", 0))
            port = two.getsockname()[1]
            try:
                fast.bind(("127.0.0.1", port - 2))
            except OSError:
                continue
            return one.getsockname()[1], port


SEND = frame(310, {"a": "ready", "b": "ReadyTopic", "c": "TBW102", "d": "4", "e": "0", "f": "0",
                   "g": "1763791200000", "h": "0", "i": "", "j": "0", "k": "false", "m": "false"}, b"first")


def first_send(binary, folder):
    nameserver, broker = free_ports()
    started = time.perf_counter()
    process = subprocess.Popen([binary, "up", "--data-dir", folder, "--nameserver-port", str(nameserver),
                                "--broker-port", str(broker), "--grpc-port", "0"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = started + 20
    while True:
        try:
            if call(broker, SEND)["code"] == 0:
                return process, (time.perf_counter() - started) * 1000
        except OSError:
            pass
        if deadline < time.perf_counter() or process.poll() is not None:
            raise SystemExit("apogee did not accept a send within 20 s")


def resident_mib(pid):
    text = open(f"/proc/{pid}/status").read()
    return {name: int(re.search(rf"{name}:\s+(\d+)", text)[1]) / 1024 for name in ("VmRSS", "RssAnon")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/apogee")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--scratch", default=None)
    arguments = parser.parse_args()
    times = []
    for number in range(arguments.rounds):
        folder = tempfile.mkdtemp(dir=arguments.scratch)
        process, milliseconds = first_send(os.path.abspath(arguments.binary), folder)
        times.append(milliseconds)
        if number == arguments.rounds - 1:
            time.sleep(3)
            memory = resident_mib(process.pid)
        process.send_signal(signal.SIGTERM)
        process.wait()
        shutil.rmtree(folder)
    print(f"exec to first accepted send: median {statistics.median(times):.0f} ms, worst {max(times):.0f} ms "
          f"of {len(times)}")
    print(f"idle: resident {memory['VmRSS']:.1f} MiB, of it anonymous {memory['RssAnon']:.1f} MiB")


if __name__ == "__main__":
    main()
