"""The event loop of a lab's agent, and sockets in namespaces: setns() before each socket, which then stays there."""
import ctypes, heapq, itertools, os, selectors, socket, time

libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
sel = selectors.DefaultSelector()
places = {}
timers = []
tick = itertools.count()


def add_place(place, path):
    if place in places:
        os.close(places[place])
    places[place] = os.open(path, os.O_RDONLY)


def make_socket(place, *kind):
    if libc.setns(places[place], CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns " + place)
    s = socket.socket(*kind)
    s.setblocking(False)
    return s


def drop(s):
    try:
        sel.unregister(s)
    except (KeyError, ValueError):
        pass
    s.close()


def later(seconds, call):
    heapq.heappush(timers, (time.monotonic() + seconds, next(tick), call))


def run(on_input):
    """Until the end of stdin."""
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
                on_input(line)
        while timers and timers[0][0] <= time.monotonic():
            heapq.heappop(timers)[2]()
