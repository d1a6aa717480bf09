"""Probes: one packet exchange each, ended by an answer, an error or the clock; the outcome in one word."""
import errno, itertools, json, os, selectors, socket, struct, time
from agent_loop import drop, later, make_socket, sel

IP_MTU_DISCOVER, IP_PMTUDISC_DONT, IP_PMTUDISC_DO = 10, 0, 2
IP_RECVERR, IPV6_RECVERR, IPV6_MTU_DISCOVER, MSG_ERRQUEUE = 11, 25, 23, 0x2000
ERRNO = {errno.ECONNREFUSED: "refused", errno.EHOSTUNREACH: "hostunreach", errno.ENETUNREACH: "netunreach",
         errno.EMSGSIZE: "emsgsize", errno.EACCES: "prohibited", errno.EPERM: "notpermitted", errno.ECONNRESET: "reset",
         errno.EINVAL: "invalid", errno.ETIMEDOUT: "timeout", errno.ENOTCONN: "reset", errno.EPIPE: "reset",
         errno.EHOSTDOWN: "hostdown", errno.EADDRNOTAVAIL: "noaddress"}
serial = itertools.count(os.getpid() & 0xFFFF)


def icmp_error(s):
    """The ICMP message behind a socket error, from the socket's error queue."""
    try:
        _d, anc, _f, _p = s.recvmsg(512, 512, MSG_ERRQUEUE)
    except OSError:
        return None
    for level, kind, value in anc:
        six = level == socket.IPPROTO_IPV6 and kind == IPV6_RECVERR
        if six or (level == socket.IPPROTO_IP and kind == IP_RECVERR):
            num, origin, icmp_type, code, _pad, info, _data = struct.unpack("=IBBBBII", value[:16])
            found = {"errno": num, "info": info, "local": origin == 1}
            if origin in (2, 3):
                by = socket.inet_ntop(socket.AF_INET6, value[24:40]) if six else socket.inet_ntoa(value[20:24])
                found.update(type=icmp_type, code=code, **{"from": by})
            return found
    return None


class Probe:
    def __init__(self, spec, done):
        self.spec, self.report, self.finished, self.s = spec, done, False, None
        self.t0 = time.monotonic()
        self.six = ":" in spec["to"]
        self.family = socket.AF_INET6 if self.six else socket.AF_INET
        self.silent = "lost" if spec["proto"] == "icmp" else "timeout"
        later(spec.get("timeout") or (1.0 if spec["proto"] == "icmp" else 1.5), self.expire)
        try:
            getattr(self, spec["proto"])()
        except OSError as e:
            self.failed(e)

    def end(self, outcome, **more):
        if self.finished:
            return
        self.finished = True
        if self.s is not None:
            drop(self.s)
        self.report({"outcome": outcome, "ms": round((time.monotonic() - self.t0) * 1000, 1), **more})

    def expire(self):
        self.end(self.silent)

    def failed(self, e, icmp=None):
        name = ERRNO.get(e.errno, errno.errorcode.get(e.errno, "error").lower())
        if icmp and icmp.get("type") == (3 if self.six else 11):
            name = "ttlexceeded"
        self.end(name, **({"icmp": icmp} if icmp and "type" in icmp else {}))

    def options(self):
        df = self.spec.get("df")
        if df is not None:
            how = (socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER) if self.six else (socket.IPPROTO_IP, IP_MTU_DISCOVER)
            self.s.setsockopt(*how, IP_PMTUDISC_DO if df else IP_PMTUDISC_DONT)
        if self.spec.get("ttl"):
            how = (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS) if self.six else (socket.IPPROTO_IP, socket.IP_TTL)
            self.s.setsockopt(*how, self.spec["ttl"])
        if self.spec.get("mark"):
            self.s.setsockopt(socket.SOL_SOCKET, 36, self.spec["mark"])
        if self.spec.get("source") or self.spec.get("sport"):
            self.s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.s.bind((self.spec.get("source") or ("::" if self.six else "0.0.0.0"), self.spec.get("sport") or 0))

    def hear_errors(self):
        self.s.setsockopt(*((socket.IPPROTO_IPV6, IPV6_RECVERR) if self.six else (socket.IPPROTO_IP, IP_RECVERR)), 1)

    def delivered(self, data):
        try:
            who = json.loads(data)
        except ValueError:
            return self.end("ok")
        self.end("ok", seenSource=who["src"], seenPort=who["sport"], answeredBy={"place": who["place"], "ip": who["to"], "port": who["port"]})

    def tcp(self):
        s = self.s = make_socket(self.spec["from"], self.family, socket.SOCK_STREAM)
        self.options()
        rc = s.connect_ex((self.spec["to"], self.spec["port"]))
        if rc not in (0, errno.EINPROGRESS):
            raise OSError(rc, os.strerror(rc))
        sel.register(s, selectors.EVENT_WRITE, self.tcp_connected)
        self.rest = b"x" * (self.spec.get("size") or 0) + b"\n"

    def tcp_connected(self):
        rc = self.s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if rc:
            return self.failed(OSError(rc, os.strerror(rc)))
        try:
            self.rest = self.rest[self.s.send(self.rest):]
        except OSError as e:
            return self.failed(e)
        if not self.rest:
            sel.modify(self.s, selectors.EVENT_READ, self.tcp_answer)

    def tcp_answer(self):
        try:
            data = self.s.recv(4096)
        except OSError as e:
            return self.failed(e)
        self.delivered(data) if data else self.end("reset")

    def udp(self):
        s = self.s = make_socket(self.spec["from"], self.family, socket.SOCK_DGRAM)
        self.hear_errors()
        self.options()
        s.connect((self.spec["to"], self.spec["port"]))
        s.send(b"x" * (self.spec.get("size") or 16))
        sel.register(s, selectors.EVENT_READ, self.udp_answer)

    def udp_answer(self):
        icmp = icmp_error(self.s)
        try:
            data = self.s.recv(65536)
        except BlockingIOError:
            return self.failed(OSError(icmp["errno"], ""), icmp) if icmp else None
        except OSError as e:
            return self.failed(e, icmp)
        self.delivered(data)

    def icmp(self):
        kind = socket.IPPROTO_ICMPV6 if self.six else socket.IPPROTO_ICMP
        s = self.s = make_socket(self.spec["from"], self.family, socket.SOCK_RAW, kind)
        self.hear_errors()
        self.options()
        self.ident = next(serial) & 0xFFFF
        body = b"n" * (56 if self.spec.get("size") is None else self.spec["size"])
        kind = 128 if self.six else 8
        head = struct.pack("!BBHHH", kind, 0, 0, self.ident, 1)
        total = sum(struct.unpack("!%dH" % ((len(head + body) + 1) // 2), head + body + b"\0" * (len(body) % 2)))
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        s.connect((self.spec["to"], 0))
        s.send(struct.pack("!BBHHH", kind, 0, ~total & 0xFFFF, self.ident, 1) + body)
        sel.register(s, selectors.EVENT_READ, self.icmp_answer)

    def icmp_answer(self):
        icmp = icmp_error(self.s)
        try:
            packet = self.s.recv(65536)
        except BlockingIOError:
            return self.failed(OSError(icmp["errno"], ""), icmp) if icmp else None
        except OSError as e:
            return self.failed(e, icmp)
        at = 0 if self.six else (packet[0] & 15) * 4
        kind, _code, _sum, ident = struct.unpack("!BBHH", packet[at:at + 6])
        if kind == (129 if self.six else 0) and ident == self.ident:
            self.end("ok")
