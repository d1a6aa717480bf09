"""The hands of a lab: one process that owns servers and probes in every namespace of it.

A socket belongs for its life to the network namespace it was made in, so one process with setns() and one
event loop is enough for a whole lab. JSON lines on stdin (requests) and stdout (answers). Ends with its stdin.
"""
import json, os, selectors, socket, struct, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # python3 -I has no script directory
from agent_loop import add_place, drop, later, make_socket, run, sel
from agent_probes import Probe
from agent_trace import trace_end, trace_start, trace_stop


def reply(ident, **fields):
    sys.stdout.write(json.dumps({"id": ident, **fields}) + "\n")
    sys.stdout.flush()


def identity(place, peer, own):
    return (json.dumps({"place": place, "src": peer[0], "sport": peer[1], "to": own[0], "port": own[1]}) + "\n").encode()


def serve(place, proto, port, address="0.0.0.0"):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    if proto == "tcp":
        s = make_socket(place, family, socket.SOCK_STREAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        s.bind((address, port))
        s.listen(1024)
        sel.register(s, selectors.EVENT_READ, lambda: accept(place, s))
    else:
        s = make_socket(place, family, socket.SOCK_DGRAM)
        if family == socket.AF_INET6:
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
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
    own, back = "0.0.0.0", []
    for level, kind, value in anc:
        if level == socket.IPPROTO_IP and kind == 8:
            own = socket.inet_ntoa(value[8:12])
            back = [(level, 8, struct.pack("=I4s4s", 0, value[8:12], b"\0" * 4))]
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            own = socket.inet_ntop(socket.AF_INET6, value[:16])
            back = [(level, kind, value[:16] + struct.pack("=I", 0))]
    try:
        s.sendmsg([identity(place, peer, (own, port))], back, 0, peer)
    except OSError:
        pass


def handle(line):
    m = json.loads(line)
    ident, op = m["id"], m["op"]
    try:
        if op == "place":
            add_place(m["place"], m["path"])
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


try:
    run(handle)
finally:
    trace_end()
