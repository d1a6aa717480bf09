"""The hands of a lab: one process that owns servers and probes in every namespace of it.

A socket belongs for its life to the network namespace it was made in, so one process with setns() and one
event loop is enough for a whole lab. JSON lines on stdin (requests) and stdout (answers). Ends with its stdin.
"""
import ctypes, errno, heapq, itertools, json, os, re, selectors, socket, struct, sys, time

libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
IP_MTU_DISCOVER, IP_PMTUDISC_DONT, IP_PMTUDISC_DO = 10, 0, 2
IP_RECVERR, MSG_ERRQUEUE = 11, 0x2000
ERRNO = {errno.ECONNREFUSED: "refused", errno.EHOSTUNREACH: "hostunreach", errno.ENETUNREACH: "netunreach",
         errno.EMSGSIZE: "emsgsize", errno.EACCES: "prohibited", errno.EPERM: "notpermitted", errno.ECONNRESET: "reset",
         errno.EINVAL: "invalid", errno.ETIMEDOUT: "timeout", errno.ENOTCONN: "reset", errno.EPIPE: "reset",
         errno.EHOSTDOWN: "hostdown", errno.EADDRNOTAVAIL: "noaddress"}

sel = selectors.DefaultSelector()
places = {}
timers = []
tick = itertools.count()
serial = itertools.count(os.getpid() & 0xFFFF)


def enter(place):
    if libc.setns(places[place], CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns " + place)


def make_socket(place, *kind):
    enter(place)
    s = socket.socket(*kind)
    s.setblocking(False)
    return s


def reply(ident, **fields):
    sys.stdout.write(json.dumps({"id": ident, **fields}) + "\n")
    sys.stdout.flush()


def drop(s):
    try:
        sel.unregister(s)
    except (KeyError, ValueError):
        pass
    s.close()


# ---- servers: answer every request with the source address that was seen -------------------------------------

def identity(place, peer, own):
    return (json.dumps({"place": place, "src": peer[0], "sport": peer[1], "to": own[0], "port": own[1]}) + "\n").encode()


def serve(place, proto, port, address="0.0.0.0"):
    if proto == "tcp":
        s = make_socket(place, socket.AF_INET, socket.SOCK_STREAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((address, port))
        s.listen(64)
        sel.register(s, selectors.EVENT_READ, lambda: accept(place, s))
    else:
        s = make_socket(place, socket.AF_INET, socket.SOCK_DGRAM)
        s.setsockopt(socket.IPPROTO_IP, 8, 1)  # IP_PKTINFO: answer from the address that was asked
        s.bind((address, port))
        sel.register(s, selectors.EVENT_READ, lambda: answer_udp(place, s, port))
    return s


def accept(place, listener):
    try:
        s, peer = listener.accept()
    except OSError:
        return
    s.setblocking(False)
    got = bytearray()

    def read():
        try:
            data = s.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            return drop(s)
        got.extend(data)
        if data and b"\n" not in data:
            return
        if data:
            try:
                s.send(identity(place, peer, s.getsockname()))
            except OSError:
                pass
        drop(s)
    sel.register(s, selectors.EVENT_READ, read)
    later(10, lambda: drop(s))


def answer_udp(place, s, port):
    try:
        _data, anc, _flags, peer = s.recvmsg(65536, 256)
    except OSError:
        return
    own = "0.0.0.0"
    for level, kind, value in anc:
        if level == socket.IPPROTO_IP and kind == 8:
            own = socket.inet_ntoa(value[8:12])
    try:
        s.sendmsg([identity(place, peer, (own, port))], [(socket.IPPROTO_IP, 8, struct.pack("=I4s4s", 0, socket.inet_aton(own), b"\0" * 4))], 0, peer)
    except OSError:
        pass


# ---- probes ---------------------------------------------------------------------------------------------------

def later(seconds, call):
    heapq.heappush(timers, (time.monotonic() + seconds, next(tick), call))


def icmp_error(s):
    """The ICMP message behind a socket error, from the socket's error queue."""
    try:
        _d, anc, _f, _p = s.recvmsg(512, 512, MSG_ERRQUEUE)
    except OSError:
        return None
    for level, kind, value in anc:
        if level == socket.IPPROTO_IP and kind == IP_RECVERR:
            num, origin, icmp_type, code, _pad, info, _data = struct.unpack("=IBBBBII", value[:16])
            found = {"errno": num, "info": info, "local": origin == 1}
            if origin == 2:
                found.update(type=icmp_type, code=code, **{"from": socket.inet_ntoa(value[20:24])})
            return found
    return None


class Probe:
    def __init__(self, spec, done):
        self.spec, self.report, self.finished, self.s = spec, done, False, None
        self.t0 = time.monotonic()
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
        if icmp and icmp.get("type") == 11:
            name = "ttlexceeded"
        self.end(name, **({"icmp": icmp} if icmp and "type" in icmp else {}))

    def options(self):
        df = self.spec.get("df")
        if df is not None:
            self.s.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO if df else IP_PMTUDISC_DONT)
        if self.spec.get("ttl"):
            self.s.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, self.spec["ttl"])
        if self.spec.get("mark"):
            self.s.setsockopt(socket.SOL_SOCKET, 36, self.spec["mark"])
        if self.spec.get("source") or self.spec.get("sport"):
            self.s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.s.bind((self.spec.get("source") or "0.0.0.0", self.spec.get("sport") or 0))

    def delivered(self, data):
        try:
            who = json.loads(data)
        except ValueError:
            return self.end("ok")
        self.end("ok", seenSource=who["src"], seenPort=who["sport"], answeredBy={"place": who["place"], "ip": who["to"], "port": who["port"]})

    def tcp(self):
        s = self.s = make_socket(self.spec["from"], socket.AF_INET, socket.SOCK_STREAM)
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
        s = self.s = make_socket(self.spec["from"], socket.AF_INET, socket.SOCK_DGRAM)
        s.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
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
        s = self.s = make_socket(self.spec["from"], socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        s.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        self.options()
        self.ident = next(serial) & 0xFFFF
        body = b"n" * (56 if self.spec.get("size") is None else self.spec["size"])
        head = struct.pack("!BBHHH", 8, 0, 0, self.ident, 1)
        total = sum(struct.unpack("!%dH" % ((len(head + body) + 1) // 2), head + body + b"\0" * (len(body) % 2)))
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        s.connect((self.spec["to"], 0))
        s.send(struct.pack("!BBHHH", 8, 0, ~total & 0xFFFF, self.ident, 1) + body)
        sel.register(s, selectors.EVENT_READ, self.icmp_answer)

    def icmp_answer(self):
        icmp = icmp_error(self.s)
        try:
            packet = self.s.recv(65536)
        except BlockingIOError:
            return self.failed(OSError(icmp["errno"], ""), icmp) if icmp else None
        except OSError as e:
            return self.failed(e, icmp)
        at = (packet[0] & 15) * 4
        kind, _code, _sum, ident = struct.unpack("!BBHH", packet[at:at + 6])
        if kind == 0 and ident == self.ident:
            self.end("ok")


# ---- the kernel's own reasons for dropped packets (a private trace instance; best effort) --------------------

TRACE = "/sys/kernel/tracing"
instance = None
mounted = False


def trace_start():
    global instance, mounted
    if not mounted:
        if libc.unshare(CLONE_NEWNS) or libc.mount(b"none", b"/", None, 0x44000, None) or libc.mount(b"tracefs", TRACE.encode(), b"tracefs", 0, None):
            raise OSError(ctypes.get_errno(), "tracefs")
        mounted = True
    if instance is None:
        path = "%s/instances/nc-%d" % (TRACE, os.getpid())
        os.mkdir(path)
        instance = path
    for name, value in (("trace", ""), ("events/skb/kfree_skb/enable", "1"), ("tracing_on", "1")):
        with open(instance + "/" + name, "w") as f:
            f.write(value)


def trace_stop():
    with open(instance + "/events/skb/kfree_skb/enable", "w") as f:
        f.write("0")
    with open(instance + "/trace") as f:
        text = f.read()
    seen = []
    for location, reason in re.findall(r"location=([\w.]+)\S* reason: (\w+)", text):
        name = reason + "@" + location
        if name not in seen:
            seen.append(name)
    return seen


def trace_end():
    if instance is not None:
        try:
            os.rmdir(instance)
        except OSError:
            pass


# ---- requests -------------------------------------------------------------------------------------------------

def handle(line):
    m = json.loads(line)
    ident, op = m["id"], m["op"]
    try:
        if op == "place":
            if m["place"] in places:
                os.close(places[m["place"]])
            places[m["place"]] = os.open(m["path"], os.O_RDONLY)
            reply(ident, result=None)
        elif op == "serve":
            serve(m["place"], m["proto"], m["port"], m.get("address") or "0.0.0.0")
            reply(ident, result=None)
        elif op == "probe":
            results = [None] * len(m["probes"])
            left = [len(results)]
            if not results:
                reply(ident, result=[])

            def done(i, r):
                results[i] = r
                left[0] -= 1
                if left[0] == 0:
                    reply(ident, result=results)
            for i, spec in enumerate(m["probes"]):
                Probe(spec, lambda r, i=i: done(i, r))
        elif op == "trace-start":
            reply(ident, result=trace_start())
        elif op == "trace-stop":
            reply(ident, result=trace_stop())
        else:
            reply(ident, error="unknown op " + op)
    except Exception as e:  # a lab must say why, whatever it was
        reply(ident, error="%s %s: %s" % (op, m.get("place", ""), e))


def main():
    pending = b""
    os.set_blocking(0, False)
    sel.register(0, selectors.EVENT_READ, None)
    while True:
        wait = max(0, timers[0][0] - time.monotonic()) if timers else None
        for key, _mask in sel.select(wait):
            if key.data is not None:
                key.data()
                continue
            data = os.read(0, 1 << 20)
            if not data:
                return
            pending += data
            *lines, pending = pending.split(b"\n")
            for line in lines:
                handle(line)
        while timers and timers[0][0] <= time.monotonic():
            heapq.heappop(timers)[2]()


try:
    main()
finally:
    trace_end()
