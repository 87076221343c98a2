// SPDX-License-Identifier: Apache-2.0
// Upstream: one gRPC server, the checks of it, and the one stream over which all its clients talk to it.
//
//   Down ──► Dialing ──► Asking (ready) ──► Up ─────────────────────────► Down
//    ▲          ▲            │   ▲          │  stream over, connection    (its clients go to others,
//    │ pause    └── pause ───┘   └─ pause ──┘  lost, not live              or wait)
//    └───────────────────────── not ready: asked again over the same connection
//
//   Up ── GOAWAY, or taken out of the configuration ──► Leaving: what it has is sent, our half is ended; the end, or kLeave, is Down
//
// Messages wait in the stream's queue (upstream-queue). Events must not get lost for want of room there: they wait beside it, at most a few a
// client, and go first. What had not been given to HTTP/2 when the stream was lost is found in the queue and goes back to the clients.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "kinds/plex/work.h"
#include "lib/list.h"
#include "lib/uuid.h"
#include "net/dial.h"
#include "net/h2.h"
#include "net/timer.h"
#include "wire/control.h"
#include "wire/grpc.h"
#include "wire/upstream.h"

namespace relay {
class Json;
}

namespace relay::plex {

class Client;
class PlexRelay;
struct Source;

// The upstreams that one service of the DNS stands for: of the best priority (the lowest) of which one is there are those that are chosen from.
struct Tier {
  uint32_t best = 0;  // what find_best() has found; for one call
};

class Upstream final : public Mortal, private DialUser, private H2User, private TimerUser {
 public:
  enum class State : uint8_t { kDown, kDialing, kAsking, kNotReady, kUp, kLeaving };

  // Borrows the relay for its life. `plan` has the place, and the TLS of it.
  Upstream(PlexRelay& relay, uint32_t id, std::string name, std::string source, DialPlan plan, std::string authority);
  ~Upstream() override;

  void start();
  // Sends what it has, then ends; the relay hears of it (PlexRelay::upstream_closed) later.
  void retire();
  // At once.
  void close();
  bool retired() const { return retired_; }
  // The relay's configuration is another: its bounds and time-outs hold from now on, what is for a connection from the next one.
  void reconfigured();

  uint32_t id() const { return id_; }
  const std::string& name() const { return name_; }
  uint64_t name_number() const { return name_number_; }  // wire/parcel.h
  const std::string& source() const { return source_; }  // as configured
  State state() const { return state_; }
  // Clients may be given to it.
  bool is_usable() const { return state_ == State::kUp; }
  bool has(upstream::Features features) const { return (features_ & features) == features; }
  uint32_t weight() const { return weight_; }
  // Nothing has been refused for want of room since there was some.
  bool has_room() const { return state_ == State::kUp && !refused_; }
  // One that is behind with events hears of no more clients: those who come and go faster than it listens wait unannounced.
  bool has_place() const { return (max_clients_ == 0 || client_count < max_clients_) && late_events_ < kLateHeld; }

  // Gives it a message. False: there is no room; PlexRelay::upstream_has_room() comes when there is.
  bool give(const upstream::Input& input);
  // Where its queue ends now, and whether what was before a place in it has been sent.
  uint64_t given() { return talk_.stream.unsent().written(); }
  bool has_sent(uint64_t place) { return talk_.stream.unsent().read() >= place; }
  // Gives it an event, if it wants to hear of such; and what has become of a message of its own.
  void tell(const upstream::Input& input);
  void report(uint64_t request, const Uuid& uuid, upstream::Delivery what);

  // Whose home it is: those with nothing against them, and those that had something to say when there was no room.
  List<Client> clients;
  List<Client> roomless;
  size_t client_count = 0;
  int64_t credit = 0;  // for balancing
  bool serves_others = false;  // it has been given messages of clients whose home is another, or has paused some
  std::shared_ptr<Tier> tier;  // nullptr: it is no service's
  uint16_t priority = 0;
  bool is_best() const { return tier == nullptr || tier->best == priority; }

  control::UpstreamState shown() const;
  void status(Json& json) const;

 private:
  static constexpr size_t kLateHeld = 1024;  // events that wait beside the queue

  enum class Call : uint8_t { kReady, kLive, kTalk };
  static constexpr Delay kLeave{5000};

  // One of the three calls: what is the same about them.
  class Stream final : private H2StreamUser {
   public:
    Stream(Upstream& owner, Call call, uint64_t bound, uint32_t most) : stream(*this, bound), reader(most), owner_(owner), call_(call) {}
    void reset();
    // Hears them, as many as it may in a turn; the others wait in `rest`.
    void take(std::span<const std::byte> bytes);
    // Those, too, now: there is no other turn.
    void hear_rest();

    H2Stream stream;
    GrpcReader reader;
    std::optional<uint32_t> code;  // grpc-status
    std::string message;
    std::string rest;  // bytes that are to be heard in another turn

   private:
    void on_h2_headers(std::span<const H2Header> headers, bool trailers) override;
    void on_h2_data(std::span<const std::byte> bytes) override;
    void on_h2_room() override { owner_.on_room(); }
    void on_h2_end(const Status& why, uint32_t error_code, const std::string& details) override;

    Upstream& owner_;
    Call call_;
    bool answers_ = false;  // HTTP has said 200, of gRPC
    uint32_t http_code_ = 0;  // what it said instead, as a code of gRPC's
  };

  void on_dialed(const Addr& to) override;
  void on_dial_addrs(const std::vector<Addr>&) override {}
  void on_dial_try(const Addr& to) override;
  void on_dial_failed(const Addr& to, const Status& why, unsigned round, Delay retry) override;
  void on_h2_leaving(uint32_t error_code, const std::string& details) override;
  void on_h2_down(const std::string& why) override;
  void on_timer(Timer& timer) override;

  void dial();
  void request(Stream& stream, std::string_view method, bool end);
  void ask_ready();
  void ask_live();
  void up(const upstream::Ready& ready);
  void not_ready(std::string_view why);
  void leave();
  void heard_live();
  bool message(Call call, std::span<const std::byte> bytes);
  bool is_tired() const;
  void go_on();
  bool talked(std::span<const std::byte> bytes);
  void ended(Call call, uint32_t code, const std::string& why);
  void on_room();
  bool send_late();
  void encode_report(uint64_t request, const Uuid& uuid, upstream::Delivery what);
  void lost(const std::string& why, bool ended_well = false);
  struct Sent {
    uint32_t size;  // of the whole message
    bool is_data;   // of a client; no event, and no report
    uint64_t seq;   // which its upstream may not have been told
  };
  bool write(std::span<const std::byte> payload, uint64_t seq, bool is_data = false);
  void count_sent();
  std::string unsent();
  void give_back(const std::string& all);
  void down(Delay pause);
  Delay next_pause();

  PlexRelay& relay_;
  Loop& loop_;
  const uint32_t id_;
  const std::string name_;
  const uint64_t name_number_;
  const std::string source_;
  const std::string authority_;
  DialPlan plan_;
  std::unique_ptr<Dial> dial_;
  H2 h2_;
  Stream ready_;
  Stream live_;
  Stream talk_;
  Timer timer_;       // of the state: to dial, to ask again, for the answer, for the end
  Timer live_timer_;  // to ask whether it lives
  Timer rest_timer_;  // while some of what it has said is to be heard in another turn
  Work work_;
  bool to_all_ = false;  // what it has said last was for many
  State state_ = State::kDown;
  upstream::Features features_ = 0;
  uint32_t weight_ = 1;
  uint64_t max_clients_ = 0;
  std::string head_;               // of the message that is given; its memory is kept
  // What had no room: an event as it is written, or a report, of which there may be many at once.
  struct Late {
    std::string event;
    uint64_t request = 0;
    Uuid uuid{};
    upstream::Delivery what{};
  };
  std::deque<Late> late_;
  size_t late_events_ = 0;
  size_t late_bytes_ = 0;          // of these
  std::deque<Sent> sent_;          // the messages in talk_'s queue
  uint64_t first_ = 0;             // where the first of them begins
  Time asked_at_{};
  Time live_at_{};
  Time up_at_{};
  Delay pause_{};
  bool retired_ = false;
  bool blames_ = false;  // its GOAWAY named an error
  bool refused_ = false;
  std::string trouble_;
};

}  // namespace relay::plex
