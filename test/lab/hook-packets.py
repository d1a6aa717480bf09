"""Sends single packets of its own making in namespaces, and says what became of each.

Lines of JSON on stdin: [{"id": 1..60000, "at": "cli"|"rtr"|"srv", "src", "dst", "proto", "sport", "dport", "type", "code", "flags", "ttl", "tos"}].
Answer: {"<id>": [{"seen": "cli"|"srv"|"local", "src", "dst", "sport", "dport"} ...]}.
The IP identification is the packet's name: neither routing nor NAT changes it.
"""

import ctypes
import json
import os
import select
import socket
import struct
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)


def enter(pid):
    fd = os.open("/proc/%s/ns/net" % pid, os.O_RDONLY)
    if libc.setns(fd, 0x40000000) != 0:
        raise OSError(ctypes.get_errno(), "setns")
    os.close(fd)


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def build(p):
    src, dst = socket.inet_aton(p["src"]), socket.inet_aton(p["dst"])
    proto = {"tcp": 6, "udp": 17, "icmp": 1}[p["proto"]]
    if proto == 17:
        load = struct.pack("!H", p["id"]) + b"x" * p.get("extra", 0)
        head = struct.pack("!HHHH", p["sport"], p["dport"], 8 + len(load), 0)
    elif proto == 6:
        flags = p.get("flags", 2)
        # as every SYN, with its MSS option
        load = struct.pack("!BBH", 2, 4, 1460) if flags & 2 else b""
        offset = (20 + len(load)) // 4 << 4
        head = struct.pack("!HHIIBBHHH", p["sport"], p["dport"], p["id"], p.get("ack", 0), offset, flags, 1024, 0, 0)
    else:
        load = struct.pack("!H", p["id"])
        head = struct.pack("!BBHHH", p.get("type", 8), p.get("code", 0), 0, p.get("echo", p["id"]), 1)
    body = head + load
    if proto == 1:
        body = body[:2] + struct.pack("!H", checksum(body)) + body[4:]
    else:
        c = checksum(src + dst + struct.pack("!BBH", 0, proto, len(body)) + body) or 0xFFFF
        at = 16 if proto == 6 else 6
        body = body[:at] + struct.pack("!H", c) + body[at + 2 :]
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, p.get("tos", 0), 20 + len(body), p["id"], 0, p.get("ttl", 64), proto, 0, src, dst)
    return ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:] + body


def parse(data):
    if len(data) < 20 or data[0] >> 4 != 4:
        return None
    ident, proto = struct.unpack("!H", data[4:6])[0], data[9]
    seen = {"src": socket.inet_ntoa(data[12:16]), "dst": socket.inet_ntoa(data[16:20]), "proto": proto}
    rest = data[(data[0] & 15) * 4 :]
    if proto in (6, 17) and len(rest) >= 4:
        seen["sport"], seen["dport"] = struct.unpack("!HH", rest[:4])
    return ident, proto, seen, rest


def main():
    places = dict(zip(("cli", "rtr", "srv"), sys.argv[1:4]))
    raw, sniff, local = {}, {}, []
    for name, pid in places.items():
        enter(pid)
        s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        raw[name] = s
        if name != "rtr":
            t = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
            t.bind(("eth0", 0x0800))
            t.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
            sniff[t] = name
        else:
            t = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
            t.bind(("lo", 0x0800))
            sniff[t] = "lo"
            for proto in (socket.IPPROTO_UDP, socket.IPPROTO_TCP, socket.IPPROTO_ICMP):
                # a raw socket gets a copy of what is delivered, behind the INPUT hook
                r = socket.socket(socket.AF_INET, socket.SOCK_RAW, proto)
                r.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
                local.append(r)
    print("ready", flush=True)
    for line in sys.stdin:
        packets = json.loads(line)
        result = {str(p["id"]): [] for p in packets}
        everything = list(sniff) + local

        def drain(wait):
            end = time.monotonic() + wait
            while True:
                left = end - time.monotonic()
                ready, _, _ = select.select(everything, [], [], max(0, left))
                if not ready:
                    return
                for s in ready:
                    data, addr = s.recvfrom(65536)
                    where = sniff.get(s, "local")
                    if s in sniff and addr[2] == socket.PACKET_OUTGOING:
                        continue
                    got = parse(data)
                    if got is None:
                        continue
                    ident, proto, seen, rest = got
                    if where == "lo":
                        continue
                    if proto == 1 and len(rest) >= 36 and rest[0] in (3, 5, 11):
                        inner = parse(rest[8:] + b"\0" * 20)
                        if inner and str(inner[0]) in result and rest[0] == 3:
                            result[str(inner[0])].append({"seen": "reject", "type": rest[0], "code": rest[1]})
                        continue
                    if proto == 6 and len(rest) >= 14 and rest[13] & 4:
                        ack = struct.unpack("!I", rest[8:12])[0] - 1
                        seq = struct.unpack("!I", rest[4:8])[0]
                        for n in (ack, seq):
                            if str(n) in result and where != "local":
                                result[str(n)].append({"seen": "reset"})
                                break
                        continue
                    if str(ident) in result:
                        result[str(ident)].append(dict(seen, seen=where))

        drain(0)
        for p in packets:
            try:
                raw[p["at"]].sendto(build(p), (p["dst"], 0))
            except OSError as e:
                result[str(p["id"])].append({"seen": "error", "errno": e.errno})
        drain(0.12)
        print(json.dumps(result), flush=True)


main()
