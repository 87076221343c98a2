# SPDX-License-Identifier: Apache-2.0
"""How conversations end: half-close, close, reset, in every order, and what the other side sees of it."""
# Issue: point 4.

import pytest

from harness.lab import Lab
from harness.peers.target import Target, answer, greet, unused_path
from harness.process import Relay
from harness.scale import volume
from harness.sockets import Peer, connect
from harness.stream import Stream
from harness.task import Task

ROUNDS = volume(40)


def ends(relay: Relay, lab: Lab, who: str) -> tuple[Peer, Peer]:
    """A joined pair as (the one named `who`, the other)."""
    client, gateway = lab.pair(relay)
    return (client, gateway) if who == "client" else (gateway, client)


# Half-close. nginx fails most of these, haproxy some.


def test_request_shutdown_answer(lab: Lab) -> None:
    """The client sends, half-closes, and reads the answer: 40 times of 40."""
    target = lab.target(answer)
    relay = lab.relay(target=target)
    for number in range(ROUNDS):
        client = lab.client(relay)
        request = b"request %d " % number * (1 + number * 50)
        client.send(request)
        client.finish()
        assert client.read_all() == request[::-1]
        client.close()
    assert relay.stats()["resets"] == 0


def test_request_shutdown_answer_from_the_gateway(lab: Lab) -> None:
    """The gateway sends, half-closes, and reads the client's answer: 40 times of 40, with the client early or late."""
    relay = lab.relay()
    for number in range(ROUNDS):
        request = b"request %d " % number * (1 + number * 50)
        mark = relay.mark()
        gateway = lab.gateway(relay)
        relay.wait_log("accepted", after=mark)
        if number % 2:
            gateway.send(request)
            gateway.finish()
            client = lab.client(relay)
        else:
            client = lab.client(relay)
            gateway.send(request)
            gateway.finish()
        answer(client)
        assert gateway.read_all() == request[::-1]
        gateway.close()
        relay.wait_log("session-end", after=mark)
    assert relay.stats()["resets"] == 0


def test_client_half_closes_at_once_and_the_target_speaks_first(lab: Lab) -> None:
    """The client half-closes on connecting; the target greets, and its greeting and its end arrive: 40 times of 40."""
    relay = lab.relay(target=lab.target(greet))
    for _ in range(ROUNDS):
        client = lab.client(relay)
        client.finish()
        assert client.read_all() == b"220 ready\r\n"
        client.close()
    assert relay.stats()["resets"] == 0


@pytest.mark.parametrize("first", ["client", "gateway"])
@pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_000])
def test_one_side_finishes_then_the_other_speaks(lab: Lab, first: str, size: int) -> None:
    """After one side's half-close the other may say as much as it likes, and then finishes too."""
    relay = lab.relay()
    early, late = ends(relay, lab, first)
    early.finish()
    assert late.read_all() == b""
    stream = Stream("late")
    sender = Task(late.send_stream, stream, size)
    early.read_stream(stream, size)
    sender.result()
    late.finish()
    assert early.read_all() == b""
    end = relay.wait_log("session-end")
    assert end["reason"] == f"{first}-closed"
    assert end["to_client" if first == "client" else "to_gateway"] == size


@pytest.mark.parametrize("first", ["client", "gateway"])
def test_both_speak_and_finish_at_once(lab: Lab, first: str) -> None:
    """Both sides send 2 MB, half-close, and read: everything arrives, then EOF, on both sides: 40 times, either side first."""
    relay = lab.relay()
    size = 2_000_000
    for number in range(max(2, ROUNDS // 4)):
        mark = relay.mark()
        pair = ends(relay, lab, first)
        streams = [Stream(f"{number} {peer.local}") for peer in pair]

        def speak(peer: Peer, stream: Stream) -> None:
            peer.send_stream(stream, size)
            peer.finish()

        senders = [Task(speak, peer, stream) for peer, stream in zip(pair, streams, strict=True)]
        readers = [Task(peer.read_stream, stream, size) for peer, stream in zip(pair, streams[::-1], strict=True)]
        for task in (*senders, *readers):
            task.result()
        for peer in pair:
            assert peer.read_all() == b""
        relay.wait_log("session-end", after=mark)
    assert relay.stats()["resets"] == 0


@pytest.mark.parametrize("who", ["client", "gateway"])
def test_half_close_behind_a_stalled_reader(lab: Lab, who: str) -> None:
    """A sender half-closes with megabytes under way to a reader that stalls: when it reads on, all comes, then EOF."""
    relay = lab.relay()
    sender, reader = ends(relay, lab, who)
    stream = Stream(who)
    sent = sender.fill(stream, 1 << 30)
    sender.finish()
    reader.send(b"still here")  # the other direction is not held up by it
    assert sender.read(10) == b"still here"
    reader.read_stream(stream, sent)
    assert reader.read_all() == b""


# Close


@pytest.mark.parametrize("who", ["client", "gateway"])
def test_close_reaches_the_other_side(lab: Lab, who: str) -> None:
    """One side closes: the other sees the end at once, and what it sends from then on ends the session."""
    relay = lab.relay().allow("session-end")  # "hello?" is lost
    goer, other = ends(relay, lab, who)
    goer.close()
    assert other.gone(within=1) == "eof"
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        for _ in range(2):  # the first is answered with a reset
            other.send(b"hello?")
            other.hung_up(within=1)
    assert relay.wait_log("session-end")["reason"] in (f"{who}-reset", f"{who}-closed")


@pytest.mark.parametrize("who", ["client", "gateway"])
def test_both_close(lab: Lab, who: str) -> None:
    """One side closes, the other follows: the session ends in order, named after the first."""
    relay = lab.relay()
    goer, other = ends(relay, lab, who)
    goer.close()
    assert other.read_all() == b""
    other.close()
    end = relay.wait_log("session-end")
    assert (end["reason"], end.level) == (f"{who}-closed", "info")


def test_dialled_target_goes(lab: Lab) -> None:
    """The dialled target closes: the client gets what it had sent, then the end."""
    target = lab.target()
    relay = lab.relay(target=target)
    client = lab.client(relay)
    gateway = target.accept()
    gateway.send(b"goodbye")
    gateway.close()
    assert client.read_all() == b"goodbye"
    client.close()
    assert relay.wait_log("session-end")["reason"] == "gateway-closed"


# Reset


@pytest.mark.parametrize("who", ["client", "gateway"])
def test_reset_is_relayed_as_a_reset(lab: Lab, who: str) -> None:
    """One side resets: the other sees a reset within a second, and the log says who it was."""
    relay = lab.relay()
    goer, other = ends(relay, lab, who)
    goer.reset()
    assert other.gone(within=1) == "reset"
    assert relay.wait_log("session-end")["reason"] == f"{who}-reset"
    assert relay.stats()["resets"] == 1


@pytest.mark.parametrize("who", ["client", "gateway"])
def test_bytes_before_a_reset_arrive(lab: Lab, who: str) -> None:
    """Last words right before a reset arrive, then the reset: 40 times of 40."""
    relay = lab.relay()
    for number in range(ROUNDS):
        mark = relay.mark()
        goer, other = ends(relay, lab, who)
        words = b"last words %d " % number * (1 + number * 10)
        goer.send(words)
        goer.reset()
        assert other.read_to_reset() == words
        relay.wait_log("session-end", after=mark)


@pytest.mark.parametrize("who", ["client", "gateway"])
def test_nothing_is_lost_on_one_who_has_read_all(lab: Lab, who: str) -> None:
    """A side that has read everything and then resets: the log reports no loss, whether its kernel had acknowledged or not."""
    relay = lab.relay().allow("session-end")
    for number in range(ROUNDS):
        mark = relay.mark()
        reader, sender = ends(relay, lab, who)
        for _ in range(4):  # then the kernel acknowledges late, with the next request
            reader.send(b"request")
            assert sender.read(7) == b"request"
            sender.send(b"answer" * (number + 1))
            assert reader.read(6 * (number + 1))
        reader.reset()
        end = relay.wait_log("session-end", after=mark, reason=f"{who}-reset")
        assert end.level == "info", end.raw
        assert end[f"to_{who}"] == 24 * (number + 1)


@pytest.mark.parametrize("who", ["client", "gateway"])
def test_reset_after_a_half_close(lab: Lab, who: str) -> None:
    """A side that has half-closed and then resets: the other has its bytes and its EOF first."""
    relay = lab.relay()
    goer, other = ends(relay, lab, who)
    goer.send(b"done")
    goer.finish()
    assert other.read_all() == b"done"
    goer.reset()
    assert relay.wait_log("session-end")["reason"] == f"{who}-reset"
    other.hung_up(within=1)


@pytest.mark.parametrize("who", ["client", "gateway"])
def test_reset_with_a_slow_reader(lab: Lab, who: str) -> None:
    """Megabytes are under way when the sender resets: a reader that goes on reading gets what the relay held, then the reset."""
    relay = lab.relay().allow("session-end")
    sender, reader = ends(relay, lab, who)
    stream = Stream(who)
    sent = sender.fill(stream, 1 << 30)
    sender.reset()
    data = reader.read_to_reset()
    assert stream.mismatch(data) == ""
    assert 0 < len(data) <= sent
    relay.wait_log("session-end", reason=f"{who}-reset")


@pytest.mark.parametrize("who", ["client", "gateway"])
def test_reset_with_a_reader_that_never_reads(lab: Lab, who: str) -> None:
    """After a reset, an other side that takes nothing is ended too, within a second, and what was lost is said."""
    relay = lab.relay().allow("session-end")
    sender, reader = ends(relay, lab, who)
    sender.fill(Stream(who), 1 << 30)
    sender.reset()
    reader.hung_up(within=1)
    end = relay.wait_log("session-end", reason=f"{who}-reset", timeout=2)
    lost = "lost_to_gateway" if who == "client" else "lost_to_client"
    assert end.get(lost, 0) > 0
    assert end.level == "warn"
    assert relay.stats()[lost + "_bytes"] == end[lost]


@pytest.mark.parametrize("who", ["client", "gateway"])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_end_is_noticed_while_both_directions_are_clogged(lab: Lab, who: str, how: str) -> None:
    """Both sides have sent until nothing moved any more; one closes: the other's kernel knows within a second."""
    relay = lab.relay().allow("session-end")
    goer, other = ends(relay, lab, who)
    fillers = [Task(peer.fill, Stream(peer.local), 1 << 30) for peer in (goer, other)]
    assert all(task.result() > 100_000 for task in fillers)
    getattr(goer, how)()  # close() with unread bytes is a reset, too
    other.hung_up(within=1)
    relay.wait_log("session-end", reason=f"{who}-reset", timeout=2)
    client, gateway = lab.pair(relay)  # at once ready
    client.send(b"next")
    assert gateway.read(4) == b"next"


# Afterwards


def test_ready_at_once_after_each_session(lab: Lab) -> None:
    """200 sessions back to back, each begun as soon as both ends have seen the end of the last: none is refused."""
    target = lab.target()
    relay = lab.relay(target=target)
    for number in range(volume(200)):
        client = lab.client(relay)
        gateway = target.accept()
        client.finish()
        assert gateway.read_all() == b""
        gateway.finish()
        assert client.read_all() == b""
        client.close(), gateway.close()
        target.forget()
        assert not relay.find("refused"), f"round {number}"
    assert relay.wait_stat("sessions", "==", volume(200))["refused_client_busy"] == 0


def test_ready_at_once_after_a_reset(lab: Lab) -> None:
    """After a reset that has reached the other side the next pair is welcome."""
    relay = lab.relay()
    for number in range(volume(100)):
        gateway = lab.gateway(relay)
        relay.wait_log("accepted", peer=gateway.local)
        client = lab.client(relay)
        client.send(b"x")
        assert gateway.read(1) == b"x"
        first, second = (client, gateway) if number % 2 else (gateway, client)
        first.reset()
        assert second.gone(within=1) == "reset"


def test_half_close_is_not_a_licence(lab: Lab) -> None:
    """A side that stays half-closed past --half-close-timeout without a byte is ended, and the other with it."""
    relay = lab.relay(half_close_timeout="300ms")
    client, gateway = lab.pair(relay)
    gateway.send(b"x")
    assert client.read(1) == b"x"
    client.finish()
    assert gateway.read_all() == b""
    end = relay.wait_log("session-end", timeout=3)
    assert end["reason"] == "half-close-timeout"
    assert client.gone() in ("eof", "reset")
    with pytest.raises((BrokenPipeError, ConnectionResetError)):  # it has seen the end; what it says now is not taken
        gateway.send(b"at last")
        gateway.hung_up(within=1)
        gateway.send(b"the answer")
    assert relay.stats()["half_close_timeouts"] == 1


def test_half_closed_conversation_lives_while_bytes_flow(lab: Lab) -> None:
    """The limit counts silence: an answer that trickles for longer than it goes on to its end."""
    relay = lab.relay(half_close_timeout="1500ms")
    client, gateway = lab.pair(relay)
    client.finish()
    assert gateway.read_all() == b""
    for number in range(8):
        gateway.send(b"%d" % number)
        assert client.read(1) == b"%d" % number
        assert client.silent(0.25)
    gateway.finish()
    assert client.read_all() == b""
    assert relay.wait_log("session-end")["reason"] == "client-closed"


def test_target_that_resets_what_it_accepts(lab: Lab) -> None:
    """A target that accepts and resets: the client is reset, not left hanging."""

    def slam(peer: Peer) -> None:
        peer.reset()

    target: Target = lab.target(slam)
    # (So soon a reset may reach the relay before it knows that it is connected: a failed attempt.)
    relay = lab.relay(target=target, retry_min="1ms", retry_max="5ms").allow("dial-failed")
    for _ in range(10):
        mark = relay.mark()
        assert lab.client(relay).gone(within=2) == "reset"
        relay.wait_log("session-end", after=mark, reason="gateway-reset")


@pytest.mark.parametrize("read", [0, 100_000], ids=["nothing", "a-part"])
def test_losses_towards_a_unix_socket_are_counted(lab: Lab, read: int) -> None:
    """A client on a Unix socket that goes in the middle of a queue: what it got and what is lost add up to what was sent."""
    total = 5_000_000
    stream = Stream("gateway")
    path = unused_path(lab.folder, "door")
    relay = lab.relay(listen=f"unix:{path}", port=None, gateway=None, gateway_listen="127.0.0.1:0").allow("session-end")
    gateway = lab.add(connect(relay.address("gateway")))
    gateway.send_stream(stream, total)
    relay.wait_stat("queued_bytes", "==", total)
    client = lab.add(connect(f"unix:{path}"))
    client.read_stream(stream, read)
    client.close()
    end = relay.wait_log("session-end")
    assert (end["reason"], end.level) == ("client-reset", "warn")
    assert end["to_client"] + end["lost_to_client"] == total
    assert end["to_client"] >= read and end["lost_to_client"] > 0
    assert relay.stats()["lost_to_client_bytes"] == end["lost_to_client"]
    assert gateway.gone() == "reset"


def test_losses_from_a_unix_socket_are_counted(lab: Lab) -> None:
    """A client on a Unix socket whose gateway goes: it sees an end, which is all that such a socket has, and the log says what is missing."""
    total = 5_000_000
    path = unused_path(lab.folder, "door")
    target = lab.refusing()
    relay = lab.relay(listen=f"unix:{path}", port=None, gateway="127.0.0.2", target=target, retry_min="20ms", retry_max="20ms").allow("session-end", "dial-failed")
    client = lab.add(connect(f"unix:{path}"))
    client.send_stream(Stream("client"), total)
    relay.wait_stat("queued_bytes", "==", total)
    gateway = target.open().accept()
    gateway.read_stream(Stream("client"), 10_000)
    gateway.reset()
    end = relay.wait_log("session-end")
    assert (end["reason"], end.level) == ("gateway-reset", "warn")
    assert end["to_gateway"] + end["lost_to_gateway"] == total
    assert end["to_gateway"] >= 10_000 and end["lost_to_gateway"] > 0
    assert client.gone() in ("eof", "reset")
